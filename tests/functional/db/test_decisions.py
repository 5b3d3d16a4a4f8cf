"""Decisions that are kept: found by server and by request, and forgotten in time."""

from datetime import datetime, timedelta

import testscenarios

from kilonova.core.decision_record import Decided, DecisionRecord
from kilonova.core.ids import HostName, InstanceUuid, RequestId
from kilonova.db import decisions
from kilonova.db.decisions import DecisionQuery
from tests.functional.db.api_database import NOW, ApiDatabaseTest
from tests.functional.db.databases import statements_of

load_tests = testscenarios.load_tests_apply_scenarios

RECORD = DecisionRecord(servers=1, placed=1, considered=4, passed=3, wanted={"VCPU": 2})


def decided(number: int, request: str = "req-1", host: str | None = "h1") -> Decided:
    """Return a server that was decided on."""
    return Decided(
        instance_uuid=InstanceUuid(f"aaaaaaaa-0000-4000-8000-{number:012}"),
        request_id=RequestId(request),
        host=HostName(host) if host else None,
    )


class DecisionsTest(ApiDatabaseTest):
    """One table for all passes."""

    def keep(
        self, *servers: Decided, at: datetime = NOW, record: DecisionRecord = RECORD
    ) -> list[str]:
        """Keep a decision; return the statements that took."""
        return statements_of(
            self.db,
            lambda: self.db.write(lambda c: decisions.insert(c, record, servers, at)),
        )

    def found(self, **wanted: object) -> list[list[Decided]]:
        """Return the servers of the decisions that a query finds."""
        query = DecisionQuery(**wanted)  # type: ignore[arg-type]
        return [list(kept.servers) for kept in decisions.list_decisions(self.db, query)]

    def test_a_decision_is_told_with_all_its_servers_in_their_order(self) -> None:
        servers = [decided(n, f"req-{n % 2}", host) for n, host in enumerate(("h2", None, "h1"))]
        self.keep(*servers)
        (kept,) = decisions.list_decisions(self.db, DecisionQuery())
        self.assertEqual(
            (RECORD, tuple(servers), NOW), (kept.record, kept.servers, kept.created_at)
        )
        self.assertEqual(kept, decisions.get_decision(self.db, kept.id))
        self.assertIsNone(decisions.get_decision(self.db, "nothing"))

    def test_one_insert_keeps_a_decision_however_many_servers_it_is_about(self) -> None:
        for count in (1, 500):
            inserts = [s for s in self.keep(*map(decided, range(count))) if "INSERT" in s]
            self.assertEqual(1, len(inserts))

    def test_decisions_are_found_by_server_and_by_request_newest_first(self) -> None:
        one, two = decided(1), decided(2, "req-2")
        moved = decided(1, "req-3", "h2")
        both = [one, two]
        self.keep(*both)
        self.keep(moved, at=NOW + timedelta(seconds=9))
        self.keep(decided(3, "req-4"), at=NOW + timedelta(seconds=5))
        self.assertEqual([[moved], both], self.found(server=one.instance_uuid))
        self.assertEqual([both], self.found(server=two.instance_uuid))
        self.assertEqual([both], self.found(request_id="req-2"))
        self.assertEqual([[moved]], self.found(request_id="req-3"))
        self.assertEqual([[moved]], self.found(request_id="req-3", server=one.instance_uuid))
        self.assertEqual([], self.found(request_id="req-2", server=one.instance_uuid))
        self.assertEqual([], self.found(request_id="req-9"))
        self.assertEqual([moved, decided(3, "req-4"), one], [s[0] for s in self.found()])

    def test_a_request_for_many_servers_is_one_decision_and_limits_count_decisions(self) -> None:
        for seconds in range(3):
            servers = [decided(10 * seconds + n) for n in range(5)]
            self.keep(*servers, at=NOW + timedelta(seconds=seconds))
        self.assertEqual([5, 5], [len(s) for s in self.found(request_id="req-1", limit=2)])
        self.assertEqual([5, 5], [len(s) for s in self.found(limit=2)])

    def forget(self, now: datetime, most: int) -> int:
        """Forget what is not to be kept; return of how many servers that was."""
        before = decisions.old_before(self.db, now, most)
        return 0 if before is None else decisions.forget(self.db, before)

    def test_old_decisions_are_forgotten(self) -> None:
        old = NOW - decisions.LONGEST_KEPT
        self.keep(decided(1), at=old - timedelta(seconds=1))
        self.keep(decided(2), at=old)
        self.assertEqual(1, self.forget(NOW, 100))
        self.assertEqual(None, decisions.old_before(self.db, NOW, 100))
        self.assertEqual([[decided(2)]], self.found())

    def test_the_oldest_are_forgotten_beyond_so_many_servers_and_none_in_part(self) -> None:
        for minute in range(4):
            servers = [decided(10 * minute + n) for n in range(3)]
            self.keep(*servers, at=NOW + timedelta(minutes=minute))
        later = NOW + timedelta(hours=1)
        for most, left in ((12, 4), (11, 4), (6, 3), (5, 2), (1, 1)):
            self.forget(later, most)
            sizes = [len(servers) for servers in self.found()]
            self.assertEqual([3] * left, sizes, most)
