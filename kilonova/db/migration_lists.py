"""Lists of a cell's migrations: filtered, newest first, and from a marker on; and those that wait for
their owner."""

from collections.abc import Collection
from datetime import datetime

import msgspec
import sqlalchemy as sa

from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.migration import IN_PROGRESS, LISTED, Kind, Migration, Stage
from kilonova.db.cell_schema import StoredMigration
from kilonova.db.engine import Database
from kilonova.db.moves import find, migration_of
from kilonova.db.statements import table_of

_migrations = table_of(StoredMigration)
_c = _migrations.c


class MigrationQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which migrations: with these values in these columns, on a host (as source or destination), changed
    between two times, and older than one made at ``after`` = (created_at, uuid).
    """

    equal: dict[str, str] = {}
    host: str | None = None
    changed_since: datetime | None = None
    changed_before: datetime | None = None
    after: tuple[datetime, str] | None = None
    limit: int = 1000


def list_migrations(cell_db: Database, wanted: MigrationQuery) -> tuple[Migration, ...]:
    """Return a cell's migrations that are as wanted, newest first."""
    conditions: list[sa.ColumnElement[bool]] = [_c.kind.in_(LISTED)]
    conditions += [_c[name] == value for name, value in wanted.equal.items()]
    if wanted.host is not None:
        conditions.append(sa.or_(_c.source_host == wanted.host, _c.destination_host == wanted.host))
    if wanted.changed_since is not None:
        conditions.append(_c.updated_at >= wanted.changed_since)
    if wanted.changed_before is not None:
        conditions.append(_c.updated_at <= wanted.changed_before)
    if wanted.after is not None:
        created, uuid = wanted.after
        same_time = sa.and_(_c.created_at == created, _c.uuid < uuid)
        conditions.append(sa.or_(_c.created_at < created, same_time))
    query = (
        sa.select(_migrations)
        .where(*conditions)
        .order_by(_c.created_at.desc(), _c.uuid.desc())
        .limit(wanted.limit)
    )
    return tuple(migration_of(row) for row in cell_db.query(lambda c: c.execute(query).all()))


def in_progress(cell_db: Database, uuid: InstanceUuid) -> tuple[Migration, ...]:
    """Return the live migrations of a server that are in progress."""
    statuses = _c.status.in_(sorted(IN_PROGRESS))
    return find(cell_db, _c.instance_uuid == uuid, _c.kind == Kind.LIVE, statuses)


def of_server(cell_db: Database, uuid: InstanceUuid, number: int) -> Migration | None:
    """Return a server's migration by its number, or None."""
    return next(iter(find(cell_db, _c.instance_uuid == uuid, _c.id == number)), None)


def undecided(
    cell_db: Database, before: datetime, away: Collection[HostName]
) -> tuple[Migration, ...]:
    """Return migrations that wait for their owner since before ``before``; none to a host in ``away``."""
    finished = (_c.stage == Stage.FINISHED, _c.kind.in_((Kind.RESIZE, Kind.MIGRATION)))
    return find(cell_db, *finished, _c.updated_at < before, _c.destination_host.not_in(away))
