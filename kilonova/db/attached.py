"""What is attached to servers, in a cell's database: volumes and shares.

What a server has stands whole in its row, so that it goes wherever the server goes. A table beside it has a
row for each, by which it, or what is under way with it, is found. Both are written together, under the lock
of the server's row.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import sqlalchemy as sa

from kilonova.core.ids import HostName, InstanceUuid, RequestId
from kilonova.core.instance import Instance, InstanceAction
from kilonova.core.report import InstanceReport
from kilonova.db.actions import action_rows
from kilonova.db.cell_schema import StoredAction, StoredInstance
from kilonova.db.engine import Database
from kilonova.db.instances import COLUMNS, instance_of
from kilonova.db.statements import among, table_of

_instances = table_of(StoredInstance)
_AT_ONCE = 200
_LOCKED = (
    sa.select(*COLUMNS)
    .where(_instances.c.uuid == sa.bindparam("uuid"), _instances.c.deleted.is_(False))
    .with_for_update()
)


class Thing(Protocol):
    """What is attached. ``request_id`` is the request that has brought about ``stage``."""

    @property
    def stage(self) -> Any: ...
    @property
    def request_id(self) -> RequestId: ...


class Said(Protocol):
    """What a host says of it; ``begins`` is the stage that it must be in, or None."""

    @property
    def begins(self) -> Any: ...


T = TypeVar("T", bound=Thing)
S = TypeVar("S", bound=Said)


class Kind(msgspec.Struct, Generic[T, S], frozen=True):
    """One kind of it.

    ``field`` is where an ``Instance`` has them and the column that ``encode`` writes; ``key`` is the field
    of one, and of what is said of it, that tells which it is. ``rows`` returns the rows of a server in
    ``table``, ``under_way`` are the stages in which a host has something to do, and ``heard`` returns what
    one becomes by a host's word, None if it is its server's no more.
    """

    field: str
    key: str
    table: sa.Table
    encode: Callable[[Sequence[T]], bytes | None]
    rows: Callable[[Instance], list[dict[str, Any]]]
    under_way: Collection[str]
    heard: Callable[[T, HostName, S], T | None]


class Attached(Generic[T, S]):
    """Those of a kind, of all servers in a cell."""

    def __init__(self, kind: Kind[T, S]) -> None:
        self._kind = kind
        table = kind.table
        theirs = (
            sa.select(*COLUMNS)
            .join(table, table.c.instance_uuid == _instances.c.uuid)
            .where(_instances.c.deleted.is_(False))
            .limit(_AT_ONCE)
        )
        wanted = table.c[kind.key] == sa.bindparam("wanted")
        self._having = theirs.where(wanted).order_by(_instances.c.uuid)
        still = table.c.changed_at < sa.bindparam("since")
        moving = table.c.stage.in_(sorted(kind.under_way))
        self._still = theirs.where(moving, still).order_by(table.c.changed_at)
        self._touch = (
            sa.update(table)
            .where(among(table.c.instance_uuid, "uuids"))
            .values(changed_at=sa.bindparam("now", type_=table.c.changed_at.type))
        )

    def change(
        self,
        cell_db: Database,
        uuid: InstanceUuid,
        becomes: Callable[[Instance], tuple[T, ...]],
        now: datetime,
        record: InstanceAction | None = None,
    ) -> Instance | None:
        """Replace what a server has by what ``becomes`` makes of it; return the server as it is then.

        ``record`` is the action that this begins. None if the server is gone. What ``becomes`` raises is
        passed on, and nothing is written.
        """

        def work(connection: sa.Connection) -> Instance | None:
            instance = _locked(connection, uuid)
            if instance is None:
                return None
            after = self._write(connection, instance, becomes(instance), now)
            if record is not None:
                connection.execute(sa.insert(table_of(StoredAction)), action_rows([record]))
            return after

        return cell_db.write(work)

    def _write(
        self, connection: sa.Connection, before: Instance, things: tuple[T, ...], now: datetime
    ) -> Instance:
        field, table = self._kind.field, self._kind.table
        if things == getattr(before, field):
            return before
        after = msgspec.structs.replace(before, updated_at=now, **{field: things})
        values = {field: self._kind.encode(things), "updated_at": now}
        mine = _instances.c.uuid == after.uuid
        connection.execute(sa.update(_instances).where(mine).values(values))
        connection.execute(sa.delete(table).where(table.c.instance_uuid == after.uuid))
        rows = self._kind.rows(after)
        if rows:
            connection.execute(sa.insert(table), rows)
        return after

    def hear(
        self,
        connection: sa.Connection,
        host: HostName,
        of: tuple[InstanceReport, S],
        now: datetime,
    ) -> bool:
        """Apply what a host says of one; False if it is not the server's, or not in that stage any more."""
        report, said = of
        instance = _locked(connection, report.instance_uuid)
        if instance is None:
            return False
        things: tuple[T, ...] = getattr(instance, self._kind.field)
        which = getattr(said, self._kind.key)
        found = next((one for one in things if getattr(one, self._kind.key) == which), None)
        if found is None:
            return False
        due = (said.begins, report.request_id, host)
        if said.begins is not None and due != (found.stage, found.request_id, instance.host):
            return False
        after = self._kind.heard(found, host, said)
        became = tuple(after if one is found else one for one in things)
        self._write(connection, instance, tuple(one for one in became if one is not None), now)
        return True

    def servers_with(self, cell_db: Database, which: str) -> tuple[Instance, ...]:
        """Return the servers that have one."""
        return _found(cell_db, self._having, wanted=which)

    def standing_still(self, cell_db: Database, since: datetime) -> tuple[Instance, ...]:
        """Return servers to or from which some are on the way, and did not move ``since``."""
        return _found(cell_db, self._still, since=since)

    def touch(self, cell_db: Database, uuids: Collection[InstanceUuid], now: datetime) -> None:
        """Note that what is under way with servers was looked after."""
        these = {"uuids": list(uuids), "now": now}
        cell_db.write(lambda c: c.execute(self._touch, these))


def _locked(connection: sa.Connection, uuid: InstanceUuid) -> Instance | None:
    row = connection.execute(_LOCKED, {"uuid": uuid}).first()
    return None if row is None else instance_of(row)


def _found(cell_db: Database, query: sa.Select[Any], **wanted: object) -> tuple[Instance, ...]:
    rows = cell_db.query(lambda c: c.execute(query, wanted).all())
    return tuple(instance_of(row) for row in rows)
