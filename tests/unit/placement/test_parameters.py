"""What query strings ask of providers, at each microversion that changed it."""

import testtools

from kilonova.core.errors import Invalid
from kilonova.placement import parameters
from kilonova.placement.parameters import Sought

A = "cccccccc-0000-4000-8000-00000000000a"
B = "cccccccc-0000-4000-8000-00000000000b"


def sought(*any_of: set[str], forbidden: frozenset[str] = frozenset()) -> Sought:
    """Return what is sought."""
    return Sought(any_of=tuple(map(frozenset, any_of)), forbidden=forbidden)


class ParametersTest(testtools.TestCase):
    """Values in, values out."""

    def _refused(self, says: str, read: object, *arguments: object) -> None:
        error = self.assertRaises(Invalid, read, *arguments)
        self.assertIn(says, str(error))

    def test_resources_are_amounts_by_class(self) -> None:
        self.assertEqual(
            {"VCPU": 2, "CUSTOM_A": 2147483647}, self._resources("VCPU:2,CUSTOM_A:2147483647")
        )

    def _resources(self, value: str) -> dict[str, int]:
        return parameters.resources(value, "resources_A")

    def test_a_refused_amount_names_its_parameter_and_its_class(self) -> None:
        for value in ("", "VCPU", ":1", "VCPU:1,"):
            self._refused("resources_A", self._resources, value)
        for amount in ("", "a", "1.5", "0", "-1", "2147483648", "9" * 5000, "٣", "1_0"):
            self._refused("resources_A: the amount of VCPU", self._resources, f"VCPU:{amount}")

    def test_a_giant_list_is_refused_whatever_it_lists(self) -> None:
        self._refused("more than", self._resources, ",".join(["VCPU:1"] * 1001))
        self._refused("more than", parameters.traits, [",".join("A" * 1001)], (1, 18))
        self._refused("more than", parameters.aggregates, ["in:" + ",".join([A] * 1001)], (1, 3))

    def test_each_required_trait_is_a_set_of_its_own(self) -> None:
        self.assertEqual(sought({"A"}, {"B"}), parameters.traits(["A, B"], (1, 18)))

    def test_traits_are_forbidden_from_1_22_on(self) -> None:
        self._refused("got A,!B", parameters.traits, ["A,!B"], (1, 21))
        expected = sought({"A"}, forbidden=frozenset({"B"}))
        self.assertEqual(expected, parameters.traits(["A,!B"], (1, 22)))

    def test_any_of_some_traits_is_enough_and_parameters_add_up_from_1_39_on(self) -> None:
        values = ["A,!B", "in:C,D"]
        self._refused("1.39", parameters.traits, values, (1, 38))
        expected = sought({"A"}, {"C", "D"}, forbidden=frozenset({"B"}))
        self.assertEqual(expected, parameters.traits(values, (1, 39)))

    def test_before_1_39_the_last_of_repeated_parameters_counts(self) -> None:
        self.assertEqual(sought({"B"}), parameters.traits(["A", "B"], (1, 38)))

    def test_a_trait_has_a_name(self) -> None:
        for value in ("", "A,", "!", "in:", "in:A,"):
            self._refused("empty trait", parameters.traits, [value], (1, 39))

    def test_none_is_forbidden_among_any(self) -> None:
        self._refused("forbidden", parameters.traits, ["in:A,!B"], (1, 39))

    def test_one_aggregate_or_any_of_some(self) -> None:
        self.assertEqual(sought({A}), parameters.aggregates([A], (1, 3)))
        self.assertEqual(sought({A, B}), parameters.aggregates([f"in:{A},{B}"], (1, 3)))
        self._refused("in:A,B", parameters.aggregates, [f"{A},{B}"], (1, 39))

    def test_aggregates_add_up_from_1_24_on(self) -> None:
        self._refused("1.24", parameters.aggregates, [A, B], (1, 23))
        self.assertEqual(sought({A}, {B}), parameters.aggregates([A, B], (1, 24)))

    def test_aggregates_are_forbidden_from_1_32_on(self) -> None:
        for value, forbidden in ((f"!{A}", {A}), (f"!in:{A},{B}", {A, B})):
            self._refused(
                "member_of_X: forbidden", parameters.aggregates, [value], (1, 31), "member_of_X"
            )
            expected = sought(forbidden=frozenset(forbidden))
            self.assertEqual(expected, parameters.aggregates([value], (1, 32)))

    def test_an_aggregate_is_a_uuid(self) -> None:
        for value in ("", "rack", f"in:{A},rack", f"in:{A},!{B}", f"!!{A}"):
            self._refused("an aggregate is a UUID", parameters.aggregates, [value], (1, 39))

    def test_all_that_is_mentioned_is_looked_up(self) -> None:
        both = sought({"A"}, {"B", "C"}, forbidden=frozenset({"D"}))
        self.assertEqual({"A", "B", "C", "D"}, both.names)

    def test_a_tree_is_named_by_a_provider(self) -> None:
        self.assertEqual(A, parameters.tree(f" {A}"))
        self._refused("in_tree_X", parameters.tree, "oak", "in_tree_X")
