"""Host aggregates: the hosts and the metadata of each, and which zone they put a host into.

Owns the rule that a host is in one zone only: every change that could break it holds the locks of all
aggregates, which are few and rarely changed. Which hosts have servers stands in the cells, so the
caller says it (see ``hosted``).
"""

import uuid
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import exc

from kilonova.core.aggregate import (
    ZONE,
    HostAggregate,
    ZoneConflict,
    changed_metadata,
    check_zones,
    moved_hosts,
    zones_by_host,
)
from kilonova.core.errors import Conflict, NotFound
from kilonova.core.ids import HostName
from kilonova.db.api_schema import Aggregate, AggregateHost, HostMapping
from kilonova.db.engine import Database
from kilonova.db.statements import table_of

_aggregates = table_of(Aggregate)
_members = table_of(AggregateHost)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, str]).decode

_ALL = sa.select(_aggregates).order_by(_aggregates.c.id)
_ALL_LOCKED = _ALL.with_for_update()
_MEMBERS = sa.select(_members).order_by(_members.c.host)
_STAMPS = sa.select(_aggregates.c.id, _aggregates.c.updated_at).order_by(_aggregates.c.id)
_COUNT = sa.select(sa.func.count()).select_from(_members)


def _all(connection: sa.Connection, *, locked: bool = False) -> dict[int, HostAggregate]:
    rows = connection.execute(_ALL_LOCKED if locked else _ALL).all()
    hosts: dict[int, list[HostName]] = {}
    for member in connection.execute(_MEMBERS).all():
        hosts.setdefault(member.aggregate_id, []).append(member.host)
    return {row.id: _aggregate(row, hosts.get(row.id, ())) for row in rows}


def _aggregate(row: Any, hosts: Collection[HostName]) -> HostAggregate:
    return HostAggregate(
        number=row.id,
        uuid=row.uuid,
        name=row.name,
        created_at=row.created_at,
        updated_at=row.updated_at,
        metadata=_decode(row.metadata),
        hosts=tuple(hosts),
    )


def list_aggregates(api_db: Database) -> tuple[HostAggregate, ...]:
    """Return every aggregate in order of number, in two SELECTs."""
    return tuple(api_db.query(_all).values())


def mark(api_db: Database) -> object:
    """Return what is equal as long as no aggregate changes; it costs less than reading them."""
    return api_db.query(
        lambda c: (tuple(map(tuple, c.execute(_STAMPS).all())), c.execute(_COUNT).scalar_one())
    )


def get(api_db: Database, number: int) -> HostAggregate:
    """Return one aggregate.

    Raises:
        NotFound: there is none of that number.
    """
    return _of(api_db.query(_all), number)


def _of(aggregates: Mapping[int, HostAggregate], number: int) -> HostAggregate:
    if number not in aggregates:
        raise NotFound(f"Aggregate {number} could not be found.")
    return aggregates[number]


def zones_of_hosts(api_db: Database) -> dict[HostName, str]:
    """Return the zone of every host that an aggregate puts into one.

    A host that is not named is in the default zone.
    """
    return zones_by_host(list_aggregates(api_db))


def create(api_db: Database, name: str, zone: str | None, now: datetime) -> HostAggregate:
    """Write an aggregate without hosts and return it.

    Raises:
        Conflict: its name is taken.
    """
    row = {
        "uuid": str(uuid.uuid4()),
        "name": name,
        "metadata": _encode({} if zone is None else {ZONE: zone}),
        "created_at": now,
    }
    mine = sa.select(_aggregates).where(_aggregates.c.uuid == row["uuid"])

    def work(connection: sa.Connection) -> HostAggregate:
        connection.execute(sa.insert(_aggregates).values(row))
        return _aggregate(connection.execute(mine).one(), ())

    try:
        return api_db.write(work)
    except exc.IntegrityError as error:
        raise _taken(name) from error


def _taken(name: str) -> Conflict:
    return Conflict(f"Aggregate {name} already exists.")


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What a request changes of an aggregate. A metadata item that is None is removed."""

    name: str | None = None
    metadata: dict[str, str | None] = {}
    add_host: HostName | None = None
    remove_host: HostName | None = None


def change(
    api_db: Database,
    number: int,
    wanted: Change,
    now: datetime,
    with_servers: Collection[HostName] = (),
) -> HostAggregate:
    """Change an aggregate and return what it is now.

    ``with_servers`` are hosts that have servers, and so may not move to another zone.

    Raises:
        NotFound: no such aggregate, no such host, or the host to remove is not in it.
        ZoneConflict: a host would be in two zones, or one with servers would move to another.
        Conflict: the name is taken, or the host is in it already.
    """

    def work(connection: sa.Connection) -> HostAggregate:
        aggregates = _all(connection, locked=True)
        before = _of(aggregates, number)
        after = _changed(connection, before, wanted, now)
        all_after = (aggregates | {number: after}).values()
        check_zones(all_after)
        moved = moved_hosts(aggregates.values(), all_after)
        if stuck := sorted(moved.intersection(with_servers)):
            raise ZoneConflict(
                f"Host {stuck[0]} has servers, and would move to another availability zone."
            )
        _write(connection, before, after)
        return after

    try:
        return api_db.write(work)
    except exc.IntegrityError as error:
        raise _taken(wanted.name or "") from error


def _changed(
    connection: sa.Connection, before: HostAggregate, wanted: Change, now: datetime
) -> HostAggregate:
    hosts = set(before.hosts)
    if (added := wanted.add_host) is not None:
        mapped = sa.select(HostMapping.host).where(HostMapping.host == added)
        if connection.execute(mapped).first() is None:
            raise NotFound(f"Compute host {added} could not be found.")
        if added in hosts:
            raise Conflict(f"Host {added} is already in aggregate {before.number}.")
        hosts.add(added)
    if (removed := wanted.remove_host) is not None:
        if removed not in hosts:
            raise NotFound(f"Host {removed} is not in aggregate {before.number}.")
        hosts.remove(removed)
    return msgspec.structs.replace(
        before,
        name=wanted.name or before.name,
        metadata=changed_metadata(before.metadata, wanted.metadata),
        hosts=tuple(sorted(hosts)),
        updated_at=now,
    )


def _write(connection: sa.Connection, before: HostAggregate, after: HostAggregate) -> None:
    values = {
        "name": after.name,
        "metadata": _encode(after.metadata),
        "updated_at": after.updated_at,
    }
    mine = _aggregates.c.id == after.number
    connection.execute(sa.update(_aggregates).where(mine).values(values))
    for host in set(after.hosts) - set(before.hosts):
        row = {"aggregate_id": after.number, "host": host}
        connection.execute(sa.insert(_members).values(row))
    for host in set(before.hosts) - set(after.hosts):
        gone = sa.and_(_members.c.aggregate_id == after.number, _members.c.host == host)
        connection.execute(sa.delete(_members).where(gone))


def delete(api_db: Database, number: int) -> None:
    """Remove an aggregate that has no hosts.

    Raises:
        NotFound: there is none of that number.
        Conflict: it has hosts.
    """

    def work(connection: sa.Connection) -> None:
        if _of(_all(connection, locked=True), number).hosts:
            raise Conflict(f"Aggregate {number} still has hosts.")
        connection.execute(sa.delete(_aggregates).where(_aggregates.c.id == number))

    api_db.write(work)


def leave_all(api_db: Database, host: HostName) -> None:
    """Take a host out of every aggregate."""
    api_db.write(lambda c: c.execute(sa.delete(_members).where(_members.c.host == host)))
