"""Leases: who leads, and until when."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from kilonova.db.api_schema import Lease
from kilonova.db.engine import Database
from kilonova.db.statements import insert_if_absent, table_of

_leases = table_of(Lease)
_LOCKED = sa.select(_leases).where(_leases.c.name == sa.bindparam("name")).with_for_update()
_HOLD = sa.update(_leases).where(_leases.c.name == sa.bindparam("b_name"))


def hold(api_db: Database, name: str, holder: str, now: datetime, length: timedelta) -> int | None:
    """Take or keep a lease; return its fencing token, or None while another holds it.

    The token grows whenever the holder changes.
    """

    def work(connection: sa.Connection) -> int | None:
        row = connection.execute(_LOCKED, {"name": name}).first()
        if row is None:
            free = {"name": name, "holder": "", "token": 0, "expires_at": now}
            insert_if_absent(connection, _leases, [free], "name")
            row = connection.execute(_LOCKED, {"name": name}).one()
        if row.holder != holder and row.holder and row.expires_at > now:
            return None
        token = row.token if row.holder == holder else row.token + 1
        values = {"holder": holder, "token": token, "expires_at": now + length}
        connection.execute(_HOLD, values | {"b_name": name})
        return int(token)

    return api_db.write(work)


def holder_of(api_db: Database, name: str) -> tuple[str, datetime] | None:
    """Return who holds a lease (empty: nobody) and until when; None if nobody ever did."""
    query = sa.select(_leases.c.holder, _leases.c.expires_at).where(_leases.c.name == name)
    row = api_db.query(lambda c: c.execute(query).first())
    return None if row is None else (row[0], row[1])


def let_go(api_db: Database, name: str, holder: str) -> None:
    """Give a lease back, so that the next holder need not wait for its end."""
    mine = sa.and_(_leases.c.name == name, _leases.c.holder == holder)
    change = sa.update(_leases).where(mine).values(holder="")
    api_db.write(lambda c: c.execute(change))
