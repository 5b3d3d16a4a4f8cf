"""The proxy of consoles over real sockets: tokens in a database, websockets before it, a host behind it."""

import socket
import tempfile
import threading
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

import requests
import testtools
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from kilonova.compute.libvirt.console_door import ConsoleDoor, line
from kilonova.consoles.proxy import ConsoleProxy
from kilonova.core import settings
from kilonova.core.clock import utcnow
from kilonova.core.console import ConsoleAddress
from kilonova.core.quota import Limits
from kilonova.core.scheduling import RequestSpec
from kilonova.db import acceptance, build_requests, console_tokens
from kilonova.db.acceptance import Accepted, Lot
from kilonova.db.console_tokens import Console
from kilonova.db.engine import Database
from kilonova.db.migrate import upgrade
from tests.functional.db.servers import REQUEST, instance

GREETING = b"RFB 003.008\n"


class Guest:
    """A console that greets, and says again what it hears, at a port and at a socket's path."""

    def __init__(self, path: Path) -> None:
        self._at_port = socket.create_server(("127.0.0.1", 0))
        self._at_path = socket.socket(socket.AF_UNIX)
        self._at_path.bind(str(path))
        self._at_path.listen()
        self.path = path
        self.port: int = self._at_port.getsockname()[1]
        self.heard = b""
        self._open: list[socket.socket] = []
        for listener in (self._at_port, self._at_path):
            threading.Thread(target=self._listen, args=(listener,), daemon=True).start()

    def screen(self) -> socket.socket:
        """Connect to the port."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def _listen(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                visitor = listener.accept()[0]
                self._open.append(visitor)
                threading.Thread(target=self._talk, args=(visitor,), daemon=True).start()

    def _talk(self, visitor: socket.socket) -> None:
        with suppress(OSError):
            visitor.sendall(GREETING)
            while said := visitor.recv(4096):
                self.heard += said
                visitor.sendall(said)

    def end(self) -> None:
        """End as a guest does that is switched off."""
        for one in (*self._open, self._at_port, self._at_path):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


class ProxyTest(testtools.TestCase):
    """A proxy, a host's door, and a guest behind it."""

    def setUp(self) -> None:
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        directory = Path(scratch.name)
        self.api_db = Database(f"sqlite:///{directory}/api.db")
        self.addCleanup(self.api_db.dispose)
        upgrade(self.api_db, "api")
        conf = settings.read_config([], prog="kilonova", default_files=())
        self.proxy = ConsoleProxy(conf, self.api_db, port=0)
        self.proxy.start()
        self.addCleanup(self.proxy.stop)
        self.door = ConsoleDoor("127.0.0.1")
        self.addCleanup(self.door.close)
        self.guest = Guest(directory / "console.sock")
        self.addCleanup(self.guest.end)
        self.server = instance()
        spec = RequestSpec(
            project_id=self.server.project_id,
            user_id=self.server.user_id,
            flavor=self.server.flavor,
            image=self.server.image,
        )
        accepted = Accepted(instance=self.server, spec=spec, request_id=REQUEST)
        acceptance.accept(self.api_db, [Lot([accepted], Limits())])

    def token(
        self, address: ConsoleAddress, kind: str = "novnc", seconds: int = 600, name: str = "t"
    ) -> str:
        """Return a token for a console that is good for so long."""
        now = utcnow()
        found = Console(self.server.uuid, kind, address)
        until = now + timedelta(seconds=seconds)
        console_tokens.grant(self.api_db, name, found, now - timedelta(days=1), until)
        return name

    def heard(self, visit: ClientConnection, size: int) -> bytes:
        """Return so many bytes of what a visitor hears, in however many messages it comes."""
        heard = b""
        while len(heard) < size:
            heard += visit.recv(timeout=60)
        return heard

    def visit(self, token: str, **more: object) -> ClientConnection:
        """Open a console by its token."""
        visit = connect(f"ws://127.0.0.1:{self.proxy.port}/?token={token}", **more)
        self.addCleanup(visit.close)
        return visit

    def status(self, token: str, **more: object) -> int:
        """Return how a visit is refused."""
        refused = self.assertRaises(InvalidStatus, self.visit, token, **more)
        return refused.response.status_code

    def test_a_screen_and_a_line_are_carried_both_ways(self) -> None:
        for kind, inside in (
            ("novnc", self.guest.screen),
            ("serial", partial(line, self.guest.path)),
        ):
            visit = self.visit(self.token(self.door.tell(inside), kind, name=kind))
            self.assertEqual(GREETING, self.heard(visit, len(GREETING)))
            for said in (b"\x00\xff" * 4, b"x" * 200_000):
                visit.send(said)
                self.assertEqual(said, self.heard(visit, len(said)))
            visit.close()

    def test_a_console_without_a_door_is_carried_too(self) -> None:
        address = ConsoleAddress(host="127.0.0.1", port=self.guest.port)
        visit = self.visit(self.token(address), subprotocols=["binary"])
        self.assertEqual("binary", visit.subprotocol)
        visit.send("text")
        expected = GREETING + b"text"
        self.assertEqual(expected, self.heard(visit, len(expected)))

    def test_only_a_token_that_is_good_now_opens(self) -> None:
        address = self.door.tell(self.guest.screen)
        self.assertEqual(401, self.status("unknown"))
        self.assertEqual(401, self.status(self.token(address, seconds=-1, name="late")))
        self.assertEqual(403, self.status(self.token(address, "webmks", name="mks")))
        good = self.token(address)
        self.assertEqual(403, self.status(good, origin="https://evil.test"))
        self.visit(good).close()
        build_requests.queue_for_delete(self.api_db, self.server.uuid)
        self.assertEqual(401, self.status(good))
        self.assertEqual(b"", self.guest.heard)

    def test_who_knows_no_path_is_not_let_in_by_the_host(self) -> None:
        address = self.door.tell(self.guest.screen)
        for asked in (
            b"CONNECT /guess HTTP/1.1\r\n\r\n",
            b"GET " + str(address.path).encode() + b" HTTP/1.1\r\n\r\n",
            b"RFB 003.008\n\r\n\r\n",
            b"x" * 5000,
            b"\r\n\r\n",
        ):
            with socket.create_connection((address.host, address.port), timeout=5) as visitor:
                visitor.sendall(asked)
                visitor.shutdown(socket.SHUT_WR)
                answer = visitor.makefile("rb").read()
            self.assertIn(answer, (b"HTTP/1.1 404 Not Found\r\n\r\n", b""), asked[:30])

    def test_a_path_that_the_host_forgot_ends_the_visit_with_a_sentence(self) -> None:
        address = self.door.tell(self.guest.screen)
        self.door.close()
        again = self.door.tell(self.guest.screen)
        stale = ConsoleAddress(host=again.host, port=again.port, path=address.path)
        visit = self.visit(self.token(stale))
        closed = self.assertRaises(ConnectionClosed, visit.recv, timeout=5)
        self.assertIn("ask for a new address", closed.rcvd.reason)

    def test_the_end_of_a_guest_is_the_end_of_the_visit(self) -> None:
        visit = self.visit(self.token(self.door.tell(self.guest.screen)))
        self.assertEqual(GREETING, self.heard(visit, len(GREETING)))
        self.guest.end()
        self.assertRaises(ConnectionClosed, visit.recv, timeout=5)

    def test_what_wants_no_websocket_gets_a_page_or_none(self) -> None:
        answer = requests.get(f"http://127.0.0.1:{self.proxy.port}/../etc/passwd", timeout=5)
        self.assertEqual(404, answer.status_code)
