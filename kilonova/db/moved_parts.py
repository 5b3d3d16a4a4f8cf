"""What hosts have of servers that move: what belongs to a move, is kept, or is still to be removed."""

from typing import Any

import sqlalchemy as sa

from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.migration import Kind, Stage
from kilonova.db.cell_schema import StoredMigration
from kilonova.db.engine import Database
from kilonova.db.statements import table_of

_migrations = table_of(StoredMigration)

_KEPT_AT_SOURCE = tuple(set(Stage) - {Stage.CLEARING, Stage.ENDED})
_MADE_AT_DESTINATION = (
    Stage.PREPARING,
    Stage.SENDING,
    Stage.FINISHING,
    Stage.UNDOING,
    Stage.RESTORING,
    Stage.ABANDONING,
)
_c = _migrations.c
_host: sa.BindParameter[Any] = sa.bindparam("host")
_MOVING = (
    sa.select(_c.instance_uuid)
    .where(
        sa.or_(
            sa.and_(
                _c.source_host == _host,
                _c.stage.in_(_KEPT_AT_SOURCE),
                _c.kind != Kind.EVACUATION,
            ),
            sa.and_(_c.destination_host == _host, _c.stage.in_(_MADE_AT_DESTINATION)),
        )
    )
    .distinct()
)
_EVACUATED = sa.select(_c.instance_uuid).where(
    _c.source_host == _host,
    _c.kind == Kind.EVACUATION,
    _c.stage.in_((Stage.ACCEPTED, Stage.FINISHING)),
)


def moving(cell_db: Database, host: HostName) -> tuple[InstanceUuid, ...]:
    """Return the servers of which a host has something that belongs to a move, and is the move's affair.

    What the source of an evacuation has is nobody's: it was dead when the server left it.
    """
    return tuple(cell_db.query(lambda c: c.execute(_MOVING, {"host": host}).scalars().all()))


def evacuated_from(cell_db: Database, host: HostName) -> frozenset[InstanceUuid]:
    """Return the servers that are leaving a host by an evacuation, and are its again if no other host can
    make them."""
    found = cell_db.query(lambda c: c.execute(_EVACUATED, {"host": host}).scalars().all())
    return frozenset(found)


def being_cleared(cell_db: Database, server: InstanceUuid) -> tuple[HostName, ...]:
    """Return the hosts that still have something of a server from an earlier move."""
    c = _migrations.c
    query = sa.select(c.source_host).where(c.instance_uuid == server, c.stage == Stage.CLEARING)
    return tuple(cell_db.query(lambda connection: connection.execute(query).scalars().all()))
