"""A cell's services and compute nodes: signs of life, and what each host says it has."""

import functools
import uuid as uuids
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from kilonova.core.errors import NotFound
from kilonova.core.host import NodeReport, Service
from kilonova.core.ids import HostName, NodeName, ProviderUuid
from kilonova.core.vitals import HostVitals
from kilonova.db import vitals
from kilonova.db.cell_schema import ComputeNode, StoredService
from kilonova.db.engine import Database
from kilonova.db.statements import database_now, insert_if_absent, table_of

COMPUTE = "nova-compute"
"""The binary of a compute host, under the name that clients filter by."""

_services = table_of(StoredService)
_nodes = table_of(ComputeNode)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(NodeReport).decode

_SERVICE_COLUMNS = [_services.c[name] for name in Service.__struct_fields__]

_host: sa.BindParameter[Any] = sa.bindparam("b_host")
_ALIVE = sa.update(_services).where(
    _services.c.binary == sa.bindparam("b_binary"), _services.c.host == _host
)
# By the database's clock, which is one for all who look for changes: see host_changes.
_TELL_NODE = (
    sa.update(_nodes)
    .where(_nodes.c.provider_uuid == sa.bindparam("b_provider"))
    .values(updated_at=database_now())
)
_FORGET_NODES = sa.delete(_nodes).where(
    _nodes.c.host == _host, _nodes.c.provider_uuid.not_in(sa.bindparam("present", expanding=True))
)
_SILENT = sa.select(_services.c.host).where(
    _services.c.binary == COMPUTE,
    sa.or_(
        _services.c.last_seen.is_(None),
        _services.c.last_seen < sa.bindparam("before"),
        _services.c.forced_down,
    ),
)
_FORCED_DOWN = sa.select(_services.c.host).where(
    _services.c.binary == COMPUTE, _services.c.forced_down.is_(True)
)
_NODES = sa.select(_nodes.c.host, _nodes.c.node, _nodes.c.provider_uuid).order_by(
    _nodes.c.provider_uuid
)
_NODES_OF_HOST = _NODES.where(_nodes.c.host == _host)
_mine = sa.and_(_services.c.binary == COMPUTE, _services.c.host == _host)
_COUNT_START = sa.update(_services).where(_mine).values(starts=_services.c.starts + 1)
_STARTS = sa.select(_services.c.starts).where(_mine)
_start: sa.BindParameter[int] = sa.bindparam("b_start")
_BEGIN_START = (
    sa.update(_services).where(_mine, _services.c.started < _start).values(started=_start)
)
_HOSTS = sa.select(_nodes.c.host).distinct().order_by(_nodes.c.host)


def beat(
    cell_db: Database,
    service: tuple[str, HostName, str],
    nodes: Sequence[NodeReport] | None,
    now: datetime,
    told: HostVitals | None = None,
) -> bool:
    """Store a sign of life of a service (binary, host, topic) and, if given, what its nodes are, and what
    it told of how its servers are.

    Returns True if the service was not known before. In the steady state it is one UPDATE, of a column
    without an index: a sign of life costs the database no more than the row.
    """
    binary, host, topic = service
    alive = {"b_binary": binary, "b_host": host, "last_seen": now}

    def work(connection: sa.Connection) -> bool:
        new = not connection.execute(_ALIVE, alive).rowcount
        if new:
            row = {
                "uuid": str(uuids.uuid4()),
                "binary": binary,
                "host": host,
                "topic": topic,
                "enabled": True,
                "forced_down": False,
                "version": 1,
                "starts": 0,
                "started": 0,
                "created_at": now,
                "last_seen": now,
            }
            insert_if_absent(connection, _services, [row], "host")
        if nodes is not None:
            _store_nodes(connection, host, nodes, now)
        if told is not None:
            vitals.store(connection, host, told, now)
        return new

    return cell_db.write(work)


def _store_nodes(
    connection: sa.Connection, host: HostName, nodes: Sequence[NodeReport], now: datetime
) -> None:
    for node in nodes:
        values = {"host": host, "node": node.node, "report": _encode(node)}
        told = values | {"b_provider": node.provider_uuid}
        if not connection.execute(_TELL_NODE, told).rowcount:
            row = values | {"provider_uuid": node.provider_uuid, "updated_at": now}
            insert_if_absent(connection, _nodes, [row], "provider_uuid")
            connection.execute(_TELL_NODE, told)
    present = [node.provider_uuid for node in nodes]
    connection.execute(_FORGET_NODES, {"b_host": host, "present": present})


def list_services(
    cell_db: Database,
    *,
    binary: str | None = None,
    host: str | None = None,
    uuid: str | None = None,
    number: int | None = None,
) -> tuple[Service, ...]:
    """Return a cell's services that are as wanted, in order of binary and host."""
    named = {"binary": binary, "host": host, "uuid": uuid, "id": number}
    wanted = {name: value for name, value in named.items() if value is not None}
    query = _services_with(tuple(wanted))
    rows = cell_db.query(lambda c: c.execute(query, wanted).mappings().all())
    return tuple(Service(**row) for row in rows)


@functools.cache
def _services_with(names: tuple[str, ...]) -> sa.Select[Any]:
    same = [_services.c[name] == sa.bindparam(name) for name in names]
    query = sa.select(*_SERVICE_COLUMNS).where(*same)
    return query.order_by(_services.c.binary, _services.c.host)


def silent_since(cell_db: Database, before: datetime) -> frozenset[HostName]:
    """Return the compute hosts that gave no sign of life since ``before``, or were said to be down."""
    since = {"before": before}
    return frozenset(cell_db.query(lambda c: c.execute(_SILENT, since).scalars().all()))


class Silence(NamedTuple):
    """A host that said nothing since a moment; None since it was known."""

    host: HostName
    since: datetime | None


def stays_silent(connection: sa.Connection, silence: Silence) -> bool:
    """Whether a host gave no sign of life in this silence; it cannot before this transaction ends."""
    query = (
        sa.select(_services.c.last_seen)
        .where(_services.c.binary == COMPUTE, _services.c.host == silence.host)
        .with_for_update()
    )
    return bool(connection.execute(query).scalar() == silence.since)


def change_service(cell_db: Database, service_uuid: str, values: Mapping[str, Any]) -> Service:
    """Set ``enabled``, ``disabled_reason`` or ``forced_down`` and return the service.

    Raises:
        NotFound: there is no such service in this cell.
    """
    mine = _services.c.uuid == service_uuid

    def work(connection: sa.Connection) -> Service:
        connection.execute(sa.update(_services).where(mine).values(dict(values)))
        row = connection.execute(sa.select(*_SERVICE_COLUMNS).where(mine)).mappings().first()
        if row is None:
            raise NotFound(f"Service {service_uuid} not found.")
        return Service(**row)

    return cell_db.write(work)


def delete_service(cell_db: Database, service_uuid: str) -> None:
    """Remove a service and its compute nodes.

    Raises:
        NotFound: there is no such service in this cell.
    """
    mine = _services.c.uuid == service_uuid

    def work(connection: sa.Connection) -> None:
        host = connection.execute(sa.select(_services.c.host).where(mine)).scalar()
        if host is None:
            raise NotFound(f"Service {service_uuid} not found.")
        connection.execute(sa.delete(_nodes).where(_nodes.c.host == host))
        vitals.forget(connection, HostName(host))
        connection.execute(sa.delete(_services).where(mine))

    cell_db.write(work)


class StoredNode(msgspec.Struct, frozen=True, kw_only=True):
    """A compute node as lists show it. ``number`` is its id below microversion 2.53."""

    number: int
    host: HostName
    report: NodeReport
    service: Service


class NodeQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which compute nodes: those of a host, one by its provider's UUID or by its number, those whose name
    has a part, or a page of at most ``limit`` that begins after a provider's UUID."""

    provider_uuid: str | None = None
    number: int | None = None
    name_part: str | None = None
    after: str | None = None
    host: HostName | None = None
    limit: int | None = None


EVERY_NODE = NodeQuery()


def list_nodes(cell_db: Database, wanted: NodeQuery = EVERY_NODE) -> tuple[StoredNode, ...]:
    """Return a cell's compute nodes with their services, in order of their providers' UUIDs."""
    query = (
        sa.select(_nodes.c.id, _nodes.c.host, _nodes.c.report, *_SERVICE_COLUMNS)
        .join(_services, sa.and_(_services.c.host == _nodes.c.host, _services.c.binary == COMPUTE))
        .order_by(_nodes.c.provider_uuid)
        .limit(wanted.limit)
    )
    if wanted.provider_uuid is not None:
        query = query.where(_nodes.c.provider_uuid == wanted.provider_uuid)
    if wanted.number is not None:
        query = query.where(_nodes.c.id == wanted.number)
    if wanted.host is not None:
        query = query.where(_nodes.c.host == wanted.host)
    if wanted.name_part is not None:
        query = query.where(_nodes.c.node.contains(wanted.name_part, autoescape=True))
    if wanted.after is not None:
        query = query.where(_nodes.c.provider_uuid > wanted.after)
    names = Service.__struct_fields__
    return tuple(
        StoredNode(
            number=row[0],
            host=row[1],
            report=_decode(row[2]),
            service=Service(**dict(zip(names, row[3:], strict=True))),
        )
        for row in cell_db.query(lambda c: c.execute(query).all())
    )


def addresses_of(cell_db: Database, names: Collection[HostName]) -> dict[HostName, str]:
    """Return the addresses of those of the hosts that have compute nodes in this cell."""
    query = sa.select(_nodes.c.host, _nodes.c.report).where(_nodes.c.host.in_(names))
    return {
        row[0]: _decode(row[1]).host_ip for row in cell_db.query(lambda c: c.execute(query).all())
    }


class Node(msgspec.Struct, frozen=True):
    """A compute node by its names: its host's, its own and its resource provider's."""

    host: HostName
    node: NodeName
    provider_uuid: ProviderUuid


def nodes_of(cell_db: Database, host: HostName | None = None) -> tuple[Node, ...]:
    """Return the compute nodes of a host, or of all, in order of their providers' UUIDs."""
    query, wanted = (_NODES, {}) if host is None else (_NODES_OF_HOST, {"b_host": host})
    return tuple(Node(*row) for row in cell_db.query(lambda c: c.execute(query, wanted).all()))


def forced_down(cell_db: Database) -> frozenset[HostName]:
    """Return the compute hosts of which somebody who knows says that they are dead."""
    return frozenset(cell_db.query(lambda c: c.execute(_FORCED_DOWN).scalars().all()))


def count_start(cell_db: Database, host: HostName) -> int:
    """Return a number greater than any that a compute host got before; 0 if the host is not known."""
    mine = {"b_host": host}

    def work(connection: sa.Connection) -> int:
        connection.execute(_COUNT_START, mine)
        return connection.execute(_STARTS, mine).scalar() or 0

    return cell_db.write(work)


def begin_start(cell_db: Database, host: HostName, start: int) -> None:
    """Let nothing count any more that a compute host began under an earlier number than this."""
    begun = {"b_host": host, "b_start": start}
    cell_db.write(lambda c: c.execute(_BEGIN_START, begun))


def hosts_of(cell_db: Database) -> tuple[HostName, ...]:
    """Return the hosts that have compute nodes in this cell."""
    return tuple(cell_db.query(lambda c: c.execute(_HOSTS).scalars().all()))


def providers_of(cell_db: Database) -> dict[ProviderUuid, HostName]:
    """Return the host of every compute node of this cell, by the node's provider."""
    query = sa.select(_nodes.c.provider_uuid, _nodes.c.host)
    return {row[0]: row[1] for row in cell_db.query(lambda c: c.execute(query).all())}


class Switch(msgspec.Struct, frozen=True):
    """Whether a compute node may get new servers, as far as an operator has a say in it."""

    provider_uuid: ProviderUuid
    host: HostName
    enabled: bool


def switches(cell_db: Database, host: HostName | None = None) -> tuple[Switch, ...]:
    """Return the switch of every compute node of a host, or of all."""
    mine = sa.and_(_services.c.host == _nodes.c.host, _services.c.binary == COMPUTE)
    columns = (_nodes.c.provider_uuid, _nodes.c.host, _services.c.enabled)
    query = sa.select(*columns).join_from(_nodes, _services, mine).order_by(_nodes.c.provider_uuid)
    if host is not None:
        query = query.where(_nodes.c.host == host)
    return tuple(Switch(*row) for row in cell_db.query(lambda c: c.execute(query).all()))


def providers_at(cell_db: Database, host: HostName) -> tuple[ProviderUuid, ...]:
    """Return the providers of a host's compute nodes."""
    query = sa.select(_nodes.c.provider_uuid).where(_nodes.c.host == host)
    return tuple(cell_db.query(lambda c: c.execute(query).scalars().all()))


def is_host(cell_db: Database, host: HostName) -> bool:
    """Whether a host has compute nodes in this cell."""
    query = sa.select(_nodes.c.host).where(_nodes.c.host == host).limit(1)
    return cell_db.query(lambda c: c.execute(query).first()) is not None
