"""How long servers ran in a period."""

from datetime import datetime, timedelta

import testtools

from kilonova.core.ids import InstanceUuid, ProjectId
from kilonova.core.usage import Ran, totals

BEGIN = datetime(2026, 5, 1)
END = datetime(2026, 5, 2)


def ran(project: str, start_hour: float, end_hour: float | None = None) -> Ran:
    """Return a server of 2 VCPUs, 1024 MiB and 3 GiB that ran from and to hours after the begin."""
    return Ran(
        uuid=InstanceUuid("u"),
        name="vm",
        project_id=ProjectId(project),
        flavor="f",
        vcpus=2,
        memory_mb=1024,
        local_gb=3,
        state="active",
        started_at=BEGIN + timedelta(hours=start_hour),
        ended_at=None if end_hour is None else BEGIN + timedelta(hours=end_hour),
    )


class UsageTest(testtools.TestCase):
    """Hours are counted within the period only."""

    def test_hours_are_those_within_the_period(self) -> None:
        for server, hours in (
            (ran("p", 1, 3), 2),
            (ran("p", -5, 3), 3),
            (ran("p", 23), 1),
            (ran("p", 23, 30), 1),
            (ran("p", -9), 24),
            (ran("p", -9, -1), 0),
            (ran("p", 25, 26), 0),
        ):
            self.assertEqual(hours, server.hours(BEGIN, END))

    def test_uptime_is_counted_in_all_and_ends_with_the_server(self) -> None:
        self.assertEqual(7200, ran("p", 1, 3).uptime(END))
        self.assertEqual(86400 + 3600, ran("p", -1).uptime(END))

    def test_amounts_are_multiplied_by_hours_and_added_by_project(self) -> None:
        found = totals([ran("a", 0, 1), ran("b", 0, 4), ran("a", 0, 2)], BEGIN, END)
        self.assertEqual([("a", 2), ("b", 1)], [(p, len(t.servers)) for p, t in found.items()])
        a = found[ProjectId("a")]
        self.assertEqual((3, 6), (a.hours, a.vcpu_hours))
        self.assertEqual((3072, 9), (a.memory_mb_hours, a.local_gb_hours))
