"""Rounds: what arrives while others of this process are at work is done together, in the next round.

Owns who shares a round with whom. A round costs little more than one piece of work alone, so the busier a
service, the less each costs. Who comes alone goes alone: nobody waits for a round to fill.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from kilonova.core.errors import Unavailable

T = TypeVar("T")

_LARGEST = 100
"""Pieces in a round: more would hold what they lock for long, and save nothing."""


class _Entry(Generic[T]):
    """A piece of work, and what came of it."""

    def __init__(self, piece: T) -> None:
        self.piece = piece
        self.settled = False
        self.error: Exception | None = None

    def settle(self, error: Exception | None = None) -> None:
        """Keep how it ended."""
        self.error = error
        self.settled = True


class Rounds(Generic[T]):
    """One kind of work of one process. ``work`` does all pieces of a round, or raises and has done none."""

    def __init__(self, work: Callable[[Sequence[T]], object]) -> None:
        self._work = work
        self._arrived: deque[_Entry[T]] = deque()
        self._turn = threading.Lock()
        """Held by whoever carries out a round, for all that are in it."""

    def carry_out(self, pieces: Sequence[T]) -> list[Exception | None]:
        """Have pieces done, each as if it were alone; return for each what it was refused with."""
        entries = [_Entry(piece) for piece in pieces]
        self._arrived.extend(entries)
        with self._turn:
            # Whoever had the turn meanwhile may have settled them all.
            while not all(entry.settled for entry in entries):
                size = min(len(self._arrived), _LARGEST)
                self._settle([self._arrived.popleft() for _ in range(size)])
        return [entry.error for entry in entries]

    def _settle(self, entries: Sequence[_Entry[T]]) -> None:
        """Do all pieces in one go; if that is refused, either half by itself, down to who is to blame.

        A part that does not answer is nobody's fault, and is not asked again.
        """
        try:
            self._work([entry.piece for entry in entries])
        except Exception as error:  # noqa: BLE001 - it is raised by whoever asked.
            if len(entries) > 1 and not isinstance(error, Unavailable):
                middle = len(entries) // 2
                self._settle(entries[:middle])
                self._settle(entries[middle:])
                return
            for entry in entries:
                entry.settle(error)
        else:
            for entry in entries:
                entry.settle()
