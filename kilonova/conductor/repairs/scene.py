"""What a repair is made of: where it looks, what it finds, and how each thing is mended."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from kilonova.conductor.cell_moves import CellMoves
from kilonova.conductor.fencing import Asked
from kilonova.conductor.notices import Notices
from kilonova.conductor.rebuild import Rebuild
from kilonova.core import quota
from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext, service_context
from kilonova.core.host_failure import Policy
from kilonova.core.ids import CellUuid, HostName, InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.states import Action
from kilonova.db import actions, hosts
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.http.images import ImageStore
from kilonova.http.networks import Networks
from kilonova.http.shares import Shares
from kilonova.http.volumes import Volumes
from kilonova.placement.client import Placement
from kilonova.rpc.bus import Bus
from kilonova.rpc.connect import Buses
from kilonova.rpc.messages import RunTask, StartMove


@dataclass(frozen=True)
class Hands:
    """Who does what repairs only set going: drives build requests, starts moves, does operators' tasks,
    asks fences."""

    drive: Callable[[tuple[InstanceUuid, ...]], None]
    move: Callable[[StartMove], None]
    run: Callable[[RunTask], None]
    fence: Callable[[Asked], object]


@dataclass(frozen=True)
class Limits:
    """What a configuration says of repairs, in seconds.

    0 for a build is no limit; with 0 for what is deleted, nothing is kept to be restored; with 0 to be
    confirmed, owners alone confirm. ``quota`` are the limits of those for whom there are no others, ``ha``
    what is done about dead hosts.
    """

    build_timeout: float
    down_time: float
    interval: float
    deleted_kept: int
    confirm_window: int
    quota: quota.Limits
    ha: Policy


@dataclass(frozen=True)
class Scene:
    """What repairs look at and act on.

    ``turn`` counts the rounds, so that what is too much for one is spread over several; None looks at
    everything at once. ``networks`` is None without a network service; ``images``, ``volumes`` and
    ``shares`` are asked only about what a server that had some left behind.
    """

    api_db: Database
    cells: Cells
    buses: Buses
    placement: Placement
    notices: Notices
    hands: Hands
    limits: Limits
    images: ImageStore
    volumes: Volumes
    shares: Shares
    networks: Networks | None = None
    turn: int | None = None

    def database(self, cell: CellUuid) -> Database:
        """Return a cell's database."""
        return self.cells.database(cell)

    def bus(self, cell: CellUuid) -> Bus:
        """Return a cell's bus."""
        return self.buses.at(self.cells.get(cell).transport_url)

    def rebuild(self, cell: CellUuid) -> Rebuild:
        """Return what gives a cell's builds to other hosts."""
        return Rebuild(self.database(cell), self.bus(cell), self.placement, self.notices)

    def moves(self, cell: CellUuid) -> CellMoves:
        """Return what brings a cell's moves on."""
        return CellMoves(self.database(cell), self.bus(cell), self.placement)

    def down(self, cell: CellUuid) -> frozenset[HostName]:
        """Return a cell's compute hosts that give no sign of life, or are forced down."""
        before = utcnow() - timedelta(seconds=self.limits.down_time)
        return hosts.silent_since(self.database(cell), before)

    def context(self, cell: CellUuid, instance: Instance, action: Action) -> RequestContext:
        """Return the context in which an action is carried on, so that its events stay together."""
        return service_context(actions.request_of(self.database(cell), instance.uuid, action))

    def is_due(self, every: timedelta) -> bool:
        """Whether what is looked at only so often is to be looked at in this round."""
        if self.turn is None:
            return True
        rounds = max(1, round(every.total_seconds() / self.limits.interval))
        return self.turn % rounds == 1 % rounds


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    ``subject`` is the server's UUID, or whatever else it is about; ``differs`` says in a few words what is
    wrong. ``mend`` mends it and returns what it did, or None if it was no longer so; it is None where only
    an operator can. Mending again, or by two at once, does no harm.
    """

    subject: str
    differs: str
    mend: Callable[[], str | None] | None


OfDeployment = Callable[[Scene], Iterable[Finding]]
"""Finds what differs in the API database. Only reads."""

OfCell = Callable[[Scene, CellUuid], Iterable[Finding]]
"""Finds what differs in one cell, and is asked for each. Only reads."""
