"""Rounds: claims that arrive while others of this process are in their transaction share the next one.

Owns who shares a transaction with whom. A round costs a database little more than one claim, so the busier
the service, the less each claim costs; and claims on one provider do not queue on its row one by one. Who
comes alone goes alone: nobody waits for a round to fill. What a claim does stands in ``placement_claims``.
"""

import threading
from collections import deque
from collections.abc import Sequence

from kilonova.core.errors import (
    DatabaseUnavailable,
    Fenced,
    GenerationConflict,
    KilonovaError,
    NoCapacity,
    NoSuchProvider,
)
from kilonova.core.ids import ConsumerUuid
from kilonova.db.engine import Database
from kilonova.db.placement_claims import Claim, replace_all

_REFUSALS = (NoCapacity, NoSuchProvider, GenerationConflict, Fenced)
_LARGEST_ROUND = 100
"""Entries: more would hold their rows for long, and save nothing."""


class _Entry:
    """Claims that stand or fall together, and what came of them."""

    def __init__(self, claims: Sequence[Claim]) -> None:
        self.claims = claims
        self.settled = False
        self.error: Exception | None = None

    def settle(self, error: Exception | None = None) -> None:
        """Keep how it ended."""
        self.error = error
        self.settled = True


class ClaimRounds:
    """The claims of one process on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._arrived: deque[_Entry] = deque()
        self._turn = threading.Lock()
        """Held by whoever carries out a round, for all that are in it."""

    def claim(self, claims: Sequence[Claim]) -> None:
        """Make every consumer hold what its claim says, or change nothing at all.

        Raises:
            NoCapacity, NoSuchProvider, GenerationConflict, Fenced: as ``placement_claims.replace_all``.
            DatabaseUnavailable: the database does not answer.
        """
        entry = _Entry(claims)
        self._carry_out([entry])
        if entry.error:
            raise entry.error

    def claim_each(self, claims: Sequence[Claim]) -> dict[ConsumerUuid, KilonovaError]:
        """Claim for each consumer by itself; return why those that were refused were.

        Claiming the same again changes nothing.

        Raises:
            DatabaseUnavailable: the database does not answer; some of them may hold what they asked for.
        """
        entries = [_Entry([claim]) for claim in claims]
        self._carry_out(entries)
        refused: dict[ConsumerUuid, KilonovaError] = {}
        for entry in entries:
            if isinstance(entry.error, _REFUSALS):
                refused[entry.claims[0].consumer] = entry.error
            elif entry.error:
                raise entry.error
        return refused

    def _carry_out(self, entries: Sequence[_Entry]) -> None:
        self._arrived.extend(entries)
        with self._turn:
            # Whoever had the turn meanwhile may have settled them all.
            while not all(entry.settled for entry in entries):
                size = min(len(self._arrived), _LARGEST_ROUND)
                self._settle([self._arrived.popleft() for _ in range(size)])

    def _settle(self, entries: Sequence[_Entry]) -> None:
        """Claim for all of them in one transaction; if it is refused, for either half by itself.

        So are two claims for one consumer, which cannot be made together.
        """
        try:
            replace_all(self._database, [claim for entry in entries for claim in entry.claims])
        except Exception as error:  # noqa: BLE001 - it is raised by whoever asked.
            if len(entries) > 1 and not isinstance(error, DatabaseUnavailable):
                middle = len(entries) // 2
                self._settle(entries[:middle])
                self._settle(entries[middle:])
                return
            for entry in entries:
                entry.settle(error)
        else:
            for entry in entries:
                entry.settle()
