"""Migrations in a cell's database: each goes from stage to stage by compare-and-set, with its server.

``change`` is the one way from a stage to the next: it locks the migration and its server, asks a pure
function what becomes of both, and writes that, all in one transaction. Lists are in ``migration_lists``.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.instance import ActionEvent, Fault, Instance, InstanceAction
from kilonova.core.migration import (
    ACTS,
    Kind,
    Migration,
    Moved,
    MoveReport,
    Progress,
    Side,
    Stage,
    ended,
)
from kilonova.core.states import TaskState
from kilonova.db import waits
from kilonova.db.actions import action_rows, end_action, event_row
from kilonova.db.cell_schema import (
    InstanceFault,
    StoredAction,
    StoredEvent,
    StoredInstance,
    StoredMigration,
)
from kilonova.db.engine import Database
from kilonova.db.hosts import Silence, stays_silent
from kilonova.db.instances import COLUMNS, fault_row, instance_of
from kilonova.db.statements import among, table_of
from kilonova.db.tasks import write_differences

_migrations = table_of(StoredMigration)
_instances = table_of(StoredInstance)

LEASE = timedelta(seconds=90)
"""How long a conductor may look for a destination before another may."""
_AT_ONCE = 500

_HOLDS = sa.or_(
    _migrations.c.stage.not_in((Stage.CLEARING, Stage.ENDED)),
    sa.and_(_migrations.c.stage == Stage.CLEARING, _migrations.c.kind == Kind.SHELVE),
)
"""A move for which its server waits: not for what is only cleared away, unless that makes it shelved."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Migration).decode
_decode_progress = msgspec.json.Decoder(Progress).decode

_acting = sa.case(
    *((_migrations.c.stage == stage, str(side)) for stage, side in ACTS.items()), else_=""
)


class Next(msgspec.Struct, frozen=True, kw_only=True):
    """A migration and its server (None: left alone) as they are to be.

    ``fault`` is what the server's owner is to be told of, ``events`` are what was done on the way here.
    With ``over`` what was asked for last has come to its end; it failed if there is a ``failed`` sentence.
    """

    migration: Migration
    instance: Instance | None = None
    fault: Fault | None = None
    events: tuple[ActionEvent, ...] = ()
    over: bool = False
    failed: str | None = None


Step = Callable[[Migration, Instance], Next]


def columns_of(migration: Migration) -> dict[str, Any]:
    """Return the columns' values of a migration that may change."""
    return {
        "stage": migration.stage,
        "status": migration.status,
        "destination_host": migration.host_of(Side.DESTINATION),
        "attempt": migration.attempt,
        "wish": migration.wish,
        "settled": migration.settled,
        "updated_at": migration.updated_at,
        "progress": _encode(migration.progress),
        "document": _encode(migration),
    }


def insert(connection: sa.Connection, migration: Migration) -> None:
    """Write a new migration."""
    row = columns_of(migration) | {
        "uuid": migration.uuid,
        "instance_uuid": migration.instance_uuid,
        "kind": migration.kind,
        "source_host": migration.source_host,
        "user_id": migration.user_id,
        "project_id": migration.project_id,
        "driver": "",
        "driven_at": migration.created_at,
        "created_at": migration.created_at,
    }
    connection.execute(sa.insert(_migrations), row)


def migration_of(row: Any) -> Migration:
    """Return the migration in a whole row."""
    return msgspec.structs.replace(
        _decode(row.document),
        number=row.id,
        wish=row.wish,
        settled=row.settled,
        updated_at=row.updated_at,
        progress=_decode_progress(row.progress),
    )


_THESE = sa.select(_migrations).order_by(_migrations.c.id).limit(_AT_ONCE)
_ONE = _THESE.where(_migrations.c.uuid == sa.bindparam("uuid"))
_OF_SERVERS = _THESE.where(among(_migrations.c.instance_uuid, "uuids"))
_UNFINISHED = _OF_SERVERS.where(_migrations.c.stage != Stage.ENDED)
_WAITED_FOR = _OF_SERVERS.where(_HOLDS)
_UNSETTLED = _THESE.where(_migrations.c.settled.is_(False), _migrations.c.stage == Stage.ENDED)


def find(
    cell_db: Database, *conditions: sa.ColumnElement[bool], limit: int = _AT_ONCE
) -> tuple[Migration, ...]:
    """Return the migrations for which all of these conditions hold, the oldest first."""
    return _read(cell_db, _THESE.where(*conditions).limit(limit), {})


def _read(
    cell_db: Database, query: sa.Select[Any], wanted: Mapping[str, Any]
) -> tuple[Migration, ...]:
    rows = cell_db.query(lambda c: c.execute(query, wanted).all())
    return tuple(migration_of(row) for row in rows)


def get(cell_db: Database, uuid: str) -> Migration | None:
    """Return a migration, or None."""
    return next(iter(_read(cell_db, _ONE, {"uuid": uuid})), None)


def unfinished(cell_db: Database, uuids: Collection[InstanceUuid]) -> tuple[Migration, ...]:
    """Return the migrations of these servers that have not ended."""
    return _read(cell_db, _UNFINISHED, {"uuids": list(uuids)})


def is_moving(connection: sa.Connection, server: InstanceUuid) -> bool:
    """Whether a server waits for a move. Nothing changes that while its row is held."""
    c = _migrations.c
    query = sa.select(c.id).where(c.instance_uuid == server, _HOLDS).limit(1)
    return connection.execute(query).first() is not None


def waiting_among(cell_db: Database, uuids: Collection[InstanceUuid]) -> frozenset[InstanceUuid]:
    """Return those of these servers that wait for a move."""
    found = _read(cell_db, _WAITED_FOR, {"uuids": list(uuids)})
    return frozenset(one.instance_uuid for one in found)


def give_way(connection: sa.Connection, server: Instance, now: datetime) -> bool:
    """Let an evacuation take the place of a move that waits for the server's dead host, which has the disk;
    False if the server is on the move otherwise."""
    c = _migrations.c
    mine = sa.select(_migrations).where(c.instance_uuid == server.uuid, c.stage == Stage.RESTORING)
    for row in connection.execute(mine.with_for_update()):
        move = migration_of(row)
        reason = move.reason or "Its host died."
        over = ended(msgspec.structs.replace(move, reason=reason), now)
        connection.execute(sa.update(_migrations).where(c.id == row.id).values(columns_of(over)))
        end_action(connection, (server.uuid, move.request_id), now, failed=reason)
    return not is_moving(connection, server.uuid)


def evacuations_from(cell_db: Database, host: HostName, since: datetime) -> tuple[Migration, ...]:
    """Return the evacuations from a host that began since it was heard last."""
    c = _migrations.c
    return find(cell_db, c.source_host == host, c.kind == Kind.EVACUATION, c.created_at >= since)


def evacuations_under_way(cell_db: Database) -> int:
    """Return how many evacuations have not come to a host yet."""
    c = _migrations.c
    going = c.stage.in_((Stage.ACCEPTED, Stage.FINISHING))
    query = sa.select(sa.func.count()).where(going, c.kind == Kind.EVACUATION)
    return cell_db.query(lambda connection: connection.execute(query).scalar() or 0)


def stuck(
    cell_db: Database,
    before: datetime,
    silent: Collection[HostName] = (),
    dead: Collection[HostName] = (),
) -> tuple[Migration, ...]:
    """Return migrations in which somebody has had something to do since before ``before``, and those whose
    host is dead. What silent hosts have only to remove waits for them, and is not among these.
    """
    wanted = {"before": before, "silent": list(silent), "dead": list(dead)}
    return _read(cell_db, _STUCK, wanted)


_REMOVED_LATER = (Stage.CLEARING, Stage.ABANDONING)


def _acts_among(hosts: str) -> sa.ColumnElement[bool]:
    """Return the condition that one of the hosts of this parameter has something to do."""
    c = _migrations.c
    sides = ((c.source_host, Side.SOURCE), (c.destination_host, Side.DESTINATION))
    return sa.or_(*(sa.and_(_acting == str(side), among(column, hosts)) for column, side in sides))


_STUCK = _THESE.where(
    _migrations.c.stage.in_((Stage.ACCEPTED, *ACTS)),
    sa.or_(_migrations.c.updated_at < sa.bindparam("before"), _acts_among("dead")),
    sa.not_(
        sa.and_(
            _migrations.c.stage.in_(_REMOVED_LATER),
            _migrations.c.kind != Kind.SHELVE,
            _acts_among("silent"),
        )
    ),
)
_DUE_AT = _THESE.where(_acts_among("hosts"))


def due_at(cell_db: Database, host: HostName) -> tuple[Migration, ...]:
    """Return migrations in which a host has something to do."""
    return _read(cell_db, _DUE_AT, {"hosts": [host]})


def unsettled(cell_db: Database) -> tuple[Migration, ...]:
    """Return migrations that have ended and of which the top level does not know yet."""
    return _read(cell_db, _UNSETTLED, {})


def settle(cell_db: Database, uuid: str) -> None:
    """Note that the top level knows how a migration ended."""
    done = sa.update(_migrations).where(_migrations.c.uuid == uuid).values(settled=True)
    cell_db.write(lambda c: c.execute(done))


def take(cell_db: Database, uuid: str, driver: str, now: datetime) -> Migration | None:
    """Become the one who chooses a destination, for ``LEASE``; None if that is another, or is done."""
    c = _migrations.c
    free = sa.or_(c.driver.in_(("", driver)), c.driven_at < now - LEASE)
    change = (
        sa.update(_migrations)
        .where(c.uuid == uuid, c.stage == Stage.ACCEPTED, free)
        .values(driver=driver, driven_at=now)
    )
    if not cell_db.write(lambda connection: connection.execute(change).rowcount):
        return None
    return get(cell_db, uuid)


def release(cell_db: Database, uuid: str, driver: str) -> None:
    """Let another choose the destination."""
    c = _migrations.c
    mine = sa.update(_migrations).where(c.uuid == uuid, c.driver == driver).values(driver="")
    cell_db.write(lambda connection: connection.execute(mine))


def touch(cell_db: Database, seen: Migration, now: datetime) -> None:
    """Note that a move is sent on, so that it is not again soon."""
    change = sa.update(_migrations).where(*_same(seen)).values(updated_at=now)
    cell_db.write(lambda c: c.execute(change))


def wish(cell_db: Database, seen: Migration, what: str) -> bool:
    """Note what an operator wants of a move; False if it has gone on meanwhile."""
    change = sa.update(_migrations).where(*_same(seen)).values(wish=what)
    return bool(cell_db.write(lambda c: c.execute(change).rowcount))


def _same(seen: Migration) -> tuple[sa.ColumnElement[bool], ...]:
    c = _migrations.c
    return (c.uuid == seen.uuid, c.stage == seen.stage, c.attempt == seen.attempt)


class _Passed(Exception):
    """The server may not be changed any more: rolls the transaction back."""


def change(
    cell_db: Database,
    seen: Migration,
    step: Step,
    *,
    driver: str | None = None,
    record: InstanceAction | None = None,
    silent: Silence | None = None,
) -> Next | None:
    """Bring a migration from the stage that it was seen at to the next, and its server with it.

    ``driver`` is who must still be its driver; ``record`` the action that this begins; ``silent`` a host
    that must have said nothing since. None means that this is not so, that it has gone on meanwhile, or
    that its server is being deleted, and nothing was written.
    """
    same = _same(seen) if driver is None else (*_same(seen), _migrations.c.driver == driver)

    def work(connection: sa.Connection) -> Next | None:
        if silent is not None and not stays_silent(connection, silent):
            return None
        row = connection.execute(sa.select(_migrations).where(*same).with_for_update()).first()
        if row is None:
            return None
        server = _instances.c.uuid == seen.instance_uuid
        before = instance_of(
            connection.execute(sa.select(*COLUMNS).where(server).with_for_update()).one()
        )
        found = step(migration_of(row), before)
        mine = sa.update(_migrations).where(_migrations.c.id == row.id)
        connection.execute(mine.values(columns_of(found.migration)))
        if found.instance is not None:
            if before.deleted or before.task_state == TaskState.DELETING:
                raise _Passed
            write_differences(connection, before, found.instance)
        if (found.migration.stage, found.migration.attempt) != (seen.stage, seen.attempt):
            waits.end(connection, found.migration)
        _tell(connection, found, record)
        return found

    try:
        return cell_db.write(work)
    except _Passed:
        return None


def _tell(connection: sa.Connection, found: Next, record: InstanceAction | None) -> None:
    """Write what the server's owner can read of it."""
    uuid, now = found.migration.instance_uuid, found.migration.updated_at
    if record is not None:
        connection.execute(sa.insert(table_of(StoredAction)), action_rows([record]))
    if found.fault is not None:
        connection.execute(sa.insert(table_of(InstanceFault)), [fault_row(uuid, found.fault)])
    if found.events:
        rows = [event_row(uuid, found.migration.request_id, one) for one in found.events]
        connection.execute(sa.insert(table_of(StoredEvent)), rows)
    if found.over:
        end_action(connection, (uuid, found.migration.request_id), now, failed=found.failed)


_REMOVING = (Stage.CLEARING, Stage.UNDOING, Stage.ABANDONING)
_is_kept = sa.exists().where(
    _instances.c.uuid == _migrations.c.instance_uuid,
    _instances.c.deleted.is_(False),
    sa.or_(_instances.c.task_state.is_(None), _instances.c.task_state != TaskState.DELETING),
)


def hear(connection: sa.Connection, host: HostName, report: MoveReport, now: datetime) -> bool:
    """Take note of what a host says of its part; False if that part is no longer its to do.

    One that goes on is refused if it is to be aborted. Of a server that is being deleted nothing is begun
    but to remove what there is: its host may have said already that it is gone.
    """
    c = _migrations.c
    acting = sa.or_(
        sa.and_(_acting == str(Side.SOURCE), c.source_host == host),
        sa.and_(_acting == str(Side.DESTINATION), c.destination_host == host),
    )
    values: dict[str, Any] = {"updated_at": now}
    if report.progress is not None:
        values["progress"] = _encode(report.progress)
    heard = (
        sa.update(_migrations)
        .where(
            c.uuid == report.migration,
            c.stage == report.stage,
            c.attempt == report.attempt,
            acting,
            c.wish != "abort" if report.moved is Moved.GOES_ON else sa.true(),
        )
        .values(values)
    )
    if report.moved is Moved.BEGUN and report.stage not in _REMOVING:
        heard = heard.where(_is_kept)
    return bool(connection.execute(heard).rowcount)
