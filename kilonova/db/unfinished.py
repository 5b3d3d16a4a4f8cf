"""Servers whose build or task stopped moving: what the converger looks for. Each query is bounded."""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from kilonova.core.ids import HostName
from kilonova.core.instance import Instance
from kilonova.core.states import TaskState, VmState
from kilonova.db.cell_schema import StoredInstance
from kilonova.db.engine import Database
from kilonova.db.instances import COLUMNS, instance_of
from kilonova.db.statements import table_of

_instances = table_of(StoredInstance)
_AT_ONCE = 500
_BUILDING = (
    TaskState.SCHEDULING,
    TaskState.NETWORKING,
    TaskState.BLOCK_DEVICE_MAPPING,
    TaskState.SPAWNING,
)


def _find(cell_db: Database, *conditions: sa.ColumnElement[bool]) -> tuple[Instance, ...]:
    query = (
        sa.select(*COLUMNS)
        .where(_instances.c.deleted.is_(False), *conditions)
        .order_by(_instances.c.updated_at)
        .limit(_AT_ONCE)
    )
    return tuple(instance_of(row) for row in cell_db.query(lambda c: c.execute(query).all()))


def never_begun(cell_db: Database, before: datetime) -> tuple[Instance, ...]:
    """Return builds that were sent to a host before ``before`` and that no host began."""
    return _find(
        cell_db,
        _instances.c.task_state == TaskState.SCHEDULING,
        _instances.c.updated_at < before,
        _instances.c.begun_epoch < _instances.c.epoch,
    )


def in_task(
    cell_db: Database, tasks: Collection[TaskState], before: datetime
) -> tuple[Instance, ...]:
    """Return servers that have been in one of these task states since before ``before``."""
    return _find(cell_db, _instances.c.task_state.in_(tasks), _instances.c.updated_at < before)


def not_freed(cell_db: Database) -> tuple[Instance, ...]:
    """Return servers that have no host, and may hold a claim on the node where they were."""
    return _find(cell_db, _instances.c.host.is_(None), _instances.c.node.is_not(None))


def begun_on(cell_db: Database, hosts: Collection[HostName]) -> tuple[Instance, ...]:
    """Return servers whose build one of these hosts began and did not end."""
    return _find(
        cell_db,
        _instances.c.host.in_(hosts),
        _instances.c.task_state.in_(_BUILDING),
        _instances.c.vm_state == VmState.BUILDING,
        _instances.c.begun_epoch == _instances.c.epoch,
    )


def building_since(cell_db: Database, before: datetime) -> tuple[Instance, ...]:
    """Return servers that were created before ``before`` and are still building."""
    return _find(
        cell_db,
        _instances.c.task_state.in_(_BUILDING),
        _instances.c.vm_state == VmState.BUILDING,
        _instances.c.created_at < before,
    )
