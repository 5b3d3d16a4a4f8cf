"""What a host is doing right now, and its word now and then that it still does."""

import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Work = TypeVar("Work")


class InHand(Generic[Key, Work]):
    """Pieces of work by key, each begun once."""

    def __init__(self, every: float, say: Callable[[Work], None]) -> None:
        """``say`` is called for each piece every so many seconds, as often as ``renew`` allows."""
        self._every, self._say = every, say
        self._lock = threading.Lock()
        self._works: dict[Key, Work] = {}
        self._said = time.monotonic()

    @contextmanager
    def hold(self, key: Key, work: Work) -> Iterator[bool]:
        """Have it in hand. Gives False, and changes nothing, if something is under that key."""
        with self._lock:
            first = self._works.setdefault(key, work) is work
        try:
            yield first
        finally:
            if first:
                del self._works[key]

    def works(self) -> tuple[Work, ...]:
        """Return what is in hand."""
        return tuple(self._works.values())

    def renew(self) -> None:
        """Say of everything that it is in hand, if that was not said lately."""
        if time.monotonic() - self._said >= self._every:
            self._said = time.monotonic()
            for work in self.works():
                self._say(work)
