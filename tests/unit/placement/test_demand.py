"""What claims ask of inventories, and why an inventory refuses."""

from types import SimpleNamespace

import testtools
from sqlalchemy.dialects import sqlite

from kilonova.db.placement_demand import Demand, demands, misfits, taking

P, Q = "p", "q"
ROOM = SimpleNamespace(capacity=10, used=6, min_unit=2, max_unit=5, step_size=2)


class DemandTest(testtools.TestCase):
    """Values in, values out."""

    def test_amounts_are_added_up_and_their_extremes_kept(self) -> None:
        taken = [{P: {"VCPU": 2}}, {P: {"VCPU": 6}, Q: {"DISK_GB": 5}}]
        expected = {
            P: {"VCPU": Demand(change=8, least=2, most=6, divisor=2)},
            Q: {"DISK_GB": Demand(change=5, least=5, most=5, divisor=5)},
        }
        self.assertEqual(expected, demands(taken, []))

    def test_what_is_given_back_counts_against_what_is_taken(self) -> None:
        found = demands([{P: {"VCPU": 2}}], [{P: {"VCPU": 3, "DISK_GB": 5}}])
        expected = {"VCPU": Demand(change=-1, least=2, most=2, divisor=2)}
        self.assertEqual({P: expected | {"DISK_GB": Demand(change=-5)}}, found)

    def test_providers_of_which_the_same_is_wanted_share_one_update(self) -> None:
        same = {"VCPU": 2, "DISK_GB": 5}
        found = list(taking(demands([{"a": same, "b": same, "c": {"VCPU": 2}}], [])))
        self.assertEqual([4, 1], [update.rows for update in found])
        self.assertEqual([["a", "b"], ["c"]], [u.parameters["providers"] for u in found])

    def test_an_update_is_built_once_for_each_set_of_classes(self) -> None:
        first, second = (
            next(taking(demands([{provider: {"VCPU": amount}}], [])))
            for provider, amount in (("a", 1), ("b", 7))
        )
        self.assertIs(first.statement, second.statement)

    def test_only_what_grows_is_compared_with_the_capacity(self) -> None:
        grows, shrinks = (
            str(next(taking(wanted)).statement.compile(dialect=sqlite.dialect()))
            for wanted in (demands([{P: {"VCPU": 1}}], []), demands([], [{P: {"VCPU": 1}}]))
        )
        self.assertIn("capacity", grows)
        self.assertNotIn("capacity", shrinks)

    def _why(self, demand: Demand, row: object = ROOM) -> str:
        rows = {} if row is None else {(P, "VCPU"): row}
        return " ".join(misfits({P: {"VCPU": demand}}, rows))

    def test_what_fits_needs_no_sentence(self) -> None:
        self.assertEqual("", self._why(Demand(change=4, least=2, most=4, divisor=2)))

    def test_a_refusal_names_provider_class_and_numbers(self) -> None:
        why = self._why(Demand(change=5, least=5, most=5, divisor=5))
        for word in ("'VCPU'", "'p'", "asked 5", "capacity 10", "used 6"):
            self.assertIn(word, why)

    def test_units_and_steps_refuse_too(self) -> None:
        for least, most, divisor in ((1, 4, 1), (2, 6, 2), (3, 3, 3)):
            why = self._why(Demand(change=0, least=least, most=most, divisor=divisor))
            self.assertIn("min_unit 2, max_unit 5, step_size 2", why)

    def test_a_class_that_is_not_there_refuses(self) -> None:
        self.assertIn(
            "There is none", self._why(Demand(change=1, least=1, most=1, divisor=1), None)
        )

    def test_giving_back_never_misfits(self) -> None:
        over = SimpleNamespace(capacity=1, used=6, min_unit=2, max_unit=5, step_size=2)
        self.assertEqual("", self._why(Demand(change=-3), over))
