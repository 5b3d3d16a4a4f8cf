"""Multipliers that aggregates set for their hosts."""

from datetime import datetime

import testtools

from kilonova.core.aggregate import HostAggregate
from kilonova.scheduler import weighers
from kilonova.scheduler.fit import Fit
from kilonova.scheduler.multipliers import multipliers_of
from kilonova.scheduler.pipeline import Recipe, pick
from tests.unit.scheduler.fleet import fit, host
from tests.unit.scheduler.test_pipeline import ask, hosts_of

RAM, CPU = "ram_weight_multiplier", "cpu_weight_multiplier"


def aggregate(**metadata: str) -> HostAggregate:
    """Return an aggregate of this metadata."""
    return HostAggregate(
        number=1, uuid="u", name="a", created_at=datetime(2026, 5, 1), metadata=metadata
    )


def fits(**own: dict[str, float]) -> list[Fit]:
    """Return three hosts, of which ``a`` has most memory and fewest VCPUs, and ``c`` the reverse."""
    sizes = {"a": (9000, 4), "b": (8000, 6), "c": (7000, 8)}
    found = [fit(name, memory=memory, vcpu=vcpu) for name, (memory, vcpu) in sizes.items()]
    for one in found:
        changed = {"cell_uuid": one.host.cell_uuid, "multipliers": own.get(one.host.host, {})}
        one.host = host(one.host.host, **changed)
    return found


def recipe(ram: float, cpu: float) -> Recipe:
    """Return a recipe that weighs memory and CPUs so."""
    both = (("RAMWeigher", weighers.ram, ram), ("CPUWeigher", weighers.cpu, cpu))
    return Recipe(filters=(), weighers=both)


class MultipliersTest(testtools.TestCase):
    """What metadata says, and what comes of it."""

    def test_keys_of_multipliers_are_read_and_the_least_of_several_counts(self) -> None:
        for what, aggregates, expected in (
            ("none", [], {}),
            ("other keys say nothing", [aggregate(ssd="true", ram="2")], {}),
            ("one", [aggregate(ram_weight_multiplier="2.5")], {RAM: 2.5}),
            (
                "the least of several counts",
                [aggregate(ram_weight_multiplier="2"), aggregate(ram_weight_multiplier="-1")],
                {RAM: -1.0},
            ),
            (
                "each aggregate may set another",
                [aggregate(ram_weight_multiplier="2"), aggregate(cpu_weight_multiplier="3")],
                {RAM: 2.0, CPU: 3.0},
            ),
            ("what is no number sets nothing", [aggregate(ram_weight_multiplier="much")], {}),
            ("nor does what is not finite", [aggregate(ram_weight_multiplier="nan")], {}),
        ):
            self.assertEqual(expected, multipliers_of(aggregates), what)

    def _first(self, ram: float, cpu: float, **own: dict[str, float]) -> str:
        (chosen,) = hosts_of(pick(ask(1), fits(**own), recipe(ram, cpu)).decisions)
        return str(chosen)

    def test_a_host_is_weighed_by_what_its_aggregates_say(self) -> None:
        self.assertEqual("a", self._first(1.0, 0.0))
        # Of its memory, a gets nothing any more, and b half of its own.
        self.assertEqual("b", self._first(1.0, 0.0, a={RAM: 0.0}))
        self.assertEqual("b", self._first(1.0, 0.0, b={RAM: 3.0}))
        self.assertEqual("c", self._first(0.0, 0.0, c={CPU: 1.0}))
        self.assertEqual("a", self._first(1.0, 0.0, c={CPU: 0.5}))

    def test_a_host_that_was_chosen_is_weighed_anew_by_the_same(self) -> None:
        # Four servers take what c has of VCPUs above a, and with them all that its multiplier gives it.
        decisions = pick(ask(5), fits(c={CPU: 10.0}), recipe(1.0, 0.0)).decisions
        self.assertEqual(["c", "c", "c", "c", "a"], hosts_of(decisions))

    def test_the_parts_that_are_told_are_those_that_counted(self) -> None:
        best = pick(ask(1, explained=3), fits(b={RAM: 3.0}), recipe(1.0, 0.0)).best
        self.assertEqual(
            [("b", 1.5), ("a", 1.0), ("c", 0.0)],
            [(one.host, one.parts["RAMWeigher"]) for one in best],
        )
