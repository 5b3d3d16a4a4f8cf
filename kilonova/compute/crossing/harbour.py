"""The destination's end: listens, lets in who shows a token, and does what is asked for that one guest.

Berths outlive a restart of the service, and so do key and port: a source can ask again what became of its
guest.
"""

import contextlib
import hmac
import logging
import os
import secrets
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from kilonova.compute.crossing import extents, tunnel
from kilonova.compute.crossing.identity import Identity, identity
from kilonova.compute.crossing.wire import Answer, Ask, Keep, Make, Opening, Put, Reach, hear, say
from kilonova.core.errors import BuildFailed, KilonovaError
from kilonova.core.ids import InstanceUuid
from kilonova.core.image import Image
from kilonova.core.migration import Berth

LOG = logging.getLogger(__name__)

PORTS = range(49152, 49216)
"""The ports of which a host listens on the first that is free; firewalls know them as libvirt's."""
LOOPBACK = "127.0.0.1"
"""Where a hypervisor awaits a running guest: nobody else's host reaches it."""
_HANDSHAKE = 10.0
_SILENCE = 60.0
"""Seconds after which a source that says nothing in the middle of a file is taken for dead."""
_AT_ONCE = 64


class Expected(msgspec.Struct, frozen=True):
    """A guest for which there is a berth; ``image`` is what its root disk is an overlay on, if it is."""

    uuid: InstanceUuid
    token: str
    port: int
    image: Image | None = None


class Quay(Protocol):
    """What a hypervisor does with what arrives. Errors are ``BuildFailed``, fit for tenants."""

    def arriving(self, expected: Expected, put: Put) -> contextlib.AbstractContextManager[Path]:
        """Give where to write a file; it takes its place, once it is whole, as the context ends.

        Raises:
            BuildFailed: it is none that a guest has, or there is no room.
        """

    def make(self, expected: Expected, wanted: Make) -> None:
        """Make an empty disk.

        Raises:
            BuildFailed: it cannot be made.
        """

    def hypervisor(self) -> socket.socket:
        """Return a connection to the hypervisor. Raises ``OSError``."""


class Harbour:
    """The berths of one host. It listens from the first on."""

    def __init__(self, directory: Path, address: str, quay: Quay) -> None:
        self._directory = directory
        self._address = address
        self._quay = quay
        self._lock = threading.Lock()
        self._expected: dict[InstanceUuid, Expected] = {}
        self._kept: dict[str, frozenset[int]] = {}
        self._inside: dict[str, set[socket.socket]] = {}
        self._left = threading.Condition(self._lock)
        self._listener: socket.socket | None = None
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        self._identity: Identity | None = None
        for file in sorted(directory.glob("*.json")):
            self._reopen(file)

    def _reopen(self, file: Path) -> None:
        """Let a berth of an earlier run be there again."""
        try:
            expected = msgspec.json.decode(file.read_bytes(), type=Expected)
            self._listen((expected.port,))
        except (OSError, ValueError) as error:
            LOG.warning("The berth of %s is lost: %s", file.stem, error)
            file.unlink(missing_ok=True)
        else:
            self._expected[expected.uuid] = expected

    def open(self, uuid: InstanceUuid, image: Image | None) -> Berth:
        """Open a berth for a guest. One that it had is closed.

        Raises:
            BuildFailed: this host cannot listen.
        """
        self.close(uuid)
        token = secrets.token_urlsafe(32)
        try:
            port = self._listen(PORTS)
            expected = Expected(uuid, token, port, image)
            self._note(expected)
        except (OSError, ValueError) as error:
            raise BuildFailed("The destination cannot receive servers.") from error
        with self._lock:
            self._expected[uuid] = expected
        known = self._identity.fingerprint if self._identity else ""
        return Berth(address=self._address, port=port, fingerprint=known, token=token)

    def _note(self, expected: Expected) -> None:
        file = self._file(expected.uuid)
        partial = file.with_suffix(".new")
        with os.fdopen(os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as new:
            new.write(msgspec.json.encode(expected))
        partial.rename(file)

    def _file(self, uuid: InstanceUuid) -> Path:
        return self._directory / f"{uuid}.json"

    def close(self, uuid: InstanceUuid) -> None:
        """Let nobody in any more, and wait until who is in has left. No berth is no error."""
        with self._lock:
            expected = self._expected.pop(uuid, None)
            if expected is not None:
                self._file(uuid).unlink(missing_ok=True)
                for tls in self._inside.get(expected.token, ()):
                    with contextlib.suppress(OSError):
                        # Not TLS's own: another thread is in that.
                        socket.socket.shutdown(tls, socket.SHUT_RDWR)
                self._left.wait_for(lambda: not self._inside.get(expected.token), timeout=_SILENCE)
                self._kept.pop(expected.token, None)

    def shut(self) -> None:
        """Listen no more. Berths are there again after a restart."""
        with self._lock:
            self._expected.clear()
            listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                # Ends the accept of the thread.
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _listen(self, ports: range | tuple[int, ...]) -> int:
        """Listen, if nobody does, and return the port. Raises ``OSError`` or ``ValueError``."""
        with self._lock:
            if self._listener is None:
                self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._identity = identity(self._directory)
                self._listener = _listener(self._address, ports)
                arguments = (self._listener, self._identity.context())
                thread = threading.Thread(
                    target=self._accept, args=arguments, name="harbour", daemon=True
                )
                thread.start()
                LOG.info("Listening for servers at %s", self._listener.getsockname())
            return int(self._listener.getsockname()[1])

    def _accept(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        while self._listener is listener:
            try:
                connection, _ = listener.accept()
            except OSError:
                continue
            self._slots.acquire()
            threading.Thread(
                target=self._meet, args=(connection, context), name="harbour-guest", daemon=True
            ).start()

    def _meet(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        try:
            connection.settimeout(_HANDSHAKE)
            with context.wrap_socket(connection, server_side=True) as tls:
                opening = hear(tls, Opening)
                with self._admitted(tls, opening.token) as expected:
                    if expected is None:
                        say(
                            tls,
                            Answer(ok=False, why="The destination does not expect this server."),
                        )
                    else:
                        tls.settimeout(_SILENCE)
                        self._serve(tls, expected, opening.ask)
        except OSError as error:
            LOG.info("A conversation with another host ended: %s", error)
        except Exception:
            LOG.exception("A conversation with another host failed")
        finally:
            connection.close()
            self._slots.release()

    @contextlib.contextmanager
    def _admitted(self, tls: ssl.SSLSocket, token: str) -> Iterator[Expected | None]:
        """Give for whom a token is, and note who is in."""
        with self._lock:
            found = [
                one
                for one in self._expected.values()
                if hmac.compare_digest(one.token.encode(), token.encode())
            ]
            expected = found[0] if found else None
            if expected is not None:
                self._inside.setdefault(token, set()).add(tls)
        try:
            yield expected
        finally:
            if expected is not None:
                with self._lock:
                    self._inside[token].discard(tls)
                    if not self._inside[token]:
                        del self._inside[token]
                    self._left.notify_all()

    def _is_closed(self, expected: Expected) -> bool:
        return self._expected.get(expected.uuid) is not expected

    def _serve(self, tls: ssl.SSLSocket, expected: Expected, ask: Ask) -> None:
        try:
            if isinstance(ask, Put):
                self._take(tls, expected, ask)
            elif isinstance(ask, Make):
                self._quay.make(expected, ask)
            elif isinstance(ask, Keep):
                self._keep(expected, ask)
            else:
                self._reach(tls, expected, ask)
                return
        except KilonovaError as error:
            LOG.warning("%s: %s", expected.uuid, error.in_full)
            say(tls, Answer(ok=False, why=error.message))
        else:
            say(tls, Answer(ok=True))

    def _take(self, tls: ssl.SSLSocket, expected: Expected, put: Put) -> None:
        try:
            with self._quay.arriving(expected, put) as path:
                say(tls, Answer(ok=True))
                extents.receive(path, tls, put.size)
                if self._is_closed(expected):
                    raise BuildFailed("The destination does not expect this server any more.")
        except extents.Damaged as error:
            raise BuildFailed("A disk of the server arrived damaged.") from error

    def _keep(self, expected: Expected, ask: Keep) -> None:
        for port in ask.ports:
            with socket.socket() as probe:
                try:
                    probe.bind((LOOPBACK, port))
                except OSError as error:
                    raise BuildFailed("A port is taken.") from error
        with self._lock:
            self._kept[expected.token] = frozenset(ask.ports)

    def _reach(self, tls: ssl.SSLSocket, expected: Expected, ask: Reach) -> None:
        kept = self._kept.get(expected.token, frozenset())
        if ask.port is not None and ask.port not in kept:
            raise BuildFailed("The port was not kept.")
        try:
            if ask.port is None:
                plain = self._quay.hypervisor()
            else:
                plain = socket.create_connection((LOOPBACK, ask.port), timeout=_HANDSHAKE)
        except OSError as error:
            raise BuildFailed("The destination's hypervisor does not answer.") from error
        say(tls, Answer(ok=True))
        tunnel.join(tls, plain, lambda: self._is_closed(expected))


def _listener(address: str, ports: range | tuple[int, ...]) -> socket.socket:
    for port in ports:
        try:
            return socket.create_server((address, port))
        except OSError:
            if port == ports[-1]:
                raise
    raise ValueError("no port")
