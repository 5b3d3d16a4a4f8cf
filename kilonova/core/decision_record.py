"""How a decision came about: what the operator is shown of it, and what is kept of it."""

from datetime import datetime, timedelta

import msgspec

from kilonova.core.ids import HostName, InstanceUuid, NodeName, RequestId
from kilonova.core.scheduling import NoHost, Reason

CANDIDATES, FILTER, PICK, CLAIM, REASONS = "candidates", "filter", "pick", "claim", "reasons"
"""The stages of a decision, in their order. ``REASONS`` is the search for why no host fits."""


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """A host that passed, its score, and each weigher's part of it. ``total`` is the sum of ``parts``."""

    host: HostName
    node: NodeName
    total: float
    parts: dict[str, float]


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the work: when it began first (UTC without a zone), and the seconds of all rounds."""

    name: str
    began_at: datetime
    seconds: float

    @property
    def ended_at(self) -> datetime:
        """When it was over, had it been done in one go."""
        return self.began_at + timedelta(seconds=self.seconds)


class ClaimRound(msgspec.Struct, frozen=True, kw_only=True):
    """One bulk claim: for how many servers, how many were granted, and the most frequent reasons of the
    others, counted."""

    asked: int
    granted: int
    refused: dict[str, int] = {}


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One decision for servers that are alike.

    Each of the ``servers`` needs ``wanted`` of each resource class. Every filter passed ``passed`` of the
    ``considered`` hosts; ``refused`` counts why the others were not. ``best`` are the first of those that
    passed, as they scored before any server was placed.
    """

    servers: int
    placed: int
    considered: int
    passed: int
    flavor: str = ""
    wanted: dict[str, int] = {}
    refused: tuple[Reason, ...] = ()
    best: tuple[Scored, ...] = ()
    claims: tuple[ClaimRound, ...] = ()
    stages: tuple[Stage, ...] = ()

    @property
    def exhausted(self) -> tuple[str, ...]:
        """The resource classes of which hosts have too little left, that of most hosts first."""
        return tuple(
            reason.refused_by for reason in self.refused if reason.refused_by in self.wanted
        )

    def stage(self, name: str) -> Stage | None:
        """Return a stage by its name, or None if it was not come to."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def sentence(self) -> str:
        """Return the tenant's sentence: how many servers were placed, or why none is."""
        why = NoHost(considered=self.considered, reasons=self.refused).sentence()
        if self.placed == self.servers:
            return f"{self.placed} of {self.servers} servers fit"
        return (
            f"{self.placed} of {self.servers} servers fit; for the others {why}"
            if self.placed
            else why
        )


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """A server that a decision was about, the request that asked, and the host, if there is one."""

    instance_uuid: InstanceUuid
    request_id: RequestId
    host: HostName | None = None


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A server that waits for its first decision since ``since`` (UTC without a zone).

    ``because`` is what stood in the way the last time that one was tried, or empty.
    """

    instance_uuid: InstanceUuid
    request_id: RequestId
    since: datetime
    because: str = ""


class KeptDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A decision as it is kept: its id, when it was made (UTC without a zone), and what it was about."""

    id: str
    created_at: datetime
    record: DecisionRecord
    servers: tuple[Decided, ...]
