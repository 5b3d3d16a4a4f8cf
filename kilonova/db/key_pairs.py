"""Key pairs: public keys, each a user's. Private keys are never stored.

Owns the count of a user's key pairs: a guarded UPDATE in the transaction that writes the key, so that
no number of requests at once goes over the limit.
"""

from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import exc

from kilonova.core.errors import Conflict, Invalid, NotFound, QuotaExceeded
from kilonova.core.ids import UserId
from kilonova.core.instance import KeyPair
from kilonova.core.quota import UNLIMITED
from kilonova.db.api_schema import KeyPairUsage, StoredKeyPair
from kilonova.db.engine import Database
from kilonova.db.statements import insert_if_absent, table_of

_keys = table_of(StoredKeyPair)
_usages = table_of(KeyPairUsage)
_PLAIN = ("name", "kind", "fingerprint", "public_key")
_COLUMNS = (_keys.c.id, _keys.c.user_id, _keys.c.created_at, *(_keys.c[name] for name in _PLAIN))
_GET = sa.select(*_COLUMNS).where(
    _keys.c.user_id == sa.bindparam("user"), _keys.c.name == sa.bindparam("key")
)


class OwnedKeyPair(msgspec.Struct, frozen=True, kw_only=True):
    """A key pair with its owner. ``number`` is what the API calls its id."""

    number: int
    user_id: UserId
    created_at: datetime
    key_pair: KeyPair


def create(api_db: Database, user: UserId, key_pair: KeyPair, *, limit: int, now: datetime) -> None:
    """Write a key pair and count it, in one transaction.

    Raises:
        Conflict: the user has one of that name.
        QuotaExceeded: the user has ``limit`` of them.
    """
    row = {name: getattr(key_pair, name) for name in _PLAIN} | {"user_id": user, "created_at": now}

    def work(connection: sa.Connection) -> None:
        _count(connection, user, limit)
        connection.execute(sa.insert(_keys).values(row))

    try:
        api_db.write(work)
    except exc.IntegrityError as error:
        raise Conflict(f"Key pair '{key_pair.name}' already exists.") from error


def _count(connection: sa.Connection, user: UserId, limit: int) -> None:
    mine = _usages.c.user_id == user
    guarded = sa.update(_usages).where(mine).values(used=_usages.c.used + 1)
    if limit != UNLIMITED:
        guarded = guarded.where(_usages.c.used < limit)
    if connection.execute(guarded).rowcount:
        return
    insert_if_absent(connection, _usages, [{"user_id": user, "used": 0}], "user_id")
    if connection.execute(guarded).rowcount:
        return
    used = connection.execute(sa.select(_usages.c.used).where(mine)).scalar_one()
    raise QuotaExceeded(
        f"Quota exceeded for key_pairs: Requested 1, but already used {used} of {limit} key_pairs"
    )


def get(api_db: Database, user: UserId, name: str) -> OwnedKeyPair:
    """Return one key pair of a user's, in one SELECT.

    Raises:
        NotFound: the user has none of that name.
    """
    row = api_db.query(lambda c: c.execute(_GET, {"user": user, "key": name}).first())
    if row is None:
        raise _missing(user, name)
    return _owned(row)


def _owned(row: Any) -> OwnedKeyPair:
    return OwnedKeyPair(
        number=row.id,
        user_id=row.user_id,
        created_at=row.created_at,
        key_pair=KeyPair(
            name=row.name, kind=row.kind, fingerprint=row.fingerprint, public_key=row.public_key
        ),
    )


def _missing(user: UserId, name: str) -> NotFound:
    return NotFound(f"Keypair {name} not found for user {user}")


def list_key_pairs(
    api_db: Database, user: UserId, *, limit: int, marker: str | None = None
) -> tuple[OwnedKeyPair, ...]:
    """Return a page of a user's key pairs in order of name, in at most two SELECTs.

    Raises:
        Invalid: the user has no key pair named ``marker``.
    """
    query = sa.select(*_COLUMNS).where(_keys.c.user_id == user).order_by(_keys.c.name).limit(limit)
    if marker is not None:
        there = {"user": user, "key": marker}
        if api_db.query(lambda c: c.execute(_GET, there).first()) is None:
            raise Invalid(f"marker [{marker}] not found")
        query = query.where(_keys.c.name > marker)
    return tuple(_owned(row) for row in api_db.query(lambda c: c.execute(query).all()))


def delete(api_db: Database, user: UserId, name: str) -> None:
    """Remove a key pair. Servers keep their copies.

    Raises:
        NotFound: the user has none of that name.
    """
    gone = sa.delete(_keys).where(_keys.c.user_id == user, _keys.c.name == name)
    less = sa.update(_usages).where(_usages.c.user_id == user).values(used=_usages.c.used - 1)

    def work(connection: sa.Connection) -> None:
        # In the order in which create locks them, so that the two never wait for each other.
        connection.execute(less)
        if not connection.execute(gone).rowcount:
            raise _missing(user, name)

    api_db.write(work)
