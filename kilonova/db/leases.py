"""Leases: who leads, and until when."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from kilonova.db.api_schema import Lease
from kilonova.db.engine import Database
from kilonova.db.statements import insert_if_absent, table_of

_leases = table_of(Lease)
_SEEN = sa.select(_leases).where(_leases.c.name == sa.bindparam("name"))
_LOCKED = _SEEN.with_for_update()
_HOLD = sa.update(_leases).where(_leases.c.name == sa.bindparam("b_name"))
_KEEP = _HOLD.where(_leases.c.holder == sa.bindparam("b_holder"))


def hold(api_db: Database, name: str, holder: str, now: datetime, length: timedelta) -> int | None:
    """Take or keep a lease; return its fencing token, or None while another holds it.

    The token grows whenever the holder changes. Who waits for another's to end only reads it.
    """
    seen = api_db.query(lambda c: c.execute(_SEEN, {"name": name}).first())
    if seen is not None and _is_others(seen, holder, now):
        return None
    if seen is not None and seen.holder == holder:
        kept = {"b_name": name, "b_holder": holder, "expires_at": now + length}
        if api_db.write(lambda c: c.execute(_KEEP, kept).rowcount):
            return int(seen.token)

    def work(connection: sa.Connection) -> int | None:
        row = connection.execute(_LOCKED, {"name": name}).first()
        if row is None:
            free = {"name": name, "holder": "", "token": 0, "expires_at": now}
            insert_if_absent(connection, _leases, [free], "name")
            row = connection.execute(_LOCKED, {"name": name}).one()
        if _is_others(row, holder, now):
            return None
        token = row.token if row.holder == holder else row.token + 1
        values = {"holder": holder, "token": token, "expires_at": now + length}
        connection.execute(_HOLD, values | {"b_name": name})
        return int(token)

    return api_db.write(work)


def _is_others(row: Any, holder: str, now: datetime) -> bool:
    return bool(row.holder != holder and row.holder and row.expires_at > now)


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
