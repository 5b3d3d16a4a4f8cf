"""What is known of silent hosts: who asks a fence first, and what no longer counts once it is asked."""

from datetime import datetime, timedelta
from typing import Any

import testscenarios

from kilonova.core.context import service_context
from kilonova.core.host_failure import Fence, Verdict
from kilonova.core.ids import HostName
from kilonova.core.instance import Instance
from kilonova.core.report import InstanceReport
from kilonova.core.states import PowerState, TaskState, VmState
from kilonova.db import host_fences, hosts, instances, reports
from kilonova.db.engine import Database
from tests.functional.db.api_database import NOW
from tests.functional.db.databases import DatabaseCase
from tests.functional.db.servers import H1, H2, placed

load_tests = testscenarios.load_tests_apply_scenarios

SINCE = NOW.replace(microsecond=123456)
LATER = NOW + timedelta(minutes=1)


class HostFencesTest(DatabaseCase):
    """One silent host, with one server that runs, on each database."""

    db: Database

    def setUp(self) -> None:
        super().setUp()
        self.db = self.open("cell", "cell")
        for host in (H1, H2):
            self.beat(host, SINCE)
        self.server = self.write(vm_state=VmState.ACTIVE, power_state=PowerState.RUNNING)

    def beat(self, host: HostName, now: datetime) -> None:
        """Let a host give a sign of life."""
        hosts.beat(self.db, (hosts.COMPUTE, host, "compute"), None, now)

    def write(self, **changed: Any) -> Instance:
        """Write a server on the host, and return it."""
        one = placed(**{"epoch": 3, "begun_epoch": 3, "task_state": None} | changed)
        instances.insert(self.db, [one])
        return one.instance

    def suspected(self) -> Fence:
        """Let the host be suspected, and return what is known."""
        host_fences.suspect(self.db, H1, SINCE, NOW)
        return host_fences.all_of(self.db)[H1]

    def ask(self, seen: Fence, who: str = "one", *servers: Instance) -> Fence | None:
        """Become the one who asks."""
        return host_fences.ask(self.db, seen, who, servers, LATER)

    def dead(self) -> Fence:
        """Let the fence say yes, and return what is known."""
        asked = self.ask(self.suspected())
        assert asked is not None
        self.assertTrue(host_fences.answer(self.db, asked, "off", LATER, yes=True))
        return host_fences.all_of(self.db)[H1]

    def epoch(self, server: Instance) -> int:
        """Return a server's epoch."""
        found = instances.get(self.db, server.uuid, with_deleted=True)
        assert found is not None
        return found.epoch

    def test_a_host_is_dead_from_the_fences_yes_to_the_next_sign_of_life(self) -> None:
        self.suspected()
        self.assertEqual(frozenset(), host_fences.dead(self.db))
        fence = self.dead()
        self.assertEqual((Verdict.DEAD, 1, "off"), (fence.verdict, fence.tries, fence.words))
        self.assertEqual({H1}, host_fences.dead(self.db))
        self.assertEqual({H1}, host_fences.surely_dead(self.db))
        self.assertTrue(self.db.write(lambda c: host_fences.holds(c, fence)))
        self.beat(H1, LATER)
        self.assertEqual(frozenset(), host_fences.dead(self.db))
        self.assertFalse(self.db.write(lambda c: host_fences.holds(c, fence)))

    def test_a_no_leaves_the_host_alive(self) -> None:
        asked = self.ask(self.suspected())
        assert asked is not None
        self.assertTrue(host_fences.answer(self.db, asked, "no BMC", LATER, yes=False))
        self.assertEqual(frozenset(), host_fences.surely_dead(self.db))
        self.assertEqual(Verdict.REFUSED, host_fences.all_of(self.db)[H1].verdict)

    def test_one_of_two_asks(self) -> None:
        seen = self.suspected()
        self.assertIsNotNone(self.ask(seen, "first"))
        self.assertIsNone(self.ask(seen, "second"))

    def test_an_answer_counts_only_for_who_asked_last(self) -> None:
        first = self.ask(self.suspected(), "first")
        assert first is not None
        second = self.ask(first, "second")
        assert second is not None
        self.assertFalse(host_fences.answer(self.db, first, "off", LATER, yes=True))
        self.assertEqual(frozenset(), host_fences.dead(self.db))
        self.assertTrue(host_fences.answer(self.db, second, "off", LATER, yes=True))

    def test_a_host_that_was_heard_meanwhile_is_neither_asked_for_nor_dead(self) -> None:
        seen = self.suspected()
        asked = self.ask(seen)
        assert asked is not None
        self.beat(H1, LATER)
        self.assertIsNone(self.ask(asked))
        self.assertFalse(host_fences.answer(self.db, asked, "off", LATER, yes=True))

    def test_what_the_host_says_from_then_on_does_not_count(self) -> None:
        report = InstanceReport(
            instance_uuid=self.server.uuid,
            epoch=3,
            request_id=service_context().request_id,
            vm_state=VmState.STOPPED,
            power_state=PowerState.SHUTDOWN,
            task_state=None,
        )
        self.assertEqual((), reports.apply(self.db, H1, [report], NOW).refused)
        self.ask(self.suspected(), "one", self.server)
        self.assertEqual(4, self.epoch(self.server))
        self.assertEqual((0,), reports.apply(self.db, H1, [report], LATER).refused)

    def test_servers_with_which_something_began_meanwhile_are_left_as_they_are(self) -> None:
        seen = self.suspected()
        busy, elsewhere, deleted = (self.write(vm_state=VmState.ACTIVE) for _ in range(3))
        instances.update(self.db, busy.uuid, {"task_state": TaskState.DELETING})
        instances.update(self.db, elsewhere.uuid, {"host": H2})
        instances.mark_deleted(self.db, [deleted.uuid], NOW)
        self.ask(seen, "one", busy, elsewhere, deleted, self.server)
        found = [self.epoch(one) for one in (busy, elsewhere, deleted, self.server)]
        self.assertEqual([3, 3, 3, 4], found)

    def test_no_epoch_is_raised_by_who_comes_second(self) -> None:
        seen = self.suspected()
        self.ask(seen, "first", self.server)
        self.ask(seen, "second", self.server)
        self.assertEqual(4, self.epoch(self.server))

    def test_what_is_known_is_forgotten_unless_somebody_learnt_more(self) -> None:
        seen = self.suspected()
        asked = self.ask(seen)
        assert asked is not None
        self.assertFalse(host_fences.forget(self.db, seen))
        self.assertTrue(host_fences.forget(self.db, asked))
        self.assertEqual({}, host_fences.all_of(self.db))

    def test_of_what_a_fence_says_the_end_is_kept(self) -> None:
        asked = self.ask(self.suspected())
        assert asked is not None
        host_fences.answer(self.db, asked, "a" * 5000 + "the end", LATER, yes=False)
        words = host_fences.all_of(self.db)[H1].words
        self.assertEqual(2000, len(words))
        self.assertTrue(words.endswith("the end"))
