"""The source's end: brings files to a berth, and lets a hypervisor here reach the one there."""

import contextlib
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kilonova.compute.crossing import extents, tunnel
from kilonova.compute.crossing.identity import fingerprint
from kilonova.compute.crossing.wire import Ask, Keep, Make, Opening, Put, Reach, agreed, say
from kilonova.core.errors import BuildFailed
from kilonova.core.migration import Berth

DOORSTEP = "127.0.0.53"
"""Where a hypervisor here finds the other one's ports: loopback, and not where its own listen."""
_TIMEOUT = 10.0
_LONGEST = 600.0
"""Seconds that the other end may take to bring a file to its disk."""
_TRIES = 20


class Line:
    """What leads to one berth, until ``close``. ``end`` tells whether a transfer is unwanted by now."""

    def __init__(self, berth: Berth, end: Callable[[], bool]) -> None:
        self._berth = berth
        self._end = end
        self._closed = threading.Event()
        self._doors: list[socket.socket] = []

    def put(self, path: Path, name: str) -> None:
        """Bring a file, under a name.

        Raises:
            BuildFailed: it did not arrive whole; its cause says why.
        """
        put = Put(file=name, size=path.stat().st_size, filled=extents.filled(path))
        with self._asked(put) as tls:
            tls.settimeout(_LONGEST)
            extents.send(path, tls, self._end)
            agreed(tls)

    def make(self, name: str, size: int, filled: int) -> None:
        """Have an empty disk made there.

        Raises:
            BuildFailed: it cannot be made.
        """
        with self._asked(Make(file=name, size=size, filled=filled)):
            return

    def ports(self, count: int) -> tuple[int, ...]:
        """Return ports of the other host's loopback, that ``DOORSTEP`` leads to from now on.

        Raises:
            BuildFailed: there are none.
        """
        for _ in range(_TRIES):
            with contextlib.ExitStack() as opened:
                doors = [opened.enter_context(_door()) for _ in range(count)]
                found = tuple(int(door.getsockname()[1]) for door in doors)
                try:
                    with self._asked(Keep(ports=found)):
                        pass
                except BuildFailed as error:
                    if error.__cause__ is not None:
                        raise
                    continue
                for door, port in zip(doors, found, strict=True):
                    self._lead(door, Reach(port=port))
                opened.pop_all()
                return found
        raise BuildFailed("No port is free at the destination.")

    @contextmanager
    def hypervisor(self) -> Iterator[Path]:
        """Give a socket of this process's own that leads to the other hypervisor."""
        with tempfile.TemporaryDirectory(prefix="kilonova-") as directory:
            path = Path(directory) / "hypervisor"
            door = socket.socket(socket.AF_UNIX)
            door.bind(str(path))
            door.listen()
            self._lead(door, Reach())
            yield path

    def close(self) -> None:
        """Let nothing through any more."""
        self._closed.set()
        for door in self._doors:
            with contextlib.suppress(OSError):
                door.shutdown(socket.SHUT_RDWR)
            door.close()

    def _lead(self, door: socket.socket, reach: Reach) -> None:
        self._doors.append(door)
        threading.Thread(
            target=self._let_in, args=(door, reach), name="line-door", daemon=True
        ).start()

    def _let_in(self, door: socket.socket, reach: Reach) -> None:
        while not self._closed.is_set():
            try:
                plain, _ = door.accept()
            except OSError:
                return
            threading.Thread(
                target=self._pass, args=(plain, reach), name="line-tunnel", daemon=True
            ).start()

    def _pass(self, plain: socket.socket, reach: Reach) -> None:
        with plain, contextlib.suppress(BuildFailed, OSError), self._asked(reach) as tls:
            tunnel.join(tls, plain, self._closed.is_set)

    @contextmanager
    def _asked(self, ask: Ask) -> Iterator[ssl.SSLSocket]:
        """Give a connection on which the berth has agreed to something.

        Raises:
            BuildFailed: it has not; with a cause where it could not be asked.
        """
        try:
            with self._connected() as tls:
                say(tls, Opening(token=self._berth.token, ask=ask))
                tls.settimeout(_LONGEST)
                agreed(tls)
                yield tls
        except OSError as error:
            raise BuildFailed("The destination cannot be reached.") from error

    def _connected(self) -> ssl.SSLSocket:
        """Return a connection to the host that opened the berth, and to no other. Raises ``OSError``."""
        berth = self._berth
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        # Its certificate is known by its fingerprint, which came through the cell's bus.
        context.verify_mode = ssl.CERT_NONE
        plain = socket.create_connection((berth.address, berth.port), timeout=_TIMEOUT)
        try:
            tls = context.wrap_socket(plain)
        except BaseException:
            plain.close()
            raise
        shown = tls.getpeercert(binary_form=True)
        if shown is None or fingerprint(shown) != berth.fingerprint:
            tls.close()
            raise ConnectionError(f"another host answers at {berth.address}")
        return tls


def _door() -> socket.socket:
    return socket.create_server((DOORSTEP, 0))
