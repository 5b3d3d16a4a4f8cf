"""One connection to libvirt: opened when needed, opened anew when it broke; its events in their loop."""

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import libvirt

from kilonova.core.errors import BuildFailed, HypervisorUnavailable, KilonovaError, NotFound

LOG = logging.getLogger(__name__)
T = TypeVar("T")

_GONE = frozenset({libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INVALID_CONN})
_SILENCE = "The hypervisor does not answer."
_loop_lock = threading.Lock()
_loop_runs = False


def _run_loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def start_event_loop() -> None:
    """Run libvirt's event loop in a thread of its own; must come before the first connection."""
    global _loop_runs  # noqa: PLW0603 - libvirt's loop is one for the process, too
    with _loop_lock:
        if not _loop_runs:
            libvirt.registerErrorHandler(lambda _context, _error: None, None)
            libvirt.virEventRegisterDefaultImpl()
            threading.Thread(target=_run_loop, name="libvirt-events", daemon=True).start()
            _loop_runs = True


class Listener(Protocol):
    """Hears of domains, in the thread of libvirt's event loop, which it must not keep."""

    def opened(self) -> None:
        """Events come from now on. What happened before was missed."""

    def happened(self, domain: Any, event: int, detail: int) -> None:
        """A lifecycle event (``virDomainEventType`` and its detail)."""


class Connection:
    """libvirt at one URI."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._lock = threading.Lock()
        self._open: Any = None
        self._events = 0
        self._listener: Listener | None = None

    def listen(self, listener: Listener) -> None:
        """Tell ``listener`` of every lifecycle event, also after a reconnection. Raises nothing."""
        self._listener = listener

    def use(self, work: Callable[[Any], T]) -> T:
        """Run ``work`` with the connection and return what it returns.

        Raises:
            HypervisorUnavailable: libvirt does not answer.
            NotFound: there is no such domain.
            BuildFailed: libvirt refused; its own words are the cause.
        """
        try:
            connection = self._connected()
        except libvirt.libvirtError as error:
            raise HypervisorUnavailable(_SILENCE) from error
        try:
            return work(connection)
        except libvirt.libvirtError as error:
            raise _translate(connection, error) from error

    def close(self) -> None:
        """Let go."""
        with self._lock:
            self._drop()

    def _connected(self) -> Any:
        with self._lock:
            if self._open is None or not _is_alive(self._open):
                self._drop()
                self._open, self._events = self._connect()
                LOG.info("Connected to libvirt at %s", self._uri)
                if self._listener is not None:
                    self._listener.opened()
            return self._open

    def _connect(self) -> tuple[Any, int]:
        """Return a new connection, and the number by which it knows that its events are wanted."""
        start_event_loop()
        connection = libvirt.open(self._uri)
        with contextlib.suppress(libvirt.libvirtError):
            # Only a connection to a daemon can be kept alive.
            connection.setKeepAlive(5, 3)
        events = connection.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._happened, None
        )
        return connection, events

    def _drop(self) -> None:
        if self._open is not None:
            with contextlib.suppress(libvirt.libvirtError):
                # A registration keeps the connection open.
                self._open.domainEventDeregisterAny(self._events)
                self._open.close()
            self._open = None

    def _happened(self, _open: Any, domain: Any, event: int, detail: int, _data: Any) -> None:
        if self._listener is not None:
            self._listener.happened(domain, event, detail)


def _is_alive(connection: Any) -> bool:
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


def _translate(connection: Any, error: libvirt.libvirtError) -> KilonovaError:
    code = error.get_error_code()
    if code in _GONE or not _is_alive(connection):
        return HypervisorUnavailable(_SILENCE)
    if code == libvirt.VIR_ERR_NO_DOMAIN:
        return NotFound("There is no such guest on this host.")
    if code == libvirt.VIR_ERR_OPERATION_TIMEOUT:
        return BuildFailed("The hypervisor is still busy with the server. A hard reboot ends that.")
    return BuildFailed("The hypervisor refused what was asked of it.")
