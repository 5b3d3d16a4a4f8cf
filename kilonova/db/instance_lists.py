"""Lists of servers: of one cell, filtered, sorted and limited in one query; and of build requests."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.core.errors import NotFound
from kilonova.core.ids import CellUuid, InstanceUuid, ProjectId
from kilonova.core.instance import Instance
from kilonova.core.name_pattern import NamePattern
from kilonova.core.scheduling import RequestSpec
from kilonova.core.states import VmState
from kilonova.db.api_schema import BuildRequest, InstanceMapping, StoredRequestSpec
from kilonova.db.cell_schema import StoredInstance
from kilonova.db.engine import Database
from kilonova.db.instances import COLUMNS, instance_of
from kilonova.db.statements import table_of

_instances = table_of(StoredInstance)
_requests = table_of(BuildRequest)
_mappings = table_of(InstanceMapping)
_specs = table_of(StoredRequestSpec)
_decode_instance = msgspec.json.Decoder(Instance).decode
_decode_spec = msgspec.json.Decoder(RequestSpec).decode

SORT_COLUMNS: Mapping[str, sa.Column[Any]] = {
    key: _instances.c[column]
    for key, column in {
        "created_at": "created_at",
        "updated_at": "updated_at",
        "launched_at": "launched_at",
        "terminated_at": "terminated_at",
        "uuid": "uuid",
        "display_name": "name",
        "display_description": "description",
        "hostname": "hostname",
        "host": "host",
        "node": "node",
        "project_id": "project_id",
        "user_id": "user_id",
        "vm_state": "vm_state",
        "task_state": "task_state",
        "power_state": "power_state",
        "availability_zone": "availability_zone",
        "image_ref": "image_id",
        "instance_type_id": "flavor_id",
        "key_name": "key_name",
        "access_ip_v4": "access_ipv4",
        "access_ip_v6": "access_ipv6",
        "locked": "locked_by",
        "locked_by": "locked_by",
        "progress": "progress",
        "root_device_name": "root_device_name",
    }.items()
}
"""Sort keys of the API -> columns."""

NEWEST_FIRST = (("created_at", True), ("uuid", True))

MAPPED_COLUMNS: Mapping[str, sa.Column[Any]] = {
    "uuid": _mappings.c.instance_uuid,
    "project_id": _mappings.c.project_id,
    "user_id": _mappings.c.user_id,
    "created_at": _mappings.c.created_at,
}
"""Those of the sort keys that the API database knows of every server."""
_CHUNK = 1000


class Mapped(msgspec.Struct, frozen=True):
    """What the API database alone knows of a server."""

    uuid: InstanceUuid
    project_id: ProjectId
    user_id: str
    created_at: datetime


class ServerQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What servers are wanted. What is None, or empty, is not asked; but soft-deleted ones, unless said
    otherwise, are among the deleted and not among the others.

    ``equal`` maps columns to the values that they may have; ``states`` are (vm_state, task_state) pairs, a
    None task state standing for any that is not in ``busy``, the pairs with a status of their own. ``tags``
    are (which tags, whether all of them are needed or any will do, whether that must hold or must not),
    ``addresses`` (IP version, pattern), of which each meets an address of the server.
    ``sort`` is (key, descending) pairs, the last of them ``uuid``; ``after`` is the server behind which the
    page begins, of which the API database's part is enough if ``sort`` asks for no more.
    """

    project_id: str | None = None
    deleted: bool | None = False
    soft_deleted: bool | None = None
    equal: Mapping[str, Collection[Any]] = {}
    name: NamePattern | None = None
    states: Sequence[tuple[str, str | None]] | None = None
    busy: Sequence[tuple[str, str]] = ()
    locked: bool | None = None
    config_drive: bool | None = None
    tags: Sequence[tuple[Collection[str], bool, bool]] = ()
    addresses: Sequence[tuple[int, NamePattern]] = ()
    changed_since: datetime | None = None
    changed_before: datetime | None = None
    sort: tuple[tuple[str, bool], ...] = NEWEST_FIRST
    limit: int = 1000
    after: Instance | Mapped | None = None


def list_instances(cell_db: Database, wanted: ServerQuery) -> list[Instance]:
    """Return a page of a cell's servers, in one query.

    ``config_drive`` and ``addresses``, which no column says, may take several: what does not fit is left
    out, and the page filled up from behind.
    """
    if wanted.config_drive is None and not wanted.addresses:
        return _page(cell_db, wanted)
    fit: list[Instance] = []
    chunk = msgspec.structs.replace(wanted, limit=max(wanted.limit, _CHUNK))
    while True:
        found = _page(cell_db, chunk)
        fit += [instance for instance in found if meets_unsaid(instance, wanted)]
        if len(found) < chunk.limit or len(fit) >= wanted.limit:
            return fit[: wanted.limit]
        chunk = msgspec.structs.replace(chunk, after=found[-1])


def meets_unsaid(instance: Instance, wanted: ServerQuery) -> bool:
    """Whether a server meets the conditions on what no column says."""
    return wanted.config_drive in (None, instance.wishes.config_drive) and all(
        any(
            (":" in nic.address) == (version == 6) and pattern.matches(nic.address)
            for nic in instance.nics
        )
        for version, pattern in wanted.addresses
    )


def _page(cell_db: Database, wanted: ServerQuery) -> list[Instance]:
    query = sa.select(*COLUMNS).where(*_conditions(wanted)).limit(wanted.limit)
    query = query.order_by(*_order(wanted.sort, SORT_COLUMNS))
    return [instance_of(row) for row in cell_db.query(lambda c: c.execute(query).all())]


def _order(
    sort: Sequence[tuple[str, bool]], columns: Mapping[str, sa.Column[Any]]
) -> Iterator[sa.ColumnElement[Any]]:
    for key, descending in sort:
        column = columns[key]
        # Said in words, as databases differ in where they sort what is NULL.
        parts = [column.is_not(None), column] if column.nullable else [column]
        yield from (part.desc() if descending else part.asc() for part in parts)


def _conditions(wanted: ServerQuery) -> Iterator[sa.ColumnElement[bool]]:
    columns = _instances.c
    if wanted.project_id is not None:
        yield columns.project_id == wanted.project_id
    if wanted.deleted is not None:
        yield from _presence(deleted=wanted.deleted, soft_deleted=wanted.soft_deleted)
    for name, values in wanted.equal.items():
        yield columns[name].in_(values)
    if wanted.name is not None:
        yield columns.name.regexp_match(wanted.name.text)
    if wanted.states is not None:
        yield _in_states(wanted.states, wanted.busy)
    if wanted.locked is not None:
        yield columns.locked_by.is_not(None) if wanted.locked else columns.locked_by.is_(None)
    for tags, all_of_them, must in wanted.tags:
        has = [sa.func.replace(columns.tags, f",{tag},", "") != columns.tags for tag in tags]
        met = sa.and_(sa.true(), *has) if all_of_them else sa.or_(sa.false(), *has)
        yield met if must else sa.not_(met)
    if wanted.addresses:
        yield columns.nics.is_not(None)
    if wanted.changed_since is not None:
        yield columns.updated_at >= wanted.changed_since
    if wanted.changed_before is not None:
        yield columns.updated_at <= wanted.changed_before
    if wanted.after is not None:
        yield _behind(wanted.after, wanted.sort, SORT_COLUMNS)


def _presence(*, deleted: bool, soft_deleted: bool | None) -> Iterator[sa.ColumnElement[bool]]:
    kept = _instances.c.vm_state == VmState.SOFT_DELETED
    # Equality, because MariaDB uses no index for IS.
    there = _instances.c.deleted == deleted
    if deleted:
        yield there if soft_deleted is False else sa.or_(there, kept)
        return
    yield there
    if not soft_deleted:
        yield sa.not_(kept)


def _in_states(
    states: Sequence[tuple[str, str | None]], busy: Sequence[tuple[str, str]]
) -> sa.ColumnElement[bool]:
    vm, task = _instances.c.vm_state, _instances.c.task_state
    shows_otherwise = sa.or_(sa.false(), *(sa.and_(vm == v, task == t) for v, t in busy))
    idle = sa.or_(task.is_(None), sa.not_(shows_otherwise))
    parts = [sa.and_(vm == v, idle if t is None else task == t) for v, t in states]
    return sa.or_(sa.false(), *parts)


def _behind(
    marker: Instance | Mapped,
    sort: Sequence[tuple[str, bool]],
    columns: Mapping[str, sa.Column[Any]],
) -> sa.ColumnElement[bool]:
    """What comes after the marker: equal to it in the first keys and beyond it in the next."""
    alternatives: list[sa.ColumnElement[bool]] = []
    equal: list[sa.ColumnElement[bool]] = []
    for key, descending in sort:
        column, value = columns[key], sort_value(marker, key)
        beyond: sa.ColumnElement[bool]
        if value is None:
            beyond = sa.false() if descending else column.is_not(None)
        elif descending:
            beyond = sa.or_(column < value, column.is_(None))
        else:
            beyond = column > value
        alternatives.append(sa.and_(*equal, beyond))
        equal.append(column.is_(None) if value is None else column == value)
    return sa.or_(*alternatives)


def sort_value(server: Instance | Mapped, key: str) -> Any:
    """Return what a server sorts by under one of the API's sort keys.

    Of one of which only the mapping is known, ``key`` is one of ``MAPPED_COLUMNS``.
    """
    if isinstance(server, Instance):
        if key == "image_ref":
            return server.image.image_id if server.image else None
        if key == "instance_type_id":
            return server.flavor.flavor_id
        if key == "key_name":
            return server.wishes.key_pair.name if server.wishes.key_pair else None
    return getattr(server, SORT_COLUMNS[key].name)


def requested(api_db: Database, project_id: str | None) -> Iterator[Instance]:
    """Yield every server that has no cell yet, newest first, in queries of bounded size."""
    columns = (_requests.c.created_at, _requests.c.instance_uuid)
    query = sa.select(_requests.c.instance, *columns).where(_requests.c.withdrawn.is_(False))
    query = query.order_by(*(c.desc() for c in columns))
    if project_id is not None:
        query = query.where(_requests.c.project_id == project_id)
    query = query.limit(_CHUNK)
    following = query
    while True:
        rows = api_db.query(lambda c, page=following: c.execute(page).all())  # type: ignore[misc]
        for row in rows:
            yield _decode_instance(row.instance)
        if len(rows) < _CHUNK:
            return
        last = rows[-1]
        same_time = sa.and_(columns[0] == last.created_at, columns[1] < last.instance_uuid)
        following = query.where(sa.or_(columns[0] < last.created_at, same_time))


def get_requested(api_db: Database, uuid: str) -> Instance | None:
    """Return a server that has no cell yet, or None."""
    mine = sa.and_(_requests.c.instance_uuid == uuid, _requests.c.withdrawn.is_(False))
    query = sa.select(_requests.c.instance).where(mine)
    row = api_db.query(lambda c: c.execute(query).scalar())
    return None if row is None else _decode_instance(row)


_MAPPED = sa.select(
    _mappings.c.instance_uuid,
    _mappings.c.project_id,
    _mappings.c.user_id,
    _mappings.c.created_at,
)


def mapped_to(api_db: Database, cells: Collection[CellUuid], wanted: ServerQuery) -> list[Mapped]:
    """Return a page of the servers of these cells that are not being deleted.

    Of what is wanted, only the project, the order, the marker and the limit count; the order is by keys of
    ``MAPPED_COLUMNS``.
    """
    query = (
        _MAPPED.where(_mappings.c.cell_uuid.in_(cells), _mappings.c.queued_for_delete.is_(False))
        .order_by(*_order(wanted.sort, MAPPED_COLUMNS))
        .limit(wanted.limit)
    )
    if wanted.project_id is not None:
        query = query.where(_mappings.c.project_id == wanted.project_id)
    if wanted.after is not None:
        query = query.where(_behind(wanted.after, wanted.sort, MAPPED_COLUMNS))
    return [Mapped(*row) for row in api_db.query(lambda c: c.execute(query).all())]


def mapped(api_db: Database, uuid: str) -> Mapped | None:
    """Return what the API database knows of a server, or None."""
    query = _MAPPED.where(_mappings.c.instance_uuid == uuid)
    row = api_db.query(lambda c: c.execute(query).first())
    return None if row is None else Mapped(*row)


def outline(api_db: Database, uuid: str) -> tuple[Mapped, RequestSpec]:
    """Return what the API database knows of a server that has a cell.

    Raises:
        NotFound: there is none, or it is being deleted.
    """
    query = _MAPPED.add_columns(_specs.c.spec).join(
        _specs, _specs.c.instance_uuid == _mappings.c.instance_uuid
    )
    found = query.where(_mappings.c.instance_uuid == uuid, _mappings.c.queued_for_delete.is_(False))
    row = api_db.query(lambda c: c.execute(found).first())
    if row is None:
        raise NotFound(f"Instance {uuid} could not be found.")
    return Mapped(*row[:4]), _decode_spec(row[4])
