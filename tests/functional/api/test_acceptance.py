"""Requests for servers that come at once: one transaction and one message, and each has its own answer."""

import threading
from collections.abc import Callable
from typing import Any

import testscenarios
from sqlalchemy import event

from kilonova.api.acceptance import Acceptance
from kilonova.core.context import RequestContext
from kilonova.core.errors import BusUnavailable, QuotaExceeded
from kilonova.core.ids import InstanceUuid, ProjectId, RequestId
from kilonova.core.quota import Limits
from kilonova.db import build_requests, quotas
from kilonova.db.acceptance import Accepted
from kilonova.rpc.messages import BuildServers
from tests.functional.db.api_database import NOW, ApiDatabaseTest
from tests.functional.db.servers import PROJECT, accepted

load_tests = testscenarios.load_tests_apply_scenarios

OTHER = ProjectId("other")
CONTEXT = RequestContext(request_id=RequestId("req-1"))


class _Bus:
    """Takes messages, unless it is away."""

    def __init__(self) -> None:
        self.sent: list[BuildServers] = []
        self.is_away = False
        self.may_take = threading.Event()
        self.may_take.set()
        self.asked = threading.Event()

    def cast(self, _context: RequestContext, message: BuildServers) -> None:
        self.asked.set()
        self.may_take.wait(120)
        if self.is_away:
            raise BusUnavailable("away")
        self.sent.append(message)


class AcceptanceTest(ApiDatabaseTest):
    """Requests that wait while another is being written."""

    def setUp(self) -> None:
        super().setUp()
        self.bus = _Bus()
        bus: Any = self.bus
        self.acceptance = Acceptance(self.db, bus)
        self.outcomes: dict[str, str] = {}

    def _write(self, name: str, servers: list[Accepted], limits: Limits) -> None:
        try:
            self.acceptance.write(servers, limits)
        except QuotaExceeded as error:
            self.outcomes[name] = str(error)
        else:
            self.outcomes[name] = "accepted"

    def _together(self, later: dict[str, tuple[list[Accepted], Limits]]) -> list[str]:
        """Write one server, and the others while it is not committed; return what followed its commit."""
        followed: list[str] = []
        held, may_commit = threading.Event(), threading.Event()

        def hold(_connection: Any) -> None:
            held.set()
            may_commit.wait(120)
            followed.append("commit")

        event.listen(self.db.engine, "commit", hold)
        threads = self._start([lambda: self._write("first", accepted(1), Limits())])
        self.assertTrue(held.wait(120))
        waiting = self.acceptance._written._arrived
        for number, (name, what) in enumerate(later.items()):
            threads += self._start([lambda n=name, w=what: self._write(n, *w)])  # type: ignore[misc]
            self._until(lambda n=number: len(waiting) > n)  # type: ignore[misc]
        may_commit.set()
        for thread in threads:
            thread.join(120)
        return followed[1:]

    def _start(self, works: list[Callable[[], None]]) -> list[threading.Thread]:
        threads = [threading.Thread(target=work) for work in works]
        for thread in threads:
            thread.start()
        return threads

    def _until(self, comes: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(12_000):
            if comes():
                return
            pause.wait(0.01)
        self.fail("it did not come to pass in 120 s")

    def _taken(self, servers: list[Accepted]) -> int:
        uuids = [one.instance.uuid for one in servers]
        return len(build_requests.take(self.db, uuids, "one", NOW))

    def test_those_who_come_together_share_a_transaction_and_count_in_each_project(self) -> None:
        mine, theirs = accepted(2), accepted(3, project_id=OTHER)
        later = {"mine": (mine, Limits()), "theirs": (theirs, Limits(instances=3))}
        self.assertEqual(["commit"], self._together(later))
        self.assertEqual(dict.fromkeys(("first", "mine", "theirs"), "accepted"), self.outcomes)
        self.assertEqual(3, quotas.used_by(self.db, PROJECT).instances)
        self.assertEqual(3, quotas.used_by(self.db, OTHER).instances)
        self.assertEqual(5, self._taken(mine + theirs))

    def test_the_quota_is_exact_and_refuses_only_whom_it_does_not_hold(self) -> None:
        limits = Limits(instances=4)
        later = {f"r{n}": (accepted(1), limits) for n in range(5)}
        later["many"] = (accepted(5), limits)
        self._together(later)
        refused = {name for name, outcome in self.outcomes.items() if outcome != "accepted"}
        self.assertEqual(3, len(refused))
        self.assertIn("many", refused)
        self.assertIn("Requested 5, but already used 4 of 4 instances", self.outcomes["many"])
        self.assertEqual(4, quotas.used_by(self.db, PROJECT).instances)
        there = {name: self._taken(servers) for name, (servers, _) in later.items()}
        self.assertEqual(refused, {name for name, count in there.items() if not count})

    def test_who_asks_for_many_servers_keeps_nobody_waiting(self) -> None:
        held = self.acceptance._written._turn
        with held:
            self.acceptance.write(accepted(11), Limits(instances=-1, cores=-1, ram=-1))
        self.assertEqual(11, quotas.used_by(self.db, PROJECT).instances)

    def test_those_who_are_told_of_together_share_a_message(self) -> None:
        names = [InstanceUuid(name) for name in ("a", "b", "c")]
        self.bus.may_take.clear()
        threads = self._start([lambda: self.acceptance.tell(CONTEXT, names[:1])])
        self.assertTrue(self.bus.asked.wait(120))
        waiting = self.acceptance._told._arrived
        for number, name in enumerate(names[1:]):
            threads += self._start([lambda n=name: self.acceptance.tell(CONTEXT, [n])])  # type: ignore[misc]
            self._until(lambda n=number: len(waiting) > n)  # type: ignore[misc]
        self.bus.may_take.set()
        for thread in threads:
            thread.join(120)
        self.assertEqual([("a",), ("b", "c")], [sent.instance_uuids for sent in self.bus.sent])

    def test_a_bus_that_is_away_refuses_nothing(self) -> None:
        self.bus.is_away = True
        self.acceptance.tell(CONTEXT, [InstanceUuid("a")])
        self.assertEqual([], self.bus.sent)
