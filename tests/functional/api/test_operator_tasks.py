"""``/kilonova/v1/tasks``: what operators may ask for, and what they are told of it."""

from typing import Any

import msgspec

from kilonova.core.clock import utcnow
from kilonova.core.operator_task import OperatorTask, Stage, TaskQueue
from kilonova.db import operator_tasks
from kilonova.rpc.connect import Buses
from kilonova.rpc.messages import RunTask, Topic
from tests.functional.api.api_case import ANN
from tests.functional.api.test_decisions import OwnApiCase

VITALS = {"task": {"kind": "vitals"}}


class _Taker:
    """A conductor that takes note."""

    def __init__(self) -> None:
        self.taken: list[RunTask] = []

    def run_task(self, _context: object, message: RunTask) -> None:
        self.taken.append(message)

    def _not_asked(self, _context: object, _message: object) -> None:
        raise AssertionError("nobody asked for this")

    build_servers = start_move = _not_asked


class OperatorTasksTest(OwnApiCase):
    """Without a conductor, unless a test is one."""

    def create(self, **wanted: Any) -> dict[str, Any]:
        """Ask for a task."""
        body = {"task": {"kind": "vitals"} | wanted}
        task: dict[str, Any] = self.own_asked(202, "POST", "/tasks", body)["task"]
        return task

    def stored(self, task_id: str) -> OperatorTask:
        """Return a task as it is kept."""
        found = operator_tasks.get(self.api_db, task_id)
        assert found is not None
        return found

    def test_a_task_is_accepted_with_its_place(self) -> None:
        answer = self.own("POST", "/tasks", VITALS)
        self.assertEqual(202, answer.status_code)
        task = answer.json["task"]
        place = answer.headers["Location"]
        self.assertTrue(place.endswith(f"/kilonova/v1/tasks/{task['id']}"), place)
        self.assertEqual(
            ("vitals", "normal", "queued", {"host": None, "project": None}),
            (task["kind"], task["queue"], task["state"], task["filters"]),
        )
        self.assertEqual(task, self.own_asked(200, "GET", f"/tasks/{task['id']}")["task"])
        self.assertEqual([task], self.own_asked(200, "GET", "/tasks")["tasks"])

    def test_a_conductor_is_told(self) -> None:
        taker = _Taker()
        bus = Buses(self.conf).default()
        server = bus.serve(Topic.CONDUCTOR, "c", taker)
        task = self.create(queue="urgent", filters={"host": "h1", "project": "p"})
        server.stop()
        mine = [one for one in taker.taken if one.task_id == task["id"]]
        self.assertEqual([RunTask(task_id=task["id"], queue=TaskQueue.URGENT)], mine)
        self.assertEqual({"host": "h1", "project": "p"}, task["filters"])

    def test_a_result_is_read_line_by_line_once_the_task_is_done(self) -> None:
        path = f"/tasks/{self.create()['id']}"
        fault = self.own_asked(409, "GET", f"{path}/result")["conflictingRequest"]
        self.assertIn("is queued", fault["message"])
        task = operator_tasks.take(self.api_db, path.rpartition("/")[2], "w", utcnow())
        assert task is not None
        self.own_asked(409, "GET", f"{path}/result")
        done = msgspec.structs.replace(task, state=Stage.DONE, finished_at=utcnow())
        operator_tasks.finish(self.api_db, done, "w", [b'{"a":1}\n', b'{"b":2}\n'])
        answer = self.own("GET", f"{path}/result")
        self.assertEqual(("application/x-ndjson", '{"a":1}\n{"b":2}\n'),
                         (answer.headers["Content-Type"], answer.text))  # fmt: skip
        fault = self.own_asked(409, "DELETE", path)["conflictingRequest"]
        self.assertIn("is done", fault["message"])

    def test_a_task_is_cancelled_once(self) -> None:
        path = f"/tasks/{self.create()['id']}"
        self.assertEqual(204, self.own("DELETE", path).status_code)
        task = self.own_asked(200, "GET", path)["task"]
        self.assertEqual("cancelled", task["state"])
        self.assertIsNotNone(task["finished_at"])
        for method, below in (("DELETE", ""), ("GET", "/result")):
            fault = self.own_asked(409, method, path + below)["conflictingRequest"]
            self.assertIn("is cancelled", fault["message"])

    def test_what_there_is_not_is_not_found(self) -> None:
        for odd in ("nothing", "%00", "x" * 500, "é"):
            for method, below in (("GET", ""), ("DELETE", ""), ("GET", "/result")):
                fault = self.own_asked(404, method, f"/tasks/{odd}{below}")["itemNotFound"]
                self.assertEqual(404, fault["code"])

    def test_a_wish_that_means_nothing_is_refused_by_name(self) -> None:
        for body, says in (
            (None, "None is not of type"),
            ({}, "task"),
            ({"task": {}}, "kind"),
            ({"task": {"kind": "lunch"}}, "kind"),
            ({"task": {"kind": "vitals", "queue": "soon"}}, "queue"),
            ({"task": {"kind": "vitals", "filters": {"colour": "x"}}}, "filters"),
            ({"task": {"kind": "vitals", "filters": {"host": "a b"}}}, "host"),
            ({"task": {"kind": "vitals", "filters": {"project": ""}}}, "project"),
            ({"task": {"kind": "vitals"}, "more": 1}, "more"),
        ):
            fault = self.own_asked(400, "POST", "/tasks", body)["badRequest"]
            self.assertIn(says, fault["message"])
        for query in ("?limit=0", "?limit=1001", "?limit=x", "?colour=x"):
            self.own_asked(400, "GET", f"/tasks{query}")

    def test_only_administrators_have_tasks(self) -> None:
        task = f"/tasks/{self.create()['id']}"
        for method, path in (
            ("POST", "/tasks"),
            ("GET", "/tasks"),
            ("GET", task),
            ("GET", f"{task}/result"),
            ("DELETE", task),
        ):
            fault = self.own_asked(403, method, path, VITALS, token=ANN)["forbidden"]
            self.assertIn("kilonova:tasks", fault["message"])
        self.assertEqual(Stage.QUEUED, self.stored(task.rpartition("/")[2]).state)
