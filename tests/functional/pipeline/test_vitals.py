"""How servers are, in a whole deployment: what hosts see reaches operators."""

import json
import time
from datetime import timedelta
from typing import Any

import requests

from kilonova.compute import monitor
from kilonova.compute.monitor import Monitor
from kilonova.conductor import patience, sampling
from kilonova.conductor.task_workers import TaskWorkers
from kilonova.core.vitals import Vitals
from kilonova.embedded.identity import project_id
from tests.functional.pipeline.case import PipelineCase
from tests.functional.pipeline.wire import Wire


class VitalsCase(PipelineCase):
    """Two hosts that tell of their servers with every sign of life."""

    hosts = 2
    more = "report_interval = 1\n"
    script = [{"step": "uses", "server": "busy", "uses": {"cpu": 0.5, "memory": 9}}]

    def setUp(self) -> None:
        self.patch(monitor, "INTERVAL", 0.2)
        self.patch(monitor, "NEWS_EVERY", 0.0)
        super().setUp()

    def own(
        self, method: str, path: str, body: Any = None, user: str = "admin"
    ) -> requests.Response:
        """Ask below ``/kilonova/v1`` as a user."""
        root = self.deployment.options.urls["compute"].removesuffix("/v2.1") + "/kilonova/v1"
        headers = {"X-Auth-Token": f"{user}:{project_id(user)}"}
        return requests.request(method, root + path, json=body, headers=headers, timeout=60)

    def vitals(self) -> dict[str, Any]:
        """Return what is told of servers, by their names."""
        told = self.own("GET", "/vitals").json()
        return {one["name"]: one for one in told["vitals"]}

    def start(self, **wanted: Any) -> str:
        """Ask for a task, and return where it is."""
        answer = self.own("POST", "/tasks", {"task": {"kind": "vitals"} | wanted})
        self.assertEqual(202, answer.status_code, answer.text)
        return "/tasks/" + str(answer.json()["task"]["id"])

    def task(self, place: str) -> dict[str, Any]:
        """Return a task as it is told."""
        told: dict[str, Any] = self.own("GET", place).json()["task"]
        return told

    def ended(self, place: str) -> dict[str, Any]:
        """Wait until a task has ended, and return it."""
        over = ("done", "error", "cancelled")
        self.until("the task has ended", lambda: self.task(place)["state"] in over)
        return self.task(place)

    def result(self, place: str) -> dict[str, Any]:
        """Return the lines of a result by the servers' names."""
        lines = self.own("GET", f"{place}/result").text.splitlines()
        return {one["name"]: one for one in map(json.loads, lines)}


class VitalsTest(VitalsCase):
    """What hosts tell by themselves."""

    def test_what_hosts_see_is_told_of_every_server(self) -> None:
        for name in ("idle", "busy"):
            self.until_status(self.create(name), "ACTIVE")
        self.until(
            "both are seen to work",
            lambda: all((one["cpu"] or {}).get("total") for one in self.vitals().values()),
        )
        told = self.vitals()
        idle, busy = told["idle"], told["busy"]
        self.assertTrue(30 < busy["cpu"]["total"] < 70, busy["cpu"])
        self.assertTrue(1 < idle["cpu"]["total"] < 20, idle["cpu"])
        self.assertEqual(([], ["memory"]), (idle["above"], busy["above"]))
        self.assertEqual({"used": 32, "size": 128}, idle["memory"])
        self.assertEqual("ACTIVE", busy["status"])

    def test_a_server_that_was_stopped_or_deleted_is_told_as_it_is(self) -> None:
        uuid = self.create("vm")
        self.until_status(uuid, "ACTIVE")
        self.until("it is seen", lambda: self.vitals()["vm"]["power"] == "running")
        self.ask("compute", "POST", f"/servers/{uuid}/action", {"os-stop": None})
        self.until("it is off", lambda: self.vitals()["vm"]["power"] == "shutdown")
        self.assertIsNone(self.vitals()["vm"]["cpu"])
        self.ask("compute", "DELETE", f"/servers/{uuid}")
        self.until("it is gone", lambda: self.vitals() == {})


class TasksTest(VitalsCase):
    """What hosts tell when they are asked."""

    def boot(self, *names: str) -> dict[str, str]:
        """Boot servers, one on each host, and return their hosts by their names."""
        return {
            name: self.until_status(self.create(name), "ACTIVE")["OS-EXT-SRV-ATTR:host"]
            for name in names
        }

    def test_a_task_asks_every_host_and_keeps_what_they_say(self) -> None:
        self.boot("idle", "busy")
        self.until(
            "both are seen to work",
            lambda: all((one["cpu"] or {}).get("total") for one in self.vitals().values()),
        )
        for queue in ("normal", "urgent"):
            place = self.start(queue=queue)
            task = self.ended(place)
            self.assertEqual(
                ("done", 2, 2, [], [], None),
                tuple(
                    task[name]
                    for name in ("state", "asked", "answered", "not_answering", "silent", "reason")
                ),
            )
            self.assertTrue(task["created_at"] <= task["started_at"] <= task["finished_at"])
            found = self.result(place)
            self.assertEqual({"idle", "busy"}, set(found))
            self.assertTrue(30 < found["busy"]["cpu"]["total"] < 70, found["busy"]["cpu"])
            self.assertEqual(set(self.vitals()["busy"]), set(found["busy"]))

    def test_a_task_is_about_the_servers_that_it_was_asked_for(self) -> None:
        hosts = self.boot("one", "two")
        place = self.start(filters={"host": hosts["one"]})
        self.assertEqual(1, self.ended(place)["asked"])
        self.assertEqual({"one"}, set(self.result(place)))
        place = self.start(filters={"project": "nobody"})
        self.assertEqual(("done", 0), (self.ended(place)["state"], self.task(place)["asked"]))
        self.assertEqual({}, self.result(place))

    def test_a_host_that_does_not_answer_is_named_and_holds_up_nothing(self) -> None:
        hosts = self.boot("one", "two")
        self.patch(sampling, "_PATIENCE", 1.0)
        self.silence(hosts["two"])
        began = time.monotonic()
        task = self.ended(self.start())
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(("done", 2, 1), (task["state"], task["asked"], task["answered"]))
        self.assertEqual([hosts["two"]], task["not_answering"])
        found = self.result(f"/tasks/{task['id']}")
        self.assertEqual({"one", "two"}, set(found))
        self.assertIsNone(found["two"]["power"])

    def silence(self, host: str) -> None:
        """Let a host take messages and not answer."""
        answer = Monitor.vitals

        def vitals(seen: Monitor) -> tuple[Vitals, ...]:
            if seen._host == host:
                time.sleep(2)
            return answer(seen)

        self.patch(Monitor, "vitals", vitals)

    def test_a_task_that_is_cancelled_ends_as_nothing_else(self) -> None:
        hosts = self.boot("one")
        self.silence(hosts["one"])
        place = self.start()
        self.until("it is begun", lambda: self.task(place)["state"] == "processing")
        self.assertEqual(204, self.own("DELETE", place).status_code)
        time.sleep(2.5)
        self.assertEqual("cancelled", self.task(place)["state"])
        self.assertEqual(409, self.own("GET", f"{place}/result").status_code)

    def test_a_task_whose_message_was_lost_is_done_all_the_same(self) -> None:
        self.boot("one")
        self.patch(patience, "UNTAKEN", timedelta())
        wire = Wire(self)
        wire.lost.add("RunTask")
        place = self.start()
        self.assertEqual("done", self.ended(place)["state"])
        self.assertEqual(1, wire.counts()["RunTask"])

    def test_a_task_of_a_conductor_that_died_ends_with_a_reason(self) -> None:
        self.boot("one")
        self.patch(patience, "WORKER_SILENT", timedelta(seconds=1))
        # It has begun, and is never heard of again.
        self.patch(TaskWorkers, "_do", lambda *_: None)
        place = self.start()
        task = self.ended(place)
        self.assertEqual("error", task["state"])
        self.assertIn("has ended", task["reason"])

    def test_what_is_urgent_does_not_wait_for_what_is_not(self) -> None:
        hosts = self.boot("one", "two")
        self.silence(hosts["one"])
        slow = [self.start(filters={"host": hosts["one"]}) for _ in range(4)]
        began = time.monotonic()
        urgent = self.start(queue="urgent", filters={"host": hosts["two"]})
        self.assertEqual("done", self.ended(urgent)["state"])
        self.assertLess(time.monotonic() - began, 1.5)
        self.assertNotEqual("done", self.task(slow[-1])["state"])
        for place in slow:
            self.own("DELETE", place)
