"""Passwords of servers' administrators, each sealed for its owner's key. Hosts report them."""

import sqlalchemy as sa

from kilonova.core.ids import InstanceUuid
from kilonova.db.cell_schema import StoredInstance
from kilonova.db.engine import Database
from kilonova.db.statements import table_of

_instances = table_of(StoredInstance)


def get(cell_db: Database, uuid: InstanceUuid) -> str | None:
    """Return a server's password, or None."""
    query = sa.select(_instances.c.password).where(_instances.c.uuid == uuid)
    return cell_db.query(lambda c: c.execute(query).scalar())


def clear(cell_db: Database, uuid: InstanceUuid) -> None:
    """Forget a server's password."""
    change = sa.update(_instances).where(_instances.c.uuid == uuid).values(password=None)
    cell_db.write(lambda c: c.execute(change))
