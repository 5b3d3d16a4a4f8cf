"""Rounds of claims: those that arrive while others of this process are in their transaction share the next.

So claims on one provider do not queue on its row one by one. What a claim does stands in
``placement_claims``.
"""

from collections.abc import Sequence

from kilonova.core.errors import (
    Fenced,
    GenerationConflict,
    KilonovaError,
    NoCapacity,
    NoSuchProvider,
)
from kilonova.core.ids import ConsumerUuid
from kilonova.core.rounds import Rounds
from kilonova.db.engine import Database
from kilonova.db.placement_claims import Claim, replace_all

_REFUSALS = (NoCapacity, NoSuchProvider, GenerationConflict, Fenced)


class ClaimRounds:
    """The claims of one process on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Two claims for one consumer cannot be made together: then each is made by itself.
        self._rounds = Rounds(self._claim)

    def claim(self, claims: Sequence[Claim]) -> None:
        """Make every consumer hold what its claim says, or change nothing at all.

        Raises:
            NoCapacity, NoSuchProvider, GenerationConflict, Fenced: as ``placement_claims.replace_all``.
            DatabaseUnavailable: the database does not answer.
        """
        (error,) = self._rounds.carry_out([claims])
        if error is not None:
            raise error

    def claim_each(self, claims: Sequence[Claim]) -> dict[ConsumerUuid, KilonovaError]:
        """Claim for each consumer by itself; return why those that were refused were.

        Claiming the same again changes nothing.

        Raises:
            DatabaseUnavailable: the database does not answer; some of them may hold what they asked for.
        """
        errors = self._rounds.carry_out([[claim] for claim in claims])
        refused: dict[ConsumerUuid, KilonovaError] = {}
        for claim, error in zip(claims, errors, strict=True):
            if isinstance(error, _REFUSALS):
                refused[claim.consumer] = error
            elif error is not None:
                raise error
        return refused

    def _claim(self, together: Sequence[Sequence[Claim]]) -> None:
        replace_all(self._database, [claim for claims in together for claim in claims])
