"""What load balancers and Prometheus are told, over HTTP and over the socket of services without HTTP."""

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import falcon.testing
import testtools

from kilonova.core.errors import DatabaseUnavailable
from kilonova.http.health import Health, WithHealth
from kilonova.http.server import AddressInUse, SocketServer

_AT_ONCE = """
import sys, threading
from kilonova.http.health import Health, WithHealth

def app(environ, start_response):
    start_response("200 OK", [])
    return []

def ask():
    together.wait()
    served(dict(REQUEST_METHOD="POST", PATH_INFO="/"), lambda *said: sys.stdout.write(said[0] + "\\n"))

sys.setswitchinterval(1e-6)
served, together = WithHealth(app, Health({})), threading.Barrier(16)
threads = [threading.Thread(target=ask) for _ in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
"""A service whose first requests come at the same moment."""


def _app(_environ: object, start_response: Callable[..., Any]) -> list[bytes]:
    start_response("204 No Content", [("X-App", "yes")])
    return []


class HealthTest(testtools.TestCase):
    """An application that needs a database."""

    def setUp(self) -> None:
        super().setUp()
        self.is_away = False
        self.asked = 0
        health = Health({"database": self._database, "bus": lambda: None})
        self.client = falcon.testing.TestClient(WithHealth(_app, health))

    def _database(self) -> None:
        self.asked += 1
        if self.is_away:
            raise DatabaseUnavailable("The database is away.")

    def test_a_service_whose_dependencies_answer_is_ready(self) -> None:
        answer = self.client.simulate_get("/healthcheck")
        self.assertEqual(200, answer.status_code)
        told = {"database": "ok", "bus": "ok"}
        self.assertEqual({"live": True, "ready": True, "dependencies": told}, answer.json)

    def test_the_first_requests_may_come_at_once(self) -> None:
        command = [sys.executable, "-c", _AT_ONCE]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        self.assertEqual(["200 OK"] * 16, done.stdout.split("\n")[:-1], done.stderr)

    def test_one_whose_database_is_away_lives_and_is_not_ready(self) -> None:
        self.is_away = True
        answer = self.client.simulate_get("/healthcheck")
        self.assertEqual((503, False), (answer.status_code, answer.json["ready"]))
        told = {"database": "The database is away.", "bus": "ok"}
        self.assertEqual(told, answer.json["dependencies"])
        self.assertEqual(200, self.client.simulate_get("/healthcheck/live").status_code)

    def test_who_asks_all_the_time_does_not_ask_the_database_each_time(self) -> None:
        for _ in range(20):
            self.client.simulate_get("/healthcheck")
        self.assertEqual(1, self.asked)

    def test_requests_pass_and_are_counted_by_method_and_status(self) -> None:
        line = 'kilonova_http_requests_total{method="DELETE",status="204"}'
        before = self._counted(line)
        answer = self.client.simulate_delete("/metrics")
        self.assertEqual((204, "yes"), (answer.status_code, answer.headers["x-app"]))
        self.assertEqual(before + 1, self._counted(line))

    def _counted(self, line: str) -> float:
        text = self.client.simulate_get("/metrics").text
        return sum(float(one.split()[-1]) for one in text.splitlines() if one.startswith(line))


class SocketTest(testtools.TestCase):
    """A service without HTTP of its own."""

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "state" / "service.sock"
        self.app = WithHealth(None, Health({"bus": lambda: None}))

    def _get(self, path: str) -> tuple[int, bytes]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.path))
            connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    def test_it_answers_on_a_socket_that_only_its_user_can_open(self) -> None:
        SocketServer(self.app, self.path).start()
        status, body = self._get("/healthcheck")
        self.assertEqual((200, True), (status, json.loads(body)["ready"]))
        self.assertIn(b"process_start_time_seconds", self._get("/metrics")[1])
        self.assertEqual(404, self._get("/")[0])
        self.assertEqual(0o600, self.path.stat().st_mode & 0o777)

    def test_a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not(self) -> None:
        self.path.parent.mkdir()
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(self.path))
        SocketServer(self.app, self.path).start()
        self.assertEqual(200, self._get("/healthcheck/live")[0])
        self.assertRaises(AddressInUse, SocketServer(self.app, self.path).start)
        self.assertEqual(200, self._get("/healthcheck/live")[0])
