"""Compute hosts and their figures."""

from datetime import datetime, timedelta

import testtools

from kilonova.core.host import Service
from kilonova.core.ids import HostName
from kilonova.core.scheduling import Inventory, NoHost, Reason

NOW = datetime(2026, 5, 1, 12, 0, 0)


class ServiceTest(testtools.TestCase):
    """A service is up while it was heard of lately."""

    def _is_up(self, silent: float | None, *, forced_down: bool = False) -> bool:
        service = Service(
            uuid="u",
            binary="nova-compute",
            host=HostName("h"),
            topic="compute",
            forced_down=forced_down,
            last_seen=None if silent is None else NOW - timedelta(seconds=silent),
        )
        return service.is_up(NOW, 15)

    def test_a_service_is_up_until_it_was_silent_for_longer_than_is_allowed(self) -> None:
        for silent, up in ((0.0, True), (15.0, True), (15.1, False), (None, False)):
            self.assertEqual(up, self._is_up(silent), silent)

    def test_a_clock_that_runs_ahead_of_ours_makes_nobody_down(self) -> None:
        self.assertTrue(self._is_up(-60.0))

    def test_a_service_that_is_forced_down_is_down(self) -> None:
        self.assertFalse(self._is_up(0.0, forced_down=True))


class FiguresTest(testtools.TestCase):
    """Capacity, room, and the sentence when there is none."""

    def test_capacity_is_what_is_not_reserved_times_the_ratio_rounded_down(self) -> None:
        for inventory, capacity in (
            (Inventory(total=8), 8),
            (Inventory(total=8, reserved=1, allocation_ratio=4.0), 28),
            (Inventory(total=7, allocation_ratio=1.5), 10),
            (Inventory(total=4, reserved=4), 0),
        ):
            self.assertEqual(capacity, inventory.capacity)

    def test_the_sentence_for_no_host_counts_the_reasons_and_names_no_host(self) -> None:
        self.assertEqual(
            "0 of 0 hosts fit: there is no host yet", NoHost(considered=0, reasons=()).sentence()
        )
        reasons = (
            Reason(refused_by="MEMORY_MB", sentence="lack MEMORY_MB", hosts=9, nearest_miss="h1"),
            Reason(refused_by="ComputeFilter", sentence="are down", hosts=3),
        )
        self.assertEqual(
            "0 of 12 hosts fit: 9 lack MEMORY_MB, 3 are down",
            NoHost(considered=12, reasons=reasons).sentence(),
        )

    def test_one_host_is_spoken_of_as_one(self) -> None:
        for sentence, one, two in (
            ("are in another zone", "1 is in another zone", "2 are in another zone"),
            ("lack VCPU", "1 lacks VCPU", "2 lack VCPU"),
            ("have too many servers", "1 has too many servers", "2 have too many servers"),
            ("were refused", "1 was refused", "2 were refused"),
            ("filled up meanwhile", "1 filled up meanwhile", "2 filled up meanwhile"),
            ("refusing", "1 refusing", "2 refusing"),
        ):
            for hosts, expected in ((1, one), (2, two)):
                reason = Reason(refused_by="x", sentence=sentence, hosts=hosts)
                self.assertEqual(expected, reason.counted())
