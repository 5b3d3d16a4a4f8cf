"""Picks that Placement's figures may not show yet."""

import time

import testtools

from kilonova.core.ids import InstanceUuid
from kilonova.core.scheduling import Allocation
from kilonova.scheduler import in_flight
from kilonova.scheduler.fit import Fit
from kilonova.scheduler.in_flight import InFlight
from tests.unit.scheduler.fleet import fit

A, B = InstanceUuid("a"), InstanceUuid("b")


def takes(vcpus: int, name: str = "h1") -> Allocation:
    """Return what a server takes of a host."""
    return {f"provider-of-{name}": {"VCPU": vcpus}}


class InFlightTest(testtools.TestCase):
    """On a host where 8 VCPUs are free."""

    def setUp(self) -> None:
        super().setUp()
        self.picks = InFlight()

    def _free(self, asked_at: float) -> int:
        seen = fit("h1", vcpu=8)
        self.picks.deduct_from([seen], asked_at)
        return seen.free["VCPU"]

    def test_a_pick_that_is_not_claimed_yet_is_deducted_from_every_picture(self) -> None:
        self.picks.add([(A, takes(2)), (B, takes(1))])
        self.assertEqual(5, self._free(asked_at=time.monotonic()))

    def test_a_claimed_pick_is_deducted_only_from_figures_asked_for_before_the_claim(self) -> None:
        before = time.monotonic()
        self.picks.add([(A, takes(2))])
        self.picks.claimed([A], refused=[])
        after = time.monotonic()
        self.assertEqual((6, 8), (self._free(before), self._free(after)))

    def test_a_refused_pick_took_nothing(self) -> None:
        before = time.monotonic()
        self.picks.add([(A, takes(2)), (B, takes(1))])
        self.picks.claimed([A, B], refused=[A])
        self.assertEqual(7, self._free(before))

    def test_a_server_that_is_picked_anew_is_deducted_where_it_is_now(self) -> None:
        self.picks.add([(A, takes(2))])
        self.picks.add([(A, takes(2, "h2"))])
        self.assertEqual(8, self._free(time.monotonic()))

    def test_deductions_on_the_hosts_of_a_picture_are_counted(self) -> None:
        self.picks.add([(A, takes(2)), (B, takes(1, "h2"))])
        fits: list[Fit] = [fit("h1"), fit("h3")]
        self.assertEqual(1, self.picks.deduct_from(fits, time.monotonic()))
        self.assertEqual(0, InFlight().deduct_from(fits, 0.0))

    def test_a_claimed_pick_is_forgotten_when_no_figures_can_be_older(self) -> None:
        clock = _Clock()
        self.patch(in_flight, "time", clock)
        self.picks.add([(A, takes(2))])
        self.picks.claimed([A], refused=[])
        clock.now = 59.0
        self.picks.claimed([], refused=[])
        self.assertEqual(6, self._free(asked_at=-1.0))
        clock.now = 61.0
        self.picks.claimed([], refused=[])
        self.assertEqual(8, self._free(asked_at=-1.0))


class _Clock:
    """A clock that stands still."""

    now = 0.5

    def monotonic(self) -> float:
        return self.now
