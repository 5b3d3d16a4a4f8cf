"""Keeps a database that does not answer from holding up those who ask it.

All work on a database passes its breaker. Work that fails, or takes long, makes it look for itself: one
statement over a connection of its own. If that is not answered, the breaker is shut: work in hand is cut
off and further work is refused. Whoever comes then lets it look again, and passes as soon as the database
answers; while it has to be waited for, that is one every second, and all others are refused at once.
Nothing looks while nobody asks.

A database that is slow but answers stays open: nothing is cut off because it takes its time.
"""

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kilonova.core.errors import DatabaseUnavailable

_SLOW = 2.0
"""Seconds after which work in hand is a reason to look."""
_PAUSE = 1.0
"""Seconds from a look that took long to the next."""
_MOMENT = 0.2
"""Seconds for which somebody waits for a look; one that takes longer took long."""
_LONGEST_LOOK = 5.0
"""Seconds after which a look that has not come back counts as one without answer."""
_ROUND = 0.5


class Breaker:
    """Of one database.

    ``look`` asks it, and raises ``DatabaseUnavailable`` if it does not answer; ``cut`` ends work in hand.
    """

    def __init__(self, look: Callable[[], None], cut: Callable[[], None]) -> None:
        self._look, self._cut = look, cut
        self._lock = threading.Lock()
        self._shut = False
        self._looking: threading.Event | None = None
        self._looked_at = 0.0
        self._pause = 0.0
        self._in_hand: dict[object, float] = {}
        _watch(self)

    @property
    def is_shut(self) -> bool:
        """Whether the database is known not to answer."""
        return self._shut

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Stand around a piece of work.

        Raises:
            DatabaseUnavailable: the database is known not to answer.
        """
        if self._shut:
            looked = self.doubt()
            if looked is not None:
                looked.wait(_MOMENT)
            if self._shut:
                raise DatabaseUnavailable("The database does not answer.")
        token = object()
        self._in_hand[token] = time.monotonic()
        try:
            yield
        except DatabaseUnavailable:
            self.doubt()
            raise
        finally:
            del self._in_hand[token]

    def doubt(self) -> threading.Event | None:
        """Look, in a thread; return what is set when a look is over that is worth waiting for."""
        now = time.monotonic()
        with self._lock:
            if self._looking is not None:
                return None if self._pause else self._looking
            if now - self._looked_at < self._pause:
                return None
            self._looking, self._looked_at = threading.Event(), now
            looking = self._looking
        threading.Thread(target=self._see, name="look", daemon=True).start()
        return looking

    def _see(self) -> None:
        try:
            self._look()
        except DatabaseUnavailable:
            self._close()
        else:
            self._shut = False
        finally:
            with self._lock:
                took = time.monotonic() - self._looked_at
                self._looked_at += took
                self._pause = _PAUSE if took > _MOMENT else 0.0
                looked, self._looking = self._looking, None
            if looked is not None:
                looked.set()

    def _close(self) -> None:
        self._shut = True
        self._cut()

    def watch(self) -> None:
        """Look if something takes long; give up a look that takes too long. Called again and again."""
        now = time.monotonic()
        oldest = min(list(self._in_hand.values()), default=now)
        looks_for = now - self._looked_at if self._looking is not None else 0.0
        if looks_for > _LONGEST_LOOK and not self._shut:
            self._close()
        elif now - oldest > _SLOW:
            self.doubt()


_breakers: "weakref.WeakSet[Breaker]" = weakref.WeakSet()
_guard = threading.Lock()
_watching = threading.Event()


def _watch(breaker: Breaker) -> None:
    with _guard:
        _breakers.add(breaker)
        if not _watching.is_set():
            _watching.set()
            threading.Thread(target=_go_round, name="breakers", daemon=True).start()


def _go_round() -> None:
    while True:
        time.sleep(_ROUND)
        with _guard:
            if not _breakers:
                _watching.clear()
                return
        _watch_all()


def _watch_all() -> None:
    """Watch every breaker. A function of its own, so that nothing keeps one alive between two rounds."""
    with _guard:
        present = list(_breakers)
    for breaker in present:
        breaker.watch()
