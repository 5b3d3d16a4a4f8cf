"""One thing at a time for each guest, and the word that it is to go."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from kilonova.core.ids import InstanceUuid


class _Turn:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiting = 0


class Turns:
    """Locks by server, kept only while somebody holds or wants one; and which servers are to be deleted."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._turns: dict[InstanceUuid, _Turn] = {}
        self._going: set[InstanceUuid] = set()

    @contextmanager
    def turn(self, uuid: InstanceUuid) -> Iterator[None]:
        """Wait for this server's turn and hold it."""
        with self._guard:
            turn = self._turns.setdefault(uuid, _Turn())
            turn.waiting += 1
        try:
            with turn.lock:
                yield
        finally:
            with self._guard:
                turn.waiting -= 1
                if not turn.waiting:
                    del self._turns[uuid]

    @contextmanager
    def going(self, uuid: InstanceUuid) -> Iterator[None]:
        """While this is held, whoever builds this server should stop at the next stage."""
        with self._guard:
            self._going.add(uuid)
        try:
            yield
        finally:
            with self._guard:
                self._going.discard(uuid)

    def is_going(self, uuid: InstanceUuid) -> bool:
        """Whether the server is to be deleted."""
        return uuid in self._going
