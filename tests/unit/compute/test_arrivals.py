"""Events of other services, and who awaits them."""

import testtools

from kilonova.compute.arrivals import Arrivals
from kilonova.core.external_event import ExternalEvent
from kilonova.core.ids import InstanceUuid

A, B = InstanceUuid("a"), InstanceUuid("b")
PLUGGED = "network-vif-plugged"


class ArrivalsTest(testtools.TestCase):
    """One host's."""

    def setUp(self) -> None:
        super().setUp()
        self.looked: list[InstanceUuid] = []
        self.arrivals = Arrivals(self.looked.append)

    def event(self, uuid: InstanceUuid = A, name: str = PLUGGED, tag: str | None = "p") -> None:
        """Let an event arrive."""
        self.arrivals.arrive(ExternalEvent(server_uuid=uuid, name=name, tag=tag, status="failed"))

    def test_who_awaits_an_event_gets_it_and_no_other(self) -> None:
        with self.arrivals.awaited(A, PLUGGED, "p") as mine:
            self.event(uuid=B)
            self.event(tag="q")
            self.event(name="network-vif-deleted")
            self.assertFalse(mine.done())
            self.event()
            self.assertEqual("failed", mine.result(0).status)

    def test_all_who_await_an_event_get_it_and_its_repetition_is_nothing(self) -> None:
        with (
            self.arrivals.awaited(A, PLUGGED, "p") as first,
            self.arrivals.awaited(A, PLUGGED, "p") as second,
        ):
            self.event()
            self.event()
            self.assertEqual((True, True), (first.done(), second.done()))

    def test_an_event_that_nobody_awaits_is_not_kept(self) -> None:
        self.event()
        with self.arrivals.awaited(A, PLUGGED, "p") as late:
            self.assertFalse(late.done())

    def test_a_guest_whose_power_is_told_of_is_looked_at(self) -> None:
        self.event(name="power-update", tag="POWER_OFF")
        self.assertEqual([A], self.looked)
