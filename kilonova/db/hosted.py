"""Which servers stand on which hosts of a cell: what operators ask before they change a host."""

from collections.abc import Collection, Sequence

import msgspec
import sqlalchemy as sa

from kilonova.core.ids import HostName, InstanceUuid
from kilonova.db.cell_schema import StoredInstance
from kilonova.db.engine import Database
from kilonova.db.statements import among, table_of

_instances = table_of(StoredInstance)
_AT_ONCE = 500
_AWAY = sa.select(_instances.c.uuid).where(
    among(_instances.c.uuid, "uuids"),
    sa.or_(
        _instances.c.deleted.is_(True),
        _instances.c.host.is_(None),
        _instances.c.host != sa.bindparam("host"),
    ),
)


class Hosted(msgspec.Struct, frozen=True):
    """A server that a host holds."""

    host: HostName
    uuid: InstanceUuid
    name: str


def servers_on(cell_db: Database, hosts: Collection[HostName]) -> tuple[Hosted, ...]:
    """Return the servers of hosts that are not deleted, in order of UUID."""
    query = (
        sa.select(_instances.c.host, _instances.c.uuid, _instances.c.name)
        .where(_instances.c.host.in_(hosts), _instances.c.deleted.is_(False))
        .order_by(_instances.c.uuid)
    )
    return tuple(Hosted(*row) for row in cell_db.query(lambda c: c.execute(query).all()))


def hosts_with_servers(cell_db: Database, hosts: Collection[HostName]) -> frozenset[HostName]:
    """Return those of the hosts that have servers in this cell."""
    query = (
        sa.select(_instances.c.host)
        .where(_instances.c.host.in_(hosts), _instances.c.deleted.is_(False))
        .distinct()
    )
    return frozenset(cell_db.query(lambda c: c.execute(query).scalars().all()))


def hosts_of(
    cell_db: Database, uuids: Collection[InstanceUuid]
) -> dict[InstanceUuid, HostName | None]:
    """Return the host, or None, of each of these servers that is in this cell and not deleted."""
    query = sa.select(_instances.c.uuid, _instances.c.host).where(
        _instances.c.uuid.in_(uuids), _instances.c.deleted.is_(False)
    )
    return {row[0]: row[1] for row in cell_db.query(lambda c: c.execute(query).all())}


def counted(cell_db: Database) -> dict[HostName | None, int]:
    """Return how many servers each host of the cell has; those without a host count under None."""
    query = (
        sa.select(_instances.c.host, sa.func.count())
        .where(_instances.c.deleted.is_(False))
        .group_by(_instances.c.host)
    )
    return {row[0]: row[1] for row in cell_db.query(lambda c: c.execute(query).all())}


def not_on(
    cell_db: Database, host: HostName, uuids: Sequence[InstanceUuid]
) -> tuple[InstanceUuid, ...]:
    """Return those servers that this cell knows to be deleted, on another host, or on none."""

    def read(connection: sa.Connection) -> tuple[InstanceUuid, ...]:
        found: list[InstanceUuid] = []
        for start in range(0, len(uuids), _AT_ONCE):
            asked = {"uuids": uuids[start : start + _AT_ONCE], "host": host}
            found.extend(connection.execute(_AWAY, asked).scalars())
        return tuple(found)

    return cell_db.query(read)
