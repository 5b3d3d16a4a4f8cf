"""Decisions as they are kept: one document for each scheduling pass, found by server and by request.

A boot writes its decision in the transaction that settles it. Only so many are kept, for so long.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.core.decision_record import Decided, DecisionRecord, KeptDecision, Waiting
from kilonova.core.ids import InstanceUuid, RequestId
from kilonova.db.api_schema import BuildRequest, StoredDecision
from kilonova.db.engine import Database
from kilonova.db.statements import among, table_of

LONGEST_KEPT = timedelta(days=30)
MOST_KEPT = 20_000
"""Of how many servers decisions are kept."""

_decisions = table_of(StoredDecision)
_requests = table_of(BuildRequest)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(DecisionRecord).decode
_INSERT = sa.insert(_decisions)
_newest_first = (_decisions.c.created_at.desc(), _decisions.c.decision_id)
_ROWS = (
    sa.select(_decisions)
    .where(among(_decisions.c.decision_id, "ids"))
    .order_by(*_newest_first, _decisions.c.place)
)


class DecisionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which decisions: those about a server, for a request, or all; at most ``limit``, newest first."""

    server: InstanceUuid | None = None
    request_id: RequestId | None = None
    limit: int = 20


def insert(
    connection: sa.Connection, record: DecisionRecord, servers: Sequence[Decided], now: datetime
) -> None:
    """Keep a decision, within the transaction of a connection. It was about at least one server."""
    decision_id = str(uuid.uuid4())
    rows: list[dict[str, Any]] = [
        {
            "decision_id": decision_id,
            "place": place,
            "created_at": now,
            "instance_uuid": server.instance_uuid,
            "request_id": server.request_id,
            "host": server.host,
            "record": None,
        }
        for place, server in enumerate(servers)
    ]
    rows[0]["record"] = _encode(record)
    connection.execute(_INSERT, rows)


def list_decisions(api_db: Database, wanted: DecisionQuery) -> tuple[KeptDecision, ...]:
    """Return decisions, newest first."""
    query = sa.select(_decisions.c.decision_id).order_by(*_newest_first).limit(wanted.limit)
    if wanted.server is not None:
        query = query.where(_decisions.c.instance_uuid == wanted.server)
    if wanted.request_id is not None:
        # A pass may have been about many servers of a request.
        query = query.where(_decisions.c.request_id == wanted.request_id)
        query = query.group_by(_decisions.c.decision_id, _decisions.c.created_at)
    elif wanted.server is None:
        query = query.where(_decisions.c.place == 0)
    ids = api_db.query(lambda c: c.execute(query).scalars().all())
    return _read(api_db, ids)


def get_decision(api_db: Database, decision_id: str) -> KeptDecision | None:
    """Return a decision, or None if it is not, or no longer, kept."""
    return next(iter(_read(api_db, [decision_id])), None)


def _read(api_db: Database, ids: Sequence[str]) -> tuple[KeptDecision, ...]:
    if not ids:
        return ()
    rows = api_db.query(lambda c: c.execute(_ROWS, {"ids": list(ids)}).all())
    return tuple(_kept(list(pass_)) for _, pass_ in groupby(rows, lambda row: row.decision_id))


def _kept(rows: Sequence[Any]) -> KeptDecision:
    first = rows[0]
    return KeptDecision(
        id=first.decision_id,
        created_at=first.created_at,
        record=_decode(first.record),
        servers=tuple(
            Decided(instance_uuid=row.instance_uuid, request_id=row.request_id, host=row.host)
            for row in rows
        ),
    )


def waiting(api_db: Database, wanted: DecisionQuery) -> tuple[Waiting, ...]:
    """Return the servers that a query is about and that wait for their first decision, oldest first."""
    columns = (_requests.c.instance_uuid, _requests.c.request_id, _requests.c.created_at)
    query = sa.select(*columns, _requests.c.waits_for).where(_requests.c.withdrawn.is_(False))
    if wanted.server is not None:
        query = query.where(_requests.c.instance_uuid == wanted.server)
    if wanted.request_id is not None:
        query = query.where(_requests.c.request_id == wanted.request_id)
    query = query.order_by(_requests.c.created_at, _requests.c.instance_uuid).limit(wanted.limit)
    return tuple(
        Waiting(
            instance_uuid=row.instance_uuid,
            request_id=row.request_id,
            since=row.created_at,
            because=row.waits_for or "",
        )
        for row in api_db.query(lambda c: c.execute(query).all())
    )


def old_before(api_db: Database, now: datetime, most: int) -> datetime | None:
    """Return before when decisions are to be forgotten, or None if there are no such.

    These are the oldest beyond ``most`` servers', and all older ones than ``LONGEST_KEPT``.
    """
    times = sa.select(_decisions.c.created_at).order_by(_decisions.c.created_at.desc())
    last = api_db.query(lambda c: c.execute(times.offset(most).limit(1)).scalar())
    before = max(last or datetime.min, now - LONGEST_KEPT)
    older = sa.select(_decisions.c.created_at).where(_decisions.c.created_at < before).limit(1)
    found = api_db.query(lambda c: c.execute(older).first())
    return None if found is None else before


def forget(api_db: Database, before: datetime) -> int:
    """Forget the decisions that were made before a time; return how many servers' that were.

    A decision goes whole or stays whole.
    """
    old = sa.delete(_decisions).where(_decisions.c.created_at < before)
    return api_db.write(lambda c: c.execute(old).rowcount)
