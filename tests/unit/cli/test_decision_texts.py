"""What people read of a decision."""

from typing import Any

import testtools

from kilonova.cli import decision_texts


def text(name: str, value: Any) -> str:
    """Return what is shown of one part of a decision."""
    return str(decision_texts.columns({name: value})[name].human_readable())


class DecisionTextsTest(testtools.TestCase):
    """From the API's answer to lines."""

    def test_each_reason_is_counted_with_its_nearest_miss_and_who_said_so(self) -> None:
        reasons = [
            {
                "refused_by": "MEMORY_MB",
                "hosts": 9,
                "sentence": "lack MEMORY_MB",
                "nearest_miss": "needs 4096 MB, the best has 3584 free",
            },
            {
                "refused_by": "ComputeFilter",
                "hosts": 1,
                "sentence": "are down",
                "nearest_miss": "",
            },
            {"refused_by": "AvailabilityZoneFilter", "hosts": 2, "sentence": "are in another zone"},
        ]
        self.assertEqual(
            [
                "9 lack MEMORY_MB: needs 4096 MB, the best has 3584 free",
                "1 is down  [ComputeFilter]",
                "2 are in another zone  [AvailabilityZoneFilter]",
            ],
            text("refused", reasons).splitlines(),
        )

    def test_servers_are_told_with_their_hosts_and_many_are_only_counted(self) -> None:
        for server, line in (
            ({"id": "u", "host": "h1"}, "u on h1"),
            ({"id": "u", "host": None}, "u has no host"),
            ({"fits": True, "availability_zone": "z1"}, "1 in zone z1"),
            ({"fits": True, "availability_zone": "z1", "host": "h1"}, "1 on h1 in zone z1"),
            ({"fits": False, "availability_zone": None}, "1 nowhere"),
        ):
            self.assertEqual(line, text("servers", [server]))
        lines = text("servers", [{"id": "u", "host": None}] * 500).splitlines()
        self.assertEqual((11, "and 490 more"), (len(lines), lines[-1]))

    def test_planned_servers_are_counted_by_where_they_go(self) -> None:
        there = {"fits": True, "availability_zone": "z1", "host": "h1"}
        nowhere = {"fits": False, "availability_zone": None}
        planned = [there, there | {"host": "h2"}, there, nowhere]
        self.assertEqual(
            ["2 on h1 in zone z1", "1 on h2 in zone z1", "1 nowhere"],
            text("servers", planned).splitlines(),
        )

    def test_a_score_is_told_with_the_weighers_that_made_it(self) -> None:
        best = [
            {"host": "h1", "total": 1.5, "parts": {"RAM": 1.0, "CPU": 0.0, "Disk": 0.5}},
            {"host": "h2", "total": 0.0, "parts": {"RAM": 0.0}},
        ]
        self.assertEqual(["h1: 1.5 = RAM 1 + Disk 0.5", "h2: 0"], text("best", best).splitlines())

    def test_claims_are_told_round_by_round(self) -> None:
        rounds = [
            {"asked": 5, "granted": 3, "refused": {"no room": 2}},
            {"asked": 2, "granted": 2, "refused": {}},
        ]
        self.assertEqual(
            ["round 1: 3 of 5 granted", "  2 refused: no room", "round 2: 2 of 2 granted"],
            text("claims", rounds).splitlines(),
        )

    def test_a_boot_is_told_in_the_order_of_its_events(self) -> None:
        second = "2026-05-01T12:00:0"
        events = [
            {
                "event": "spawn",
                "start_time": f"{second}2.000000",
                "finish_time": f"{second}2.250000",
                "result": "Error",
                "host": "h1",
                "details": "out of luck",
            },
            {
                "event": "schedule",
                "start_time": f"{second}1.000000",
                "finish_time": f"{second}1.001500",
                "result": "Success",
                "host": "",
                "details": None,
            },
            {
                "event": "again",
                "start_time": f"{second}3.000000",
                "finish_time": None,
                "result": None,
            },
        ]
        told = decision_texts.boot(events)
        self.assertEqual(
            [
                "schedule 1.500 ms Success",
                "spawn 250.000 ms Error on h1: out of luck",
                "again still runs",
            ],
            [" ".join(line.split()) for line in told.human_readable().splitlines()],
        )
        self.assertEqual("schedule", told.machine_readable()[0]["event"])

    def test_programs_get_what_the_api_said(self) -> None:
        for name, value in (("resources", {"VCPU": 1}), ("exhausted", ["VCPU"]), ("asked", 5)):
            shown = decision_texts.columns({name: value})[name]
            self.assertEqual(value, getattr(shown, "machine_readable", lambda v=value: v)())
        self.assertEqual("1 VCPU, 2 PCPU", text("resources", {"VCPU": 1, "PCPU": 2}))
