"""One selection as it goes on: what is decided, and what its record will tell."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from kilonova.core.clock import utcnow
from kilonova.core.decision_record import ClaimRound, DecisionRecord, Scored, Stage
from kilonova.core.ids import InstanceUuid, ProviderUuid
from kilonova.core.scheduling import Decision, NoHost
from kilonova.rpc.messages import SelectDestinations
from kilonova.scheduler.pipeline import Refusals, Sifted

_TOLD = 5
"""Reasons of refused claims that a record tells; each may name other providers and amounts."""


class Course:
    """What a selection has come to."""

    def __init__(self, message: SelectDestinations) -> None:
        self.spec = message.spec
        self.epochs = dict(zip(message.instance_uuids, message.epochs, strict=False))
        """The builds that claims are for, where the conductor told."""
        self.decided: dict[InstanceUuid, Decision] = {}
        self.waiting = list(message.instance_uuids)
        self.rounds = 0
        self.wanted: dict[str, int] = {}
        self._claims: list[ClaimRound] = []
        self.best: tuple[Scored, ...] = ()
        self.sifted = Sifted(fits=[], considered=0, refusals=Refusals())
        self._began: dict[str, datetime] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self.never: NoHost | None = None
        """Why nothing will ever fit."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of what is done inside."""
        if name not in self._began:
            self._began[name] = utcnow()
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - began

    def settle(
        self, picked: Sequence[Decision], refused: Mapping[InstanceUuid, str] | None
    ) -> list[ProviderUuid]:
        """Take over the picks whose claims stand; all of them, where nothing was claimed (None).

        Returns the host of each.
        """
        claimed = refused is not None
        refused = refused or {}
        asked = 0
        taken = []
        for decision in picked:
            if decision.destination:
                asked += 1
                if decision.instance_uuid not in refused:
                    self.decided[decision.instance_uuid] = decision
                    taken.append(decision.destination.provider_uuid)
        if asked and claimed:
            told = dict(Counter(refused.values()).most_common(_TOLD))
            self._claims.append(ClaimRound(asked=asked, granted=len(taken), refused=told))
        self.waiting = [uuid for uuid in self.waiting if uuid not in self.decided]
        return taken

    def record(self, why: NoHost | None) -> DecisionRecord:
        """Return how it came about; ``why`` there is no host for those that wait."""
        told = why or self.sifted.refusals.total(self.sifted.considered)
        return DecisionRecord(
            servers=len(self.decided) + len(self.waiting),
            placed=len(self.decided),
            considered=told.considered,
            passed=len(self.sifted.fits),
            flavor=self.spec.flavor.name,
            wanted=self.wanted,
            refused=told.reasons,
            best=self.best,
            claims=tuple(self._claims),
            stages=tuple(
                Stage(name=name, began_at=began, seconds=self._seconds[name])
                for name, began in self._began.items()
            ),
        )
