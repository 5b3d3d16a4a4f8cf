"""What other services say of this host's guests, and who waits for it."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from kilonova.core.external_event import ExternalEvent
from kilonova.core.ids import InstanceUuid

LOG = logging.getLogger(__name__)

_Key = tuple[InstanceUuid, str, str | None]


class Arrivals:
    """Gives events to whoever awaits them. ``looks`` is told of guests whose power may have changed."""

    def __init__(self, looks: Callable[[InstanceUuid], None]) -> None:
        self._looks = looks
        self._lock = threading.Lock()
        self._awaited: dict[_Key, list[Future[ExternalEvent]]] = {}

    @contextmanager
    def awaited(
        self, uuid: InstanceUuid, name: str, tag: str | None
    ) -> Iterator["Future[ExternalEvent]"]:
        """Await an event of a server from now on: do in the context what brings it about."""
        key = (uuid, name, tag)
        future: Future[ExternalEvent] = Future()
        with self._lock:
            self._awaited.setdefault(key, []).append(future)
        try:
            yield future
        finally:
            with self._lock:
                waiting = self._awaited[key]
                waiting.remove(future)
                if not waiting:
                    del self._awaited[key]

    def arrive(self, event: ExternalEvent) -> None:
        """Give an event to all who await it. One that nobody awaits changes nothing."""
        if event.name == "power-update":
            self._looks(event.server_uuid)
            return
        with self._lock:
            waiting = tuple(self._awaited.get((event.server_uuid, event.name, event.tag), ()))
            for future in waiting:
                if not future.done():
                    future.set_result(event)
        LOG.info(
            "%s: %s %s %s%s", event.server_uuid, event.name, event.tag, event.status,
            "" if waiting else ", which nobody awaits",
        )  # fmt: skip
