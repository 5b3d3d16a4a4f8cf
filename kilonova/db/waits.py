"""What moves wait for, among the events of their action: begun once, and over as soon as a move goes on."""

import sqlalchemy as sa

from kilonova.core.ids import HostName
from kilonova.core.instance import ActionEvent
from kilonova.core.migration import WAITS, Migration
from kilonova.db.actions import event_row
from kilonova.db.cell_schema import StoredEvent
from kilonova.db.engine import Database
from kilonova.db.statements import insert_if_absent, table_of

_events = table_of(StoredEvent)


def _open(uuid: str, request: str) -> sa.ColumnElement[bool]:
    c = _events.c
    mine = sa.and_(c.instance_uuid == uuid, c.request_id == request)
    return sa.and_(mine, c.name == WAITS, c.finished_at.is_(None))


def is_told(cell_db: Database, migration: Migration) -> bool:
    """Whether it is told already what a move waits for."""
    there = _open(migration.instance_uuid, migration.request_id)
    query = sa.select(_events.c.id).where(there).limit(1)
    return cell_db.query(lambda c: c.execute(query).first()) is not None


def tell(cell_db: Database, migration: Migration, host: HostName, why: str) -> None:
    """Tell a server's owner what its move waits for since its stage began; the host is for operators."""
    event = ActionEvent(name=WAITS, started_at=migration.updated_at, details=why, host=host)
    row = event_row(migration.instance_uuid, migration.request_id, event)
    cell_db.write(lambda c: insert_if_absent(c, _events, [row], "name"))


def end(connection: sa.Connection, migration: Migration) -> None:
    """Note that a move waits no more: it has come to another stage."""
    open_ = _open(migration.instance_uuid, migration.request_id)
    over = {"finished_at": migration.updated_at, "result": "Success"}
    connection.execute(sa.update(_events).where(open_).values(over))
