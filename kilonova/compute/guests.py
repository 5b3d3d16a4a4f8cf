"""One thing at a time for each guest, and the word that it is to go."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from kilonova.core.ids import InstanceUuid


class _Turn:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0


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
            turn.users += 1
        try:
            with turn.lock:
                yield
        finally:
            self._leave(uuid, turn)

    @contextmanager
    def turn_if_free(self, uuid: InstanceUuid) -> Iterator[bool]:
        """Hold this server's turn and give True, or give False if somebody holds or wants it."""
        with self._guard:
            free = uuid not in self._turns
            if free:
                turn = self._turns[uuid] = _Turn()
                turn.users = 1
                turn.lock.acquire()
        if not free:
            yield False
            return
        try:
            yield True
        finally:
            turn.lock.release()
            self._leave(uuid, turn)

    def _leave(self, uuid: InstanceUuid, turn: _Turn) -> None:
        with self._guard:
            turn.users -= 1
            if not turn.users:
                del self._turns[uuid]

    @contextmanager
    def going(self, uuid: InstanceUuid) -> Iterator[bool]:
        """While this is held, whoever works on this server should come to an end soon.

        Gives False, and changes nothing, if somebody holds it already.
        """
        with self._guard:
            first = uuid not in self._going
            self._going.add(uuid)
        try:
            yield first
        finally:
            if first:
                with self._guard:
                    self._going.discard(uuid)

    def is_going(self, uuid: InstanceUuid) -> bool:
        """Whether the server is to be deleted."""
        return uuid in self._going
