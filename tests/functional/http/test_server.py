"""How an application is served by threads of this process, and how that ends."""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
import testtools

from kilonova.core.errors import KilonovaError
from kilonova.http.server import AddressInUse, ThreadedServer, check_free


class ThreadedServerTest(testtools.TestCase):
    """An application whose path ``/slow`` answers when the test says so. Each test stops its server."""

    def setUp(self) -> None:
        super().setUp()
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.addCleanup(self.go_on.set)
        self.server = ThreadedServer(self._app, "127.0.0.1", 0)
        self.server.start()
        self.url = f"http://127.0.0.1:{self.server.port}"

    def _app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/slow":
            self.begun.set()
            self.go_on.wait(10)
        start_response("200 OK", [("Content-Length", "4")])
        return [b"here"]

    def test_a_stop_does_not_wait_for_connections_that_clients_keep_open(self) -> None:
        with requests.Session() as client:
            self.assertEqual("here", client.get(self.url, timeout=5).text)
            began = time.monotonic()
            self.server.stop()
            self.assertLess(time.monotonic() - began, 1.0)
            self.assertRaises(requests.ConnectionError, client.get, self.url, timeout=5)

    def test_a_request_in_hand_is_answered_before_the_server_ends(self) -> None:
        with ThreadPoolExecutor(2) as threads:
            answer = threads.submit(requests.get, f"{self.url}/slow", timeout=10)
            self.assertTrue(self.begun.wait(5))
            stopped = threads.submit(self.server.stop)
            self.go_on.set()
            self.assertEqual("here", answer.result().text)
            stopped.result(5)

    def test_a_port_that_is_taken_is_refused_by_name(self) -> None:
        error = self.assertRaises(AddressInUse, check_free, "127.0.0.1", self.server.port)
        self.assertIsInstance(error, KilonovaError)
        self.assertIn(f"127.0.0.1:{self.server.port}", str(error))
        self.server.stop()
        check_free("127.0.0.1", self.server.port)
