"""Records that point nowhere: what crashes, or conductors that stood still, may leave. All are bounded."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from kilonova.core.ids import CellUuid, InstanceUuid
from kilonova.db.api_schema import BuildRequest, InstanceMapping, StoredRequestSpec
from kilonova.db.build_requests import uncount
from kilonova.db.cell_schema import StoredInstance
from kilonova.db.engine import Database
from kilonova.db.statements import among, table_of

_mappings = table_of(InstanceMapping)
_requests = table_of(BuildRequest)
_specs = table_of(StoredRequestSpec)
_instances = table_of(StoredInstance)
_AT_ONCE = 1000
_ENDED = 20_000

_NOWHERE = sa.select(_mappings.c.instance_uuid).where(
    _mappings.c.cell_uuid.is_(None),
    ~sa.exists().where(_requests.c.instance_uuid == _mappings.c.instance_uuid),
)

_SOME_NOWHERE = _NOWHERE.limit(_AT_ONCE)
_since: sa.BindParameter[Any] = sa.bindparam("since")
_CREATED = (
    sa.select(_instances.c.uuid)
    .where(_instances.c.deleted.is_(False), _instances.c.created_at > _since)
    .limit(_AT_ONCE)
)
_TERMINATED = sa.select(_instances.c.uuid).where(_instances.c.terminated_at > _since).limit(_ENDED)
_MAPPED = sa.select(_mappings.c.instance_uuid).where(among(_mappings.c.instance_uuid, "uuids"))
_COUNTED = _MAPPED.where(_mappings.c.queued_for_delete.is_(False))
_HERE = _MAPPED.where(_mappings.c.cell_uuid == sa.bindparam("cell"))
_PENDING = sa.select(_requests.c.instance_uuid).where(among(_requests.c.instance_uuid, "uuids"))


def mapped_nowhere(api_db: Database) -> tuple[InstanceUuid, ...]:
    """Return servers that have a mapping, and neither a cell nor a build request."""
    return tuple(api_db.query(lambda c: c.execute(_SOME_NOWHERE).scalars().all()))


def forget_mapping(api_db: Database, uuid: InstanceUuid) -> bool:
    """Remove such a mapping, and give back what it counts for; False if it is none any more."""
    mine = _NOWHERE.where(_mappings.c.instance_uuid == uuid)

    def work(connection: sa.Connection) -> bool:
        if connection.execute(mine).first() is None:
            return False
        uncount(connection, uuid)
        connection.execute(sa.delete(_mappings).where(_mappings.c.instance_uuid == uuid))
        connection.execute(sa.delete(_specs).where(_specs.c.instance_uuid == uuid))
        return True

    return api_db.write(work)


def created_since(cell_db: Database, since: datetime) -> tuple[InstanceUuid, ...]:
    """Return a cell's servers that are not deleted and were asked for since then."""
    after = {"since": since}
    return tuple(cell_db.query(lambda c: c.execute(_CREATED, after).scalars().all()))


def ended_since(cell_db: Database, since: datetime) -> tuple[InstanceUuid, ...]:
    """Return a cell's servers that were deleted since then."""
    after = {"since": since}
    return tuple(cell_db.query(lambda c: c.execute(_TERMINATED, after).scalars().all()))


def still_counted(api_db: Database, uuids: Sequence[InstanceUuid]) -> tuple[InstanceUuid, ...]:
    """Return those servers that quotas still count."""

    def read(connection: sa.Connection) -> tuple[InstanceUuid, ...]:
        found: list[InstanceUuid] = []
        for start in range(0, len(uuids), _AT_ONCE):
            some = {"uuids": uuids[start : start + _AT_ONCE]}
            found.extend(connection.execute(_COUNTED, some).scalars())
        return tuple(found)

    return api_db.query(read)


def not_mapped_to(
    api_db: Database, cell: CellUuid, uuids: Collection[InstanceUuid]
) -> frozenset[InstanceUuid]:
    """Return those servers that nobody has to place any more, and that are in another cell or in none."""
    if not uuids:
        return frozenset()
    these = {"uuids": list(uuids)}
    # The requests first: who has settled meanwhile is found mapped then.
    driven = set(api_db.query(lambda c: c.execute(_PENDING, these).scalars().all()))
    here = these | {"cell": cell}
    mapped = set(api_db.query(lambda c: c.execute(_HERE, here).scalars().all()))
    return frozenset(uuids) - driven - mapped
