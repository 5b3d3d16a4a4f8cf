"""What a boot, a delete, a list and a show may cost. More than is written here fails.

The budgets are those of doc/boot.md. The deployment's own rounds (signs of life, convergence, reading the
hosts) are made so rare that nothing but what the test asks for is counted.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any

from tests.functional.pipeline.case import PipelineCase
from tests.functional.pipeline.wire import Requests, Statements, Wire

BOOT_MESSAGES = {
    "BuildServers": 1,
    "SelectDestinations": 1,
    "BuildInstance": 1,
    "ReportInstances": 2,
}
# One of the API's is ``keep``: whoever placed servers for too long must not write them down.
BOOT_STATEMENTS = {"api": 13, "cell1": 8, "placement": 7}
BOOT_REQUESTS = {"GET /allocation_candidates": 1, "POST /kilonova/v1/claims": 1}
EACH_MORE = {"api": 0, "cell1": 5, "placement": 0}
"""Statements for each further server of a request: its own reports and nothing else."""
MORE_IN_GROUP = {"api": 7, "cell1": 2, "placement": 0}
"""What a member of a server group costs beside that, when others are there."""
HOSTS = 4


class BudgetTest(PipelineCase):
    """Four hosts, nobody else about."""

    hosts = HOSTS
    more = (
        "[DEFAULT]\nconverge_interval = 3600\nreport_interval = 3600\nservice_down_time = 7200\n"
        "[scheduler]\nhost_refresh_interval = 3600\n"
        "[quota]\ninstances = -1\ncores = -1\nram = -1\n"
    )

    def setUp(self) -> None:
        super().setUp()
        self.statements = Statements(self)
        self.wire = Wire(self)
        self.requests = Requests(self)
        self.wanted = 0
        # The first boot also reads what is kept afterwards.
        self.boot(1)

    def boot(self, count: int, **hints: str) -> None:
        """Boot so many servers by one request, asking nothing of the API meanwhile."""
        self.wanted += count
        server = {"name": "vm", "flavorRef": "1", "imageRef": self.image, "networks": "none"}
        body = {"server": server | {"min_count": count, "max_count": count}}
        answer = self.ask("compute", "POST", "/servers", body | {"os:scheduler_hints": hints})
        self.assertEqual(202, answer.status_code, answer.text)
        self.until("they are active", lambda: self._in_cell("vm_state = 'active'") == self.wanted)

    def _in_cell(self, condition: str) -> int:
        # Not through SQLAlchemy, so that it is not counted.
        with closing(sqlite3.connect(self.state / "cell1.db")) as connection:
            query = f"SELECT COUNT(*) FROM instances WHERE {condition}"  # noqa: S608
            return int(connection.execute(query).fetchone()[0])

    def _cost(self, work: Callable[[], Any]) -> tuple[Counter[str], Counter[str], Counter[str]]:
        """Return the messages, the statements and the requests to Placement during some work."""
        self.wire.sent.clear()
        self.requests.seen.clear()
        statements = self.statements.during(work)
        return self.wire.counts(), statements, Counter(self.requests.seen)

    def test_a_boot_keeps_within_its_budget_however_many_servers_there_are(self) -> None:
        for there in (1, 50):
            self.boot(there)
            messages, statements, requests = self._cost(lambda: self.boot(1))
            self.assertEqual(BOOT_MESSAGES, dict(messages))
            self.assertEqual(BOOT_REQUESTS, dict(requests))
            for database, budget in BOOT_STATEMENTS.items():
                self.assertLessEqual(statements[database], budget, self._sent_to(database))
            self.assertEqual(set(BOOT_STATEMENTS), set(statements))

    def test_a_member_of_a_group_costs_what_is_written_however_many_there_are(self) -> None:
        for policy in ("anti-affinity", "affinity", "soft-affinity"):
            wanted = {"name": policy, "policy": policy}
            made = self.ask("compute", "POST", "/os-server-groups", {"server_group": wanted})
            group = made.json()["server_group"]["id"]
            for _ in range(3):
                messages, statements, requests = self._cost(lambda g=group: self.boot(1, group=g))
                self.assertEqual(BOOT_MESSAGES, dict(messages))
                self.assertEqual(BOOT_REQUESTS, dict(requests))
                for database, more in MORE_IN_GROUP.items():
                    budget = BOOT_STATEMENTS[database] + more
                    self.assertLessEqual(statements[database], budget, self._sent_to(database))

    def test_servers_of_one_request_share_all_but_their_own_reports(self) -> None:
        count = 40
        messages, statements, requests = self._cost(lambda: self.boot(count))
        self.assertEqual((1, 1), (messages["BuildServers"], messages["SelectDestinations"]))
        self.assertEqual((0, HOSTS), (messages["BuildInstance"], messages["BuildInstances"]))
        self.assertEqual(count, len(self.wire.builds()))
        self.assertLessEqual(messages["ReportInstances"], 2 * count)
        self.assertEqual(BOOT_REQUESTS, dict(requests))
        for database, first in BOOT_STATEMENTS.items():
            budget = first + EACH_MORE[database] * (count - 1)
            if database == "placement":
                # A claim is one UPDATE for each host that it is on.
                budget += HOSTS - 1
            self.assertLessEqual(statements[database], budget, self._sent_to(database))

    def test_a_delete_keeps_within_its_budget(self) -> None:
        self.boot(2)
        (uuid, *_) = [server["id"] for server in self.servers()]

        def delete() -> None:
            self.ask("compute", "DELETE", f"/servers/{uuid}")
            self.until("it is deleted", lambda: self._in_cell("deleted") == 1)

        messages, statements, requests = self._cost(delete)
        self.assertEqual({"DeleteInstance": 1, "ReportInstances": 1}, dict(messages))
        self.assertEqual({"POST /kilonova/v1/claims": 1}, dict(requests))
        # Of the cell, one to see whether the server is on the move.
        for database, budget in {"api": 5, "cell1": 8, "placement": 6}.items():
            self.assertLessEqual(statements[database], budget, self._sent_to(database))

    def test_lists_and_shows_ask_as_much_of_sixty_servers_as_of_three(self) -> None:
        self.boot(2)
        uuid = self.servers()[0]["id"]
        paths = (
            "/servers",
            "/servers/detail",
            "/servers/detail?status=ACTIVE&sort_key=display_name&limit=2",
            f"/servers/{uuid}",
            f"/servers/{uuid}/os-instance-actions",
            "/limits",
            "/flavors/detail",
            "/os-hypervisors/detail",
            "/os-services",
            f"/os-quota-sets/{self.project}/detail",
            "/os-simple-tenant-usage?detailed=1&start=2020-01-01T00:00:00",
            "/os-availability-zone/detail",
        )

        def costs() -> dict[str, Counter[str]]:
            found = {}
            for path in paths:
                # Twice: what a host's report or the converger asks meanwhile is in one of them at most.
                _, once, _ = self._cost(lambda p=path: self.get("compute", p))
                _, again, _ = self._cost(lambda p=path: self.get("compute", p))
                found[path] = once & again
            return found

        # What is kept for a moment after it was asked for first is kept in both.
        costs()
        few = costs()
        self.boot(57)
        self.assertEqual(60, len(self.servers()))
        self.assertEqual(few, costs())
        for path, statements in few.items():
            self.assertLessEqual(sum(statements.values()), 8, f"{path}: {statements}")

    def _sent_to(self, database: str) -> str:
        return "\n".join(s for where, s in self.statements.seen if where == database)
