"""How the servers of slots are at this moment, wherever they are."""

from collections import defaultdict
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import sqlalchemy as sa

from kilonova.core.desired import Actual, Life, life_of
from kilonova.core.ids import CellUuid, HostName, InstanceUuid
from kilonova.core.states import TaskState, VmState
from kilonova.db import instances
from kilonova.db.api_schema import InstanceMapping
from kilonova.db.cell_schema import StoredInstance
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.db.scatter import gather_from
from kilonova.db.statements import among, table_of

_mappings = table_of(InstanceMapping)
_instances = table_of(StoredInstance)

Lost = Callable[[Database], Collection[HostName]]

_GONE = Actual(life=Life.GONE)
_COLUMNS = [
    _instances.c[name]
    for name in ("uuid", "vm_state", "task_state", "host", "launched_at", "deleted")
]
_WHERE = sa.select(_mappings.c.instance_uuid, _mappings.c.cell_uuid).where(
    among(_mappings.c.instance_uuid, "uuids")
)
_HOW = sa.select(*_COLUMNS).where(among(_instances.c.uuid, "uuids"))


def look(
    api_db: Database,
    cells: Cells,
    uuids: Collection[InstanceUuid],
    lost: Lost = lambda _cell_db: (),
) -> dict[InstanceUuid, Actual]:
    """Return how each of these servers is, by one SELECT here and at most three in each of their cells.

    ``lost`` tells which hosts of a cell are not waited for.
    """
    if not uuids:
        return {}
    these = {"uuids": list(uuids)}
    in_cell: dict[InstanceUuid, CellUuid | None] = dict(
        api_db.query(lambda c: [tuple(row) for row in c.execute(_WHERE, these)])
    )
    # Its mapping goes with a server that was deleted before it came into a cell.
    found = dict.fromkeys(uuids, _GONE)
    by_cell: defaultdict[CellUuid, list[InstanceUuid]] = defaultdict(list)
    for uuid, cell in in_cell.items():
        if cell is None:
            found[uuid] = Actual(life=Life.BUILDING)
        else:
            found[uuid] = Actual(life=Life.UNKNOWN)
            by_cell[cell].append(uuid)
    asked = {cell: partial(_read, here, lost) for cell, here in by_cell.items()}
    for answer in gather_from(cells, asked).answers.values():
        found |= answer
    return found


def _read(
    uuids: Collection[InstanceUuid], lost: Lost, cell_db: Database
) -> dict[InstanceUuid, Actual]:
    """Return how the servers are that the cell was to have."""
    rows = cell_db.query(lambda c: c.execute(_HOW, {"uuids": list(uuids)}).all())
    away = lost(cell_db)
    failed = [row.uuid for row in rows if row.vm_state == VmState.ERROR]
    faults = instances.newest_faults(cell_db, failed)
    found = dict.fromkeys(uuids, _GONE)
    for row in rows:
        fault = faults.get(row.uuid)
        deleted = row.vm_state == VmState.SOFT_DELETED
        off = "It was deleted." if deleted else "Its guest is off."
        reason = fault.message if fault else off
        found[row.uuid] = _actual(row, reason, host_lost=row.host in away)
    return found


def _actual(row: Any, reason: str, *, host_lost: bool) -> Actual:
    task = None if row.task_state is None else TaskState(row.task_state)
    return Actual(
        life=Life.GONE if row.deleted else life_of(VmState(row.vm_state), task),
        launched_at=row.launched_at,
        host_lost=host_lost,
        reason=reason,
    )
