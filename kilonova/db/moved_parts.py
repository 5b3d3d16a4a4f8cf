"""What hosts have of servers that move: what belongs to a move, is kept, or is still to be removed."""

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


def moving(cell_db: Database, host: HostName) -> tuple[InstanceUuid, ...]:
    """Return the servers of which a host has something that belongs to a move, and is the move's affair.

    What the source of an evacuation has is nobody's: it was dead when the server left it.
    """
    c = _migrations.c
    kept = sa.and_(c.source_host == host, c.stage.in_(_KEPT_AT_SOURCE), c.kind != Kind.EVACUATION)
    made = sa.and_(c.destination_host == host, c.stage.in_(_MADE_AT_DESTINATION))
    query = sa.select(c.instance_uuid).where(sa.or_(kept, made)).distinct()
    return tuple(cell_db.query(lambda connection: connection.execute(query).scalars().all()))


def evacuated_from(cell_db: Database, host: HostName) -> frozenset[InstanceUuid]:
    """Return the servers that are leaving a host by an evacuation, and are its again if no other host can
    make them."""
    c = _migrations.c
    going = c.stage.in_((Stage.ACCEPTED, Stage.FINISHING))
    query = sa.select(c.instance_uuid).where(
        c.source_host == host, c.kind == Kind.EVACUATION, going
    )
    return frozenset(cell_db.query(lambda connection: connection.execute(query).scalars().all()))


def being_cleared(cell_db: Database, server: InstanceUuid) -> tuple[HostName, ...]:
    """Return the hosts that still have something of a server from an earlier move."""
    c = _migrations.c
    query = sa.select(c.source_host).where(c.instance_uuid == server, c.stage == Stage.CLEARING)
    return tuple(cell_db.query(lambda connection: connection.execute(query).scalars().all()))
