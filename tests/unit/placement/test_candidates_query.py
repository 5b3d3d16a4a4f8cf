"""What a query string for candidates asks, and which are refused."""

import testtools

from kilonova.core.candidates import Group
from kilonova.core.errors import BadParameter, DuplicateParameter, Invalid, MissingParameter
from kilonova.placement.candidates_query import Query, read
from kilonova.placement.wire import Version

A = "aaaaaaaa-0000-4000-8000-000000000001"
B = "aaaaaaaa-0000-4000-8000-000000000002"
NEWEST = (1, 39)


def asked(version: Version = NEWEST, /, **given: str | list[str]) -> Query:
    """Return what parameters ask for; a repeated one is given as a list."""
    return read({n: [v] if isinstance(v, str) else v for n, v in given.items()}, version)


class ReadTest(testtools.TestCase):
    """A query string becomes groups."""

    def test_parameters_with_one_suffix_are_one_group(self) -> None:
        query = asked(
            resources="VCPU:1,MEMORY_MB:512",
            resources_NIC="SRIOV_NET_VF:2",
            required_NIC="HW_NIC_OFFLOAD_TSO,!CUSTOM_OLD",
            member_of_NIC=[A, f"!{B}"],
            in_tree=A,
        )
        loose = Group(resources={"VCPU": 1, "MEMORY_MB": 512}, in_tree=A)
        card = Group(
            suffix="_NIC",
            resources={"SRIOV_NET_VF": 2},
            required=(frozenset({"HW_NIC_OFFLOAD_TSO"}),),
            forbidden=frozenset({"CUSTOM_OLD"}),
            member_of=(frozenset({A}),),
            not_member_of=frozenset({B}),
        )
        self.assertEqual((loose, card), query.request.groups)
        self.assertEqual({"VCPU", "MEMORY_MB", "SRIOV_NET_VF"}, query.classes)
        self.assertEqual({"HW_NIC_OFFLOAD_TSO", "CUSTOM_OLD"}, query.traits)

    def test_any_of_several_traits_may_do_from_1_39_on_and_repeats_add_up(self) -> None:
        given = {"resources": "VCPU:1", "required": ["in:CUSTOM_A,CUSTOM_B", "CUSTOM_C"]}
        (group,) = asked(**given).request.groups
        either, one = frozenset({"CUSTOM_A", "CUSTOM_B"}), frozenset({"CUSTOM_C"})
        self.assertEqual((either, one), group.required)
        (group,) = asked((1, 38), **given).request.groups
        self.assertEqual((one,), group.required)

    def test_of_what_is_repeated_the_last_resources_and_the_first_policy_count(self) -> None:
        query = asked(
            resources1=["VCPU:1", "VCPU:2"],
            resources2="VCPU:3",
            group_policy=["isolate", "none"],
            limit=["5", "7"],
        )
        self.assertEqual([{"VCPU": 2}, {"VCPU": 3}], [g.resources for g in query.request.groups])
        self.assertTrue(query.request.isolate)
        self.assertEqual(5, query.limit)

    def test_a_root_may_have_to_have_traits_and_not_to_have_others(self) -> None:
        request = asked(resources="VCPU:1", root_required="CUSTOM_A,!CUSTOM_B").request
        self.assertEqual({"CUSTOM_A"}, request.root_required)
        self.assertEqual({"CUSTOM_B"}, request.root_forbidden)

    def test_a_group_without_resources_is_tied_to_others_by_a_subtree(self) -> None:
        request = asked(
            resources_A="VCPU:1",
            required_B="CUSTOM_B",
            same_subtree="_A,_B",
            group_policy="none",
        ).request
        self.assertEqual((frozenset({"_A", "_B"}),), request.same_subtree)
        self.assertEqual({}, request.groups[1].resources)

    def test_before_1_29_a_candidate_uses_one_provider_of_a_tree(self) -> None:
        self.assertFalse(asked((1, 28), resources="VCPU:1").request.nested)
        self.assertTrue(asked((1, 29), resources="VCPU:1").request.nested)

    def test_a_limit_of_any_length_is_a_limit(self) -> None:
        self.assertGreater(asked(resources="VCPU:1", limit="9" * 5000).limit or 0, 10**9)
        self.assertIsNone(asked(resources="VCPU:1").limit)


class BeforeItsTimeTest(testtools.TestCase):
    """A parameter is refused before the microversion that brought it, and the sentence names it."""

    def test_each_parameter_has_its_microversion(self) -> None:
        for (major, minor), name, value in (
            ((1, 16), "limit", "1"),
            ((1, 17), "required", "CUSTOM_A"),
            ((1, 21), "member_of", A),
            ((1, 25), "group_policy", "none"),
            ((1, 25), "resources1", "VCPU:1"),
            ((1, 25), "required1", "CUSTOM_A"),
            ((1, 31), "in_tree", A),
            ((1, 31), "in_tree1", A),
            ((1, 33), "resources_A", "VCPU:1"),
            ((1, 33), "resources-a", "VCPU:1"),
            ((1, 35), "root_required", "CUSTOM_A"),
            ((1, 36), "same_subtree", "1"),
        ):
            given: dict[str, str | list[str]] = {"resources": "VCPU:1", name: value}
            if name[-1] == "1" or name == "same_subtree":
                given["resources1"] = "VCPU:1"
            asked((major, minor), **given)
            error = self.assertRaises(Invalid, asked, (major, minor - 1), **given)
            self.assertIn(name, error.message)

    def test_forms_of_values_have_theirs(self) -> None:
        for (major, minor), name, value in (
            ((1, 22), "required", "!CUSTOM_A"),
            ((1, 24), "member_of", [A, B]),
            ((1, 32), "member_of", f"!{A}"),
            ((1, 32), "member_of", f"!in:{A},{B}"),
            ((1, 39), "required", "in:CUSTOM_A,CUSTOM_B"),
        ):
            given: dict[str, str | list[str]] = {"resources": "VCPU:1", name: value}
            asked((major, minor), **given)
            error = self.assertRaises(Invalid, asked, (major, minor - 1), **given)
            self.assertIn(name, error.message)


class RefusedTest(testtools.TestCase):
    """What means nothing is refused by name, with a code of its own where clients know one."""

    def _refused(
        self,
        named: str,
        kind: type[Invalid] = Invalid,
        /,
        version: Version = NEWEST,
        **given: object,
    ) -> None:
        error = self.assertRaises(Invalid, asked, version, **given)
        self.assertIs(kind, type(error), error.message)
        self.assertIn(named, error.message)

    def test_something_must_be_asked_for(self) -> None:
        self._refused("resources", MissingParameter)
        self._refused("resources", version=(1, 35))
        self._refused("resources", version=(1, 10))
        self._refused("resources", MissingParameter, required_A="CUSTOM_A", same_subtree="_A")

    def test_traits_and_aggregates_without_resources(self) -> None:
        for name, value in (("required", "CUSTOM_A"), ("member_of", A), ("in_tree", A)):
            self._refused(f"{name}1", version=(1, 35), resources="VCPU:1", **{f"{name}1": value})
            self._refused("same_subtree", BadParameter, resources="VCPU:1", **{f"{name}1": value})

    def test_suffixes_of_subtrees(self) -> None:
        groups = {"resources_A": "VCPU:1", "resources_B": "VCPU:1", "group_policy": "none"}
        self._refused("_C", BadParameter, same_subtree="_A,_C", **groups)
        self._refused("same_subtree", BadParameter, same_subtree="_A,,_B", **groups)
        self._refused("same_subtree", BadParameter, same_subtree="", **groups)

    def test_groups_need_a_policy_where_there_are_several(self) -> None:
        self._refused("group_policy", resources1="VCPU:1", resources2="VCPU:1")
        self._refused("group_policy", resources="VCPU:1", group_policy="some")
        asked(resources="VCPU:1", resources1="VCPU:1")

    def test_a_trait_cannot_be_required_and_forbidden(self) -> None:
        self._refused("required1", resources1="VCPU:1", required1="CUSTOM_A,!CUSTOM_A")
        both = ["in:CUSTOM_A,CUSTOM_B", "!CUSTOM_A,!CUSTOM_B"]
        self._refused("CUSTOM_B", resources="VCPU:1", required=both)
        asked(resources="VCPU:1", required=["in:CUSTOM_A,CUSTOM_B", "!CUSTOM_A"])
        conflict = {"resources": "VCPU:1", "root_required": "CUSTOM_A,!CUSTOM_A"}
        self._refused("root_required", BadParameter, **conflict)

    def test_root_required_comes_once_and_knows_no_any(self) -> None:
        twice = {"resources": "VCPU:1", "root_required": ["CUSTOM_A", "CUSTOM_B"]}
        self._refused("root_required", DuplicateParameter, **twice)
        self._refused("in:", resources="VCPU:1", root_required="in:CUSTOM_A,CUSTOM_B")

    def test_numbers(self) -> None:
        for limit in ("0", "-1", "1.5", "a", "", "1 ", "٣"):
            self._refused("limit", resources="VCPU:1", limit=limit)
        for amount in ("0", "-1", "1.5", "a", "", "2147483648", "9" * 30):
            self._refused("resources", resources=f"VCPU:{amount}")

    def test_suffixes(self) -> None:
        for name in (
            "resources_" + "A" * 64,
            "resources.a",
            "resources a",
            "resourcesÄ",
            "xresources",
        ):
            self._refused(name[:20], resources="VCPU:1", **{name: "VCPU:1"})
        self._refused("resources0", version=(1, 32), resources="VCPU:1", resources0="VCPU:1")

    def test_more_groups_than_anybody_needs(self) -> None:
        many = {f"resources{n}": "VCPU:1" for n in range(1, 258)}
        self._refused("257", group_policy="none", **many)
