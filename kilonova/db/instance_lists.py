"""Lists of servers of one cell: filtered, sorted and limited in one query."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.core.instance import Instance
from kilonova.db.api_schema import BuildRequest
from kilonova.db.cell_schema import StoredInstance
from kilonova.db.engine import Database
from kilonova.db.instances import COLUMNS, instance_of
from kilonova.db.statements import table_of

_instances = table_of(StoredInstance)
_requests = table_of(BuildRequest)
_decode_instance = msgspec.json.Decoder(Instance).decode

SORT_COLUMNS: Mapping[str, sa.Column[Any]] = {
    "created_at": _instances.c.created_at,
    "updated_at": _instances.c.updated_at,
    "launched_at": _instances.c.launched_at,
    "terminated_at": _instances.c.terminated_at,
    "uuid": _instances.c.uuid,
    "display_name": _instances.c.name,
    "hostname": _instances.c.hostname,
    "host": _instances.c.host,
    "node": _instances.c.node,
    "project_id": _instances.c.project_id,
    "user_id": _instances.c.user_id,
    "vm_state": _instances.c.vm_state,
    "task_state": _instances.c.task_state,
    "power_state": _instances.c.power_state,
    "availability_zone": _instances.c.availability_zone,
    "image_ref": _instances.c.image_id,
    "instance_type_id": _instances.c.flavor_id,
    "key_name": _instances.c.key_name,
    "access_ip_v4": _instances.c.access_ipv4,
    "access_ip_v6": _instances.c.access_ipv6,
    "locked": _instances.c.locked_by,
    "progress": _instances.c.progress,
    "root_device_name": _instances.c.root_device_name,
    "display_description": _instances.c.description,
}
"""Sort keys of the API -> columns."""

SORT_FIELDS: Mapping[str, str] = {
    key: {"image_id": "image", "flavor_id": "flavor"}.get(column.name, column.name)
    for key, column in SORT_COLUMNS.items()
}
"""Sort keys of the API -> fields of ``Instance``, for merging the cells' lists."""


class ServerQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What servers are wanted.

    ``equal`` maps columns to a value or values; ``name`` is a regular expression, searched anywhere;
    ``states`` are (vm_state, task_state) pairs, a None task state standing for any that has no status of
    its own. ``after`` is the server behind which the page begins.
    """

    project_id: str | None = None
    deleted: bool | None = False
    equal: Mapping[str, Any] = {}
    name: str | None = None
    states: Sequence[tuple[str, str | None]] | None = None
    busy_statuses: Sequence[tuple[str, str]] = ()
    locked: bool | None = None
    changed_since: datetime | None = None
    changed_before: datetime | None = None
    sort: tuple[tuple[str, bool], ...] = (("created_at", True), ("uuid", True))
    limit: int = 1000
    after: Instance | None = None


def list_instances(cell_db: Database, wanted: ServerQuery) -> tuple[Instance, ...]:
    """Return a page of a cell's servers, in one query."""
    query = sa.select(*COLUMNS).where(*_conditions(wanted))
    for key, descending in wanted.sort:
        column = SORT_COLUMNS[key]
        query = query.order_by(column.desc() if descending else column.asc())
    query = query.limit(wanted.limit)
    return tuple(instance_of(row) for row in cell_db.query(lambda c: c.execute(query).all()))


def _conditions(wanted: ServerQuery) -> list[sa.ColumnElement[bool]]:
    columns = _instances.c
    found: list[sa.ColumnElement[bool]] = []
    if wanted.project_id is not None:
        found.append(columns.project_id == wanted.project_id)
    if wanted.deleted is not None:
        found.append(columns.deleted.is_(wanted.deleted))
    for name, value in wanted.equal.items():
        several = isinstance(value, list | tuple)
        found.append(columns[name].in_(value) if several else columns[name] == value)
    if wanted.name is not None:
        found.append(_matches(columns.name, wanted.name))
    if wanted.states is not None:
        found.append(_in_states(wanted))
    if wanted.locked is not None:
        locked = columns.locked_by.is_not(None)
        found.append(locked if wanted.locked else ~locked)
    if wanted.changed_since is not None:
        found.append(columns.updated_at >= wanted.changed_since)
    if wanted.changed_before is not None:
        found.append(columns.updated_at <= wanted.changed_before)
    if wanted.after is not None:
        found.append(_behind(wanted))
    return found


_PLAIN = re.compile(r"^[\w .:@-]*$")


def _matches(column: sa.Column[Any], pattern: str) -> sa.ColumnElement[bool]:
    """A pattern without operators is a substring, which every database finds without its own dialect."""
    if _PLAIN.match(pattern) and "." not in pattern:
        return column.contains(pattern, autoescape=True)
    return column.regexp_match(pattern)


def _in_states(wanted: ServerQuery) -> sa.ColumnElement[bool]:
    columns = _instances.c
    busy = [
        sa.and_(columns.vm_state == v, columns.task_state == t) for v, t in wanted.busy_statuses
    ]
    parts: list[sa.ColumnElement[bool]] = []
    for vm_state, task_state in wanted.states or ():
        if task_state is not None:
            parts.append(sa.and_(columns.vm_state == vm_state, columns.task_state == task_state))
        else:
            idle = sa.or_(columns.task_state.is_(None), ~sa.or_(*busy)) if busy else sa.true()
            parts.append(sa.and_(columns.vm_state == vm_state, idle))
    return sa.or_(*parts) if parts else sa.false()


def _behind(wanted: ServerQuery) -> sa.ColumnElement[bool]:
    """What comes after the marker: equal in the first keys and beyond it in the next."""
    marker = wanted.after
    if marker is None:
        return sa.true()
    alternatives = []
    equal: list[sa.ColumnElement[bool]] = []
    beyond: sa.ColumnElement[bool]
    for key, descending in wanted.sort:
        column = SORT_COLUMNS[key]
        value = sort_value(marker, key)
        if value is None:
            # NULLs sort first going up (SQLite, MariaDB): everything else is behind them.
            beyond = sa.false() if descending else column.is_not(None)
            same = column.is_(None)
        else:
            beyond = column < value if descending else column > value
            if descending:
                beyond = sa.or_(beyond, column.is_(None))
            same = column == value
        alternatives.append(sa.and_(*equal, beyond))
        equal.append(same)
    return sa.or_(*alternatives)


def sort_value(instance: Instance, key: str) -> Any:
    """Return what a server sorts by under one of the API's sort keys."""
    if key == "image_ref":
        return instance.image.image_id if instance.image else None
    if key == "instance_type_id":
        return instance.flavor.flavor_id
    if key == "key_name":
        return instance.wishes.key_pair.name if instance.wishes.key_pair else None
    return getattr(instance, SORT_FIELDS[key])


def list_requested(api_db: Database, project_id: str | None, limit: int) -> tuple[Instance, ...]:
    """Return servers that have no cell yet, newest first."""
    query = sa.select(_requests.c.instance).order_by(
        _requests.c.created_at.desc(), _requests.c.instance_uuid.desc()
    )
    if project_id is not None:
        query = query.where(_requests.c.project_id == project_id)
    rows = api_db.query(lambda c: c.execute(query.limit(limit)).scalars().all())
    return tuple(_decode_instance(row) for row in rows)


def get_requested(api_db: Database, uuid: str) -> Instance | None:
    """Return a server that has no cell yet, or None."""
    query = sa.select(_requests.c.instance).where(_requests.c.instance_uuid == uuid)
    row = api_db.query(lambda c: c.execute(query).scalar())
    return None if row is None else _decode_instance(row)
