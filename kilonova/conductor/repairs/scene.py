"""What a repair is made of: where it looks, what it finds, and how each thing is mended."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kilonova.conductor.rebuild import Rebuild
from kilonova.core.context import RequestContext, service_context
from kilonova.core.ids import CellUuid, InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.states import Action
from kilonova.db import actions
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.placement.client import Placement
from kilonova.rpc.bus import Bus
from kilonova.rpc.connect import Buses


@dataclass(frozen=True)
class Scene:
    """What repairs look at and act on.

    ``drive`` has build requests driven again. ``build_timeout`` and ``down_time`` are seconds; a
    ``build_timeout`` of 0 is none. ``turn`` counts the rounds, so that what is too much for one is spread
    over several; None looks at everything at once.
    """

    api_db: Database
    cells: Cells
    buses: Buses
    placement: Placement
    drive: Callable[[tuple[InstanceUuid, ...]], None]
    build_timeout: float
    down_time: float
    turn: int | None = None

    def database(self, cell: CellUuid) -> Database:
        """Return a cell's database."""
        return self.cells.database(cell)

    def bus(self, cell: CellUuid) -> Bus:
        """Return a cell's bus."""
        return self.buses.at(self.cells.get(cell).transport_url)

    def rebuild(self, cell: CellUuid) -> Rebuild:
        """Return what gives a cell's builds to other hosts."""
        return Rebuild(self.database(cell), self.bus(cell), self.placement)

    def context(self, cell: CellUuid, instance: Instance, action: Action) -> RequestContext:
        """Return the context in which an action is carried on, so that its events stay together."""
        return service_context(actions.request_of(self.database(cell), instance.uuid, action))


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    ``subject`` is the server's UUID, or whatever else it is about; ``differs`` says in a few words what is
    wrong. ``mend`` mends it and returns what it did, or None if it was no longer so. Mending again, or by
    two at once, does no harm.
    """

    subject: str
    differs: str
    mend: Callable[[], str | None]


OfDeployment = Callable[[Scene], Iterable[Finding]]
"""Finds what differs in the API database. Only reads."""

OfCell = Callable[[Scene, CellUuid], Iterable[Finding]]
"""Finds what differs in one cell, and is asked for each. Only reads."""
