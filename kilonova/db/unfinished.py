"""Servers whose build or task stopped moving: what the converger looks for. Each query is bounded."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from kilonova.core.ids import HostName
from kilonova.core.instance import Instance
from kilonova.core.states import TaskState, VmState
from kilonova.db.cell_schema import StoredInstance
from kilonova.db.engine import Database
from kilonova.db.instances import COLUMNS, instance_of
from kilonova.db.statements import among, table_of

_instances = table_of(StoredInstance)
_AT_ONCE = 500
_BUILDING = (
    TaskState.SCHEDULING,
    TaskState.NETWORKING,
    TaskState.BLOCK_DEVICE_MAPPING,
    TaskState.SPAWNING,
)


_c = _instances.c
_before: sa.BindParameter[Any] = sa.bindparam("before")
_SERVERS = sa.select(*COLUMNS).where(_c.deleted.is_(False)).order_by(_c.updated_at).limit(_AT_ONCE)
_BEING_BUILT = _SERVERS.where(_c.task_state.in_(_BUILDING), _c.vm_state == VmState.BUILDING)
_NEVER_BEGUN = _SERVERS.where(
    _c.task_state == TaskState.SCHEDULING, _c.updated_at < _before, _c.begun_epoch < _c.epoch
)
_IN_TASK = _SERVERS.where(among(_c.task_state, "tasks"), _c.updated_at < _before)
_NOT_FREED = _SERVERS.where(_c.host.is_(None), _c.node.is_not(None))
_BEGUN_ON = _BEING_BUILT.where(among(_c.host, "hosts"), _c.begun_epoch == _c.epoch)
_BUILDING_SINCE = _BEING_BUILT.where(_c.created_at < _before)


def _find(cell_db: Database, query: sa.Select[Any], **wanted: object) -> tuple[Instance, ...]:
    rows = cell_db.query(lambda c: c.execute(query, wanted).all())
    return tuple(instance_of(row) for row in rows)


def never_begun(cell_db: Database, before: datetime) -> tuple[Instance, ...]:
    """Return builds that were sent to a host before ``before`` and that no host began."""
    return _find(cell_db, _NEVER_BEGUN, before=before)


def in_task(
    cell_db: Database, tasks: Collection[TaskState], before: datetime
) -> tuple[Instance, ...]:
    """Return servers that have been in one of these task states since before ``before``."""
    return _find(cell_db, _IN_TASK, tasks=list(tasks), before=before)


def not_freed(cell_db: Database) -> tuple[Instance, ...]:
    """Return servers that have no host, and may hold a claim on the node where they were."""
    return _find(cell_db, _NOT_FREED)


def begun_on(cell_db: Database, hosts: Collection[HostName]) -> tuple[Instance, ...]:
    """Return servers whose build one of these hosts began and did not end."""
    return _find(cell_db, _BEGUN_ON, hosts=list(hosts))


def building_since(cell_db: Database, before: datetime) -> tuple[Instance, ...]:
    """Return servers that were created before ``before`` and are still building."""
    return _find(cell_db, _BUILDING_SINCE, before=before)
