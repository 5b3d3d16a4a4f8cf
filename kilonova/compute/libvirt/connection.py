"""One connection to libvirt: opened when needed, opened anew when it broke; its events in their loop."""

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import libvirt

from kilonova.core.errors import BuildFailed, HypervisorUnavailable, KilonovaError, NotFound

LOG = logging.getLogger(__name__)
T = TypeVar("T")

_BROKEN = frozenset(
    {
        libvirt.VIR_ERR_SYSTEM_ERROR,
        libvirt.VIR_ERR_INTERNAL_ERROR,
        libvirt.VIR_ERR_NO_CONNECT,
        libvirt.VIR_ERR_INVALID_CONN,
    }
)
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


class Connection:
    """libvirt at one URI."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._lock = threading.Lock()
        self._open: Any = None
        self._watch: Callable[[Any], None] | None = None

    def watch(self, changed: Callable[[Any], None]) -> None:
        """Call ``changed(domain)`` on every lifecycle event, also after a reconnection."""
        with self._lock:
            known, self._watch = self._watch, changed
            if known is None and self._open is not None:
                self._register()
        self.use(lambda _connection: None)

    def _register(self) -> None:
        if self._watch is not None:
            self._open.domainEventRegisterAny(
                None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._changed, None
            )

    def use(self, work: Callable[[Any], T]) -> T:
        """Run ``work`` with the connection and return what it returns.

        Raises:
            HypervisorUnavailable: libvirt does not answer.
            NotFound: there is no such domain.
            BuildFailed: libvirt refused, with its own words.
        """
        try:
            return work(self._connected())
        except libvirt.libvirtError as error:
            raise self._translate(error) from error

    def close(self) -> None:
        """Let go."""
        with self._lock:
            if self._open is not None:
                self._open.close()
                self._open = None

    def _connected(self) -> Any:
        with self._lock:
            if self._open is None or not self._open.isAlive():
                start_event_loop()
                self._open = libvirt.open(self._uri)
                with contextlib.suppress(libvirt.libvirtError):
                    # Only a connection to a daemon can be kept alive.
                    self._open.setKeepAlive(5, 3)
                self._register()
            return self._open

    def _changed(self, _open: Any, domain: Any, _event: int, _detail: int, _data: Any) -> None:
        if self._watch is not None:
            self._watch(domain)

    def _translate(self, error: libvirt.libvirtError) -> KilonovaError:
        code = error.get_error_code()
        if code == libvirt.VIR_ERR_NO_DOMAIN:
            return NotFound(str(error))
        alive = False
        with self._lock:
            try:
                alive = bool(self._open is not None and self._open.isAlive())
            except libvirt.libvirtError:
                self._open = None
        if not alive and (code in _BROKEN or self._open is None):
            return HypervisorUnavailable(f"libvirt at {self._uri} does not answer: {error}")
        return BuildFailed(f"libvirt: {error}")
