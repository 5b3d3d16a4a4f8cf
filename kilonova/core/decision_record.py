"""How a decision came about: what the operator is shown of it."""

import msgspec

from kilonova.core.ids import HostName, NodeName
from kilonova.core.scheduling import Reason


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """A host that passed, its score, and each weigher's part of it. ``total`` is the sum of ``parts``."""

    host: HostName
    node: NodeName
    total: float
    parts: dict[str, float]


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One decision for servers that are alike.

    ``considered`` hosts were looked at, ``passed`` of them by every filter; ``refused`` counts why the
    others were not. ``best`` are the first of those that passed, before any server was placed. ``rounds``
    is how often hosts were picked, ``claims_refused`` how many claims Placement refused meanwhile.
    ``seconds`` tells the time of each stage over all rounds: candidates, filter, pick, claim.
    """

    servers: int
    placed: int
    considered: int
    passed: int
    refused: tuple[Reason, ...] = ()
    best: tuple[Scored, ...] = ()
    rounds: int = 1
    claims_refused: int = 0
    seconds: dict[str, float] = {}
