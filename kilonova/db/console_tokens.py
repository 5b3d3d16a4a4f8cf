"""Tokens of consoles: written with their hash, found until they expire or their server is deleted."""

import hashlib
from datetime import datetime

import msgspec
import sqlalchemy as sa

from kilonova.core.console import ConsoleAddress
from kilonova.core.ids import InstanceUuid
from kilonova.db.api_schema import ConsoleToken, InstanceMapping
from kilonova.db.engine import Database
from kilonova.db.statements import table_of

_tokens = table_of(ConsoleToken)
_mappings = table_of(InstanceMapping)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ConsoleAddress).decode


class Console(msgspec.Struct, frozen=True):
    """A console that somebody may reach."""

    instance_uuid: InstanceUuid
    console_type: str
    address: ConsoleAddress


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def grant(
    api_db: Database, token: str, console: Console, now: datetime, expires_at: datetime
) -> None:
    """Let whoever has the token reach a console; forget the tokens that have expired."""
    row = {
        "token_hash": _hash(token),
        "instance_uuid": console.instance_uuid,
        "console_type": console.console_type,
        "address": _encode(console.address),
        "expires_at": expires_at,
    }

    def work(connection: sa.Connection) -> None:
        connection.execute(sa.delete(_tokens).where(_tokens.c.expires_at < now))
        connection.execute(sa.insert(_tokens), [row])

    api_db.write(work)


def find(api_db: Database, token: str, now: datetime) -> Console | None:
    """Return what a token is for, or None if it is none or none any more."""
    query = (
        sa.select(_tokens.c.instance_uuid, _tokens.c.console_type, _tokens.c.address)
        .join(_mappings, _mappings.c.instance_uuid == _tokens.c.instance_uuid)
        .where(
            _tokens.c.token_hash == _hash(token),
            _tokens.c.expires_at >= now,
            _mappings.c.queued_for_delete.is_(False),
        )
    )
    row = api_db.query(lambda c: c.execute(query).first())
    return None if row is None else Console(row[0], row[1], _decode(row[2]))
