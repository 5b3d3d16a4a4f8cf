"""What containers say on their terminals, kept in files.

libvirt gives a container a terminal that somebody must read: one that nobody reads lets the container wait
once it is full. Nothing is lost while nobody does.
"""

import contextlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libvirt
import msgspec

from kilonova.compute.libvirt.disks import EARLIER_LOG
from kilonova.core.ids import InstanceUuid

LOG = logging.getLogger(__name__)

_AT_ONCE = 64 << 10
_LARGEST = 1 << 20
"""Bytes after which a log begins anew; the one before is kept beside it."""
_EVENTS = (
    libvirt.VIR_STREAM_EVENT_READABLE
    | libvirt.VIR_STREAM_EVENT_HANGUP
    | libvirt.VIR_STREAM_EVENT_ERROR
)
_NOTHING_YET = -2


class _Reading(msgspec.Struct, frozen=True):
    """Of which run of a container, over which connection, and by what."""

    run: int
    connection: Any
    stream: Any


class ContainerConsoles:
    """Reads in libvirt's event loop; ``log_of`` says where what a container says is kept."""

    def __init__(self, log_of: Callable[[InstanceUuid], Path]) -> None:
        self._log_of = log_of
        self._lock = threading.Lock()
        self._reads: dict[InstanceUuid, _Reading] = {}

    def follow(self, connection: Any, domain: Any, uuid: InstanceUuid) -> None:
        """Read what a container says from now on, and what it said since nobody did. One that is read, and
        one that does not run, is left alone. Raises ``libvirt.libvirtError``.
        """
        run = domain.ID()
        with self._lock:
            there = self._reads.get(uuid)
            # A stream says nothing of it when its connection breaks.
            if there is not None and there.connection is connection and there.run == run:
                return
            if run < 0:
                return
            stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
            domain.openConsole(None, stream, 0)
            stream.eventAddCallback(_EVENTS, self._ready, uuid)
            self._reads[uuid] = _Reading(run, connection, stream)

    def forget(self, uuid: InstanceUuid) -> None:
        """Read no more of a container."""
        with self._lock:
            there = self._reads.pop(uuid, None)
        if there is not None:
            _end(there.stream)

    def close(self) -> None:
        """Read no more of any. They go on, and wait once their terminals are full."""
        with self._lock:
            reads, self._reads = self._reads, {}
        for there in reads.values():
            _end(there.stream)

    def _ready(self, stream: Any, _events: int, uuid: InstanceUuid) -> None:
        """Take what there is, once: the loop has others to serve, and comes back."""
        try:
            data = stream.recv(_AT_ONCE)
            if data:
                if data != _NOTHING_YET:
                    _keep(self._log_of(uuid), data)
                return
        except (libvirt.libvirtError, OSError) as error:
            LOG.debug("The terminal of %s: %s", uuid, error)
        # It ended. Whoever looks next at a container that runs reads again.
        with contextlib.suppress(libvirt.libvirtError):
            stream.eventRemoveCallback()
        with self._lock:
            there = self._reads.get(uuid)
            if there is not None and there.stream is stream:
                del self._reads[uuid]


def _keep(log: Path, data: bytes) -> None:
    with log.open("ab") as file:
        file.write(data)
        size = file.tell()
    if size > _LARGEST:
        log.replace(log.with_name(EARLIER_LOG))


def _end(stream: Any) -> None:
    try:
        stream.eventRemoveCallback()
        stream.abort()
    except libvirt.libvirtError as error:
        LOG.debug("A terminal that had ended: %s", error)
