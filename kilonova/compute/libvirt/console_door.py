"""A host's door to the consoles of its guests, which themselves listen nowhere but inside the host.

Who knows the path of a console, which the host tells once and only to the API, is let through to it
(``CONNECT path HTTP/1.1``). Paths are kept in memory: with the service they end.
"""

import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

from kilonova.core.console import ConsoleAddress
from kilonova.core.errors import KilonovaError

LOG = logging.getLogger(__name__)

PORT = 6079
"""Where the door is; where another host's service of this machine has it, at any port that is free."""
_LASTS = 900.0
"""Seconds for which a path is good: longer than any token that leads to it."""
_PATIENCE = 10.0
"""Seconds in which a visitor says where it wants to go, and a guest's console answers."""
_LONGEST = 1024
_MOST = 500
"""Visitors at once."""
_CHUNK = 1 << 16


Inside = Callable[[], socket.socket]
"""Connects to a console inside the host. Raises OSError or KilonovaError."""


def line(path: Path) -> socket.socket:
    """Connect to a serial line at its socket."""
    found = socket.socket(socket.AF_UNIX)
    try:
        found.settimeout(_PATIENCE)
        found.connect(str(path))
    except OSError:
        found.close()
        raise
    return found


class ConsoleDoor:
    """One host's door, at an address of the host; it opens with the first console that is told of."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Inside]] = {}
        self._places = threading.Semaphore(_MOST)
        self._server: ThreadingTCPServer | None = None

    def tell(self, inside: Inside) -> ConsoleAddress:
        """Return the address under which a console can be reached from now on, for a while.

        Raises:
            OSError: the host cannot listen at its address.
        """
        path = f"/{secrets.token_urlsafe(32)}"
        now = time.monotonic()
        with self._lock:
            server = self._server = self._server or self._open()
            self._known = {p: known for p, known in self._known.items() if known[0] > now}
            self._known[path] = (now + _LASTS, inside)
        return ConsoleAddress(host=self._address, port=server.server_address[1], path=path)

    def _open(self) -> ThreadingTCPServer:
        try:
            server = _Server((self._address, PORT), self._visit)
        except OSError:
            server = _Server((self._address, 0), self._visit)
        threading.Thread(target=server.serve_forever, name="console-door", daemon=True).start()
        return server

    def _visit(self, visitor: socket.socket) -> None:
        if not self._places.acquire(blocking=False):
            LOG.warning("More than %d consoles are open: another is refused", _MOST)
            return
        try:
            self._pass(visitor)
        except (OSError, KilonovaError) as error:
            LOG.debug("A console broke off: %s", error)
        finally:
            self._places.release()

    def _pass(self, visitor: socket.socket) -> None:
        visitor.settimeout(_PATIENCE)
        inside = self._wanted(visitor)
        if inside is None:
            visitor.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n")
            return
        try:
            guest = inside()
        except (OSError, KilonovaError):
            visitor.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            raise
        with guest:
            visitor.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            for end in (visitor, guest):
                end.settimeout(None)
            back = threading.Thread(target=_pour, args=(guest, visitor), daemon=True)
            back.start()
            _pour(visitor, guest)
            back.join()

    def _wanted(self, visitor: socket.socket) -> Inside | None:
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            byte = visitor.recv(1)
            if not byte or len(asked) > _LONGEST:
                return None
            asked += byte
        words = asked.decode("latin-1").split(" ", 2)
        if len(words) < 3 or words[0] != "CONNECT":
            return None
        with self._lock:
            until, inside = self._known.get(words[1], (0.0, None))
        return inside if until > time.monotonic() else None

    def close(self) -> None:
        """Let nobody in any more."""
        with self._lock:
            if self._server is not None:
                self._server.shutdown()
                self._server.server_close()
                self._server = None
            self._known.clear()


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], visit: Callable[[socket.socket], None]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.visit = visit
        super().__init__(address, _Handler)


class _Handler(BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.server.visit(self.request)


def _pour(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes until one side ends, and then let the other know."""
    try:
        while said := source.recv(_CHUNK):
            sink.sendall(said)
    except OSError as error:
        LOG.debug("A console broke off: %s", error)
    finally:
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                LOG.debug("One side of a console is closed already")
