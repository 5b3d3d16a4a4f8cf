"""Tasks of operators in the API database: who does one, how it ends, and how long it is kept."""

from datetime import timedelta

import msgspec
import testscenarios

from kilonova.core.ids import HostName, ProjectId, RequestId, UserId
from kilonova.core.operator_task import OperatorTask, Stage, TaskFilters, TaskKind, TaskQueue
from kilonova.db import operator_tasks
from tests.functional.db.api_database import NOW
from tests.functional.db.databases import DatabaseCase

load_tests = testscenarios.load_tests_apply_scenarios

SECOND = timedelta(seconds=1)


def queued(number: int = 1, **changed: object) -> OperatorTask:
    """Return a task that nobody does yet."""
    task = OperatorTask(
        id=f"00000000-0000-4000-8000-{number:012}",
        kind=TaskKind.VITALS,
        queue=TaskQueue.URGENT,
        filters=TaskFilters(host=HostName("h1")),
        user_id=UserId("u"),
        project_id=ProjectId("p"),
        request_id=RequestId("req-1"),
        created_at=NOW,
    )
    return msgspec.structs.replace(task, **changed)


class OperatorTasksTest(DatabaseCase):
    """One task, and sometimes a second one."""

    def setUp(self) -> None:
        super().setUp()
        self.api = self.open("api", "api")
        self.task = queued()
        operator_tasks.add(self.api, self.task)

    def taken(self, worker: str = "w") -> OperatorTask:
        """Let a worker begin."""
        task = operator_tasks.take(self.api, self.task.id, worker, NOW + SECOND)
        assert task is not None
        return task

    def stored(self) -> OperatorTask:
        """Return the task as it is kept."""
        found = operator_tasks.get(self.api, self.task.id)
        assert found is not None
        return found

    def lines(self) -> list[bytes]:
        """Return the parts of the result."""
        return list(operator_tasks.result(self.api, self.task.id))

    def test_a_task_is_found_as_it_was_written(self) -> None:
        self.assertEqual(self.task, self.stored())
        self.assertIsNone(operator_tasks.get(self.api, "nothing"))

    def test_one_worker_takes_a_task_and_no_other(self) -> None:
        task = self.taken()
        self.assertEqual((Stage.PROCESSING, NOW + SECOND), (task.state, task.started_at))
        self.assertEqual(task, self.stored())
        for worker in ("w", "other"):
            self.assertIsNone(operator_tasks.take(self.api, task.id, worker, NOW))
        self.assertIsNone(operator_tasks.take(self.api, "nothing", "w", NOW))

    def test_how_far_it_is_is_written_by_who_does_it(self) -> None:
        so_far = msgspec.structs.replace(self.taken(), asked=9, answered=3)
        self.assertFalse(operator_tasks.note(self.api, so_far, "other", NOW))
        self.assertEqual(0, self.stored().asked)
        self.assertTrue(operator_tasks.note(self.api, so_far, "w", NOW))
        self.assertEqual(so_far, self.stored())

    def test_the_end_comes_with_the_result_whole_and_once(self) -> None:
        ended = msgspec.structs.replace(
            self.taken(), state=Stage.DONE, finished_at=NOW + 2 * SECOND, answered=3
        )
        parts = [b'{"a": 1}\n', b'{"b": 2}\n{"c": 3}\n']
        self.assertFalse(operator_tasks.finish(self.api, ended, "other", parts))
        self.assertEqual([], self.lines())
        self.assertTrue(operator_tasks.finish(self.api, ended, "w", parts))
        self.assertEqual((ended, parts), (self.stored(), self.lines()))
        self.assertFalse(operator_tasks.finish(self.api, ended, "w", parts))

    def test_what_is_cancelled_stays_so(self) -> None:
        task = self.taken()
        self.assertTrue(operator_tasks.cancel(self.api, task.id, NOW + 2 * SECOND))
        stored = self.stored()
        self.assertEqual((Stage.CANCELLED, NOW + 2 * SECOND), (stored.state, stored.finished_at))
        ended = msgspec.structs.replace(task, state=Stage.DONE, finished_at=NOW)
        self.assertFalse(operator_tasks.note(self.api, task, "w", NOW))
        self.assertFalse(operator_tasks.finish(self.api, ended, "w", [b"{}\n"]))
        self.assertFalse(operator_tasks.cancel(self.api, task.id, NOW))
        self.assertEqual((stored, []), (self.stored(), self.lines()))

    def test_what_is_cancelled_before_it_began_is_never_taken(self) -> None:
        self.assertTrue(operator_tasks.cancel(self.api, self.task.id, NOW))
        self.assertIsNone(operator_tasks.take(self.api, self.task.id, "w", NOW))
        self.assertFalse(operator_tasks.cancel(self.api, "nothing", NOW))

    def test_what_nobody_took_for_a_while_is_found(self) -> None:
        operator_tasks.add(self.api, queued(2, created_at=NOW - SECOND))
        for before, expected in ((NOW, [2]), (NOW + SECOND, [2, 1]), (NOW - SECOND, [])):
            found = operator_tasks.waiting(self.api, before)
            self.assertEqual([queued(n).id for n in expected], [task.id for task in found])
        self.taken()
        self.assertEqual(1, len(operator_tasks.waiting(self.api, NOW + SECOND)))

    def test_a_task_of_a_dead_worker_is_ended_with_a_reason(self) -> None:
        self.taken()
        one, after = self.task.id, NOW + 2 * SECOND
        self.assertEqual((), operator_tasks.quiet(self.api, NOW + SECOND))
        self.assertFalse(operator_tasks.abandon(self.api, one, NOW + SECOND, (NOW, "why")))
        self.assertEqual((one,), operator_tasks.quiet(self.api, after))
        self.assertTrue(operator_tasks.abandon(self.api, one, after, (after, "why")))
        stored = self.stored()
        self.assertEqual(
            (Stage.ERROR, "why", after), (stored.state, stored.reason, stored.finished_at)
        )
        self.assertFalse(operator_tasks.abandon(self.api, one, after, (after, "why")))

    def test_a_task_and_its_result_are_kept_for_a_day(self) -> None:
        ended = msgspec.structs.replace(self.taken(), state=Stage.DONE, finished_at=NOW)
        operator_tasks.finish(self.api, ended, "w", [b"{}\n"])
        day = timedelta(days=1)
        self.assertFalse(operator_tasks.has_old(self.api, NOW + day))
        self.assertEqual(0, operator_tasks.prune(self.api, NOW + day))
        self.assertEqual([b"{}\n"], self.lines())
        self.assertTrue(operator_tasks.has_old(self.api, NOW + day + SECOND))
        self.assertEqual(1, operator_tasks.prune(self.api, NOW + day + SECOND))
        self.assertEqual([], self.lines())
        self.assertIsNone(operator_tasks.get(self.api, self.task.id))

    def test_tasks_are_listed_newest_first(self) -> None:
        for number in (2, 3):
            operator_tasks.add(self.api, queued(number, created_at=NOW + number * SECOND))
        found = operator_tasks.newest(self.api, 2)
        self.assertEqual([queued(3).id, queued(2).id], [task.id for task in found])
