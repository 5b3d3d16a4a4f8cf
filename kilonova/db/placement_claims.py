"""Claims: the transactions that take and give back what providers have.

A claim is a guarded UPDATE on the providers' inventories in the transaction that writes the allocations, so
it fails only when the capacity is really gone, never because somebody else claimed something. It has the
same few statements whatever the number of providers and claims, always in the order consumers, providers,
inventories, allocations, and the rows of each in the order of their UUIDs, so that claims never deadlock.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import exc

from kilonova.core.clock import utcnow
from kilonova.core.errors import Fenced, GenerationConflict, NoCapacity, NoSuchProvider
from kilonova.core.ids import ConsumerUuid
from kilonova.core.scheduling import Allocation
from kilonova.db.engine import Database
from kilonova.db.placement_demand import Demand, demands, misfits, taking
from kilonova.db.placement_providers import touch
from kilonova.db.placement_schema import Consumer, Provider, StoredAllocation, StoredInventory
from kilonova.db.statements import among, table_of

_providers = table_of(Provider)
_inventories = table_of(StoredInventory)
_allocations = table_of(StoredAllocation)
_consumers = table_of(Consumer)

_INSERT_CONSUMERS = sa.insert(_consumers)
_INSERT_ALLOCATIONS = sa.insert(_allocations)
_LOCK_CONSUMERS = (
    sa.select(_consumers)
    .where(among(_consumers.c.uuid, "uuids"))
    .order_by(_consumers.c.uuid)
    .with_for_update()
)
_AMOUNTS = sa.select(_allocations).where(among(_allocations.c.consumer_uuid, "uuids"))
_GIVE_BACK = (
    sa.delete(_allocations).where(among(_allocations.c.consumer_uuid, "uuids")),
    sa.delete(_consumers).where(among(_consumers.c.uuid, "uuids")),
)

NOBODY = "00000000-0000-0000-0000-000000000000"
"""The project and the user of a consumer whose client named none."""

_ATTEMPTS = 3
"""How often a claim is tried for consumers that somebody else makes at the same moment."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What one consumer is to hold, in place of what it holds. An empty allocation gives all back.

    ``generation`` is what the caller read the consumer with: None for one that must be new, -1 not to
    compare. A project, user or type of None stays what it was.

    ``fence`` orders those who claim for one consumer: whoever comes with a smaller one than was seen, or
    with the same and for something else, is refused. 0 is not compared.
    """

    consumer: ConsumerUuid
    project_id: str | None
    user_id: str | None
    allocation: Allocation
    generation: int | None = -1
    consumer_type: str | None = None
    fence: int = 0


class _Refused(Exception):
    """Some provider lacks room for what is asked of it; rolls the transaction back."""

    def __init__(self, wanted: Mapping[str, Mapping[str, Demand]]) -> None:
        super().__init__()
        self.wanted = wanted


class _Held(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer that is there already."""

    project_id: str
    user_id: str
    consumer_type: str
    generation: int
    fence: int = 0


_NEW = _Held(project_id=NOBODY, user_id=NOBODY, consumer_type="unknown", generation=0)


def replace_all(database: Database, claims: Sequence[Claim]) -> None:
    """Make every consumer hold what its claim says, or change nothing at all.

    Raises:
        NoCapacity: naming the providers and the classes that have no room.
        NoSuchProvider: naming the providers that do not exist.
        GenerationConflict: a consumer is not as the caller read it.
        Fenced: somebody else has claimed for a consumer under a greater fence, or otherwise under this.
    """
    # Almost always nobody of them holds anything: then there is nothing to read first.
    fresh = all(claim.allocation and claim.generation in (None, -1) for claim in claims)
    with explained(database):
        for _ in range(_ATTEMPTS):
            try:
                return database.write(lambda c: exchange(c, claims, fresh=fresh))  # noqa: B023
            except exc.IntegrityError:
                # A consumer is there after all, or came to be a moment ago.
                fresh = False
    raise GenerationConflict(
        "Inventory and/or allocations changed while attempting to allocate: a consumer was made by "
        "another request."
    )


@contextmanager
def explained(database: Database) -> Iterator[None]:
    """Say which inventories refused what ``exchange`` asked of them.

    Raises:
        NoCapacity: with the numbers of each class.
    """
    try:
        yield
    except _Refused as refused:
        raise NoCapacity(_explain(database, refused.wanted)) from None


def exchange(connection: sa.Connection, claims: Sequence[Claim], *, fresh: bool = False) -> None:
    """Give back what the consumers hold and take what their claims say, within a transaction.

    ``fresh`` says that none of them holds anything.

    Raises:
        IntegrityError: SQLAlchemy's; one does, or was made meanwhile.
        NoSuchProvider: as ``replace_all``.
        GenerationConflict, Fenced: as ``replace_all``.
    """
    held = {} if fresh else _lock(connection, [claim.consumer for claim in claims])
    given = _amounts(connection, held)
    for claim in claims:
        _compare(claim, held.get(claim.consumer))
        _check_fence(claim, held.get(claim.consumer), given.get(claim.consumer))
    _rewrite_consumers(connection, claims, held)
    claimed = {uuid for claim in claims for uuid in claim.allocation}
    # Who gives all back changes the generation of what it leaves, too.
    emptied = [given[c.consumer] for c in claims if not c.allocation and c.consumer in given]
    grown = claimed.union(*emptied)
    _lock_providers(connection, grown, others=set().union(*given.values()) - grown)
    wanted = demands([claim.allocation for claim in claims], list(given.values()))
    for statement, parameters, fitting in taking(wanted):
        if connection.execute(statement, parameters).rowcount != fitting:
            raise _Refused(wanted)
    rows = [row for claim in claims for row in _rows(claim)]
    if rows:
        connection.execute(_INSERT_ALLOCATIONS, rows)


def _lock_providers(
    connection: sa.Connection, grown: Collection[str], others: Collection[str]
) -> None:
    if others:
        # All in one order, before some of them grow.
        touch(connection, {*grown, *others}, grow=False)
    if not grown or touch(connection, grown, grow=True) == len(grown):
        return
    query = sa.select(_providers.c.uuid).where(_providers.c.uuid.in_(grown))
    missing = sorted(set(grown).difference(connection.execute(query).scalars()))
    raise NoSuchProvider(
        f"Allocation for resource provider '{', '.join(missing)}' that does not exist."
    )


def _compare(claim: Claim, held: _Held | None) -> None:
    if claim.generation == -1:
        return
    now = None if held is None else held.generation
    if claim.generation != now:
        raise GenerationConflict(
            f"consumer generation conflict - expected {_shown(now)} but got "
            f"{_shown(claim.generation)}"
        )


def _check_fence(claim: Claim, held: _Held | None, given: Allocation | None) -> None:
    if not claim.fence or held is None or claim.fence > held.fence:
        return
    if claim.fence < held.fence or claim.allocation not in ({}, given):
        raise Fenced(
            f"Somebody claimed for consumer {claim.consumer} under fence {held.fence} already."
        )


def _shown(generation: int | None) -> str:
    return "null" if generation is None else str(generation)


def free(database: Database, consumers: Collection[ConsumerUuid]) -> int:
    """Give back all that consumers hold; return how many of them held anything.

    The generations of the providers stay: what they offer is what it was.
    """

    def work(connection: sa.Connection) -> int:
        held = _lock(connection, consumers)
        given = _amounts(connection, held)
        _rewrite_consumers(connection, [], held)
        _lock_providers(connection, (), others=set().union(*given.values()))
        for statement, parameters, _rows in taking(demands([], list(given.values()))):
            connection.execute(statement, parameters)
        return len(held)

    return database.write(work)


def _lock(
    connection: sa.Connection, consumers: Collection[ConsumerUuid]
) -> dict[ConsumerUuid, _Held]:
    rows = connection.execute(_LOCK_CONSUMERS, {"uuids": list(consumers)}).mappings()
    return {
        row["uuid"]: _Held(**{name: row[name] for name in _Held.__struct_fields__}) for row in rows
    }


def _amounts(
    connection: sa.Connection, consumers: Collection[ConsumerUuid]
) -> dict[ConsumerUuid, Allocation]:
    if not consumers:
        return {}
    found: defaultdict[ConsumerUuid, Allocation] = defaultdict(dict)
    for row in connection.execute(_AMOUNTS, {"uuids": list(consumers)}):
        found[row.consumer_uuid].setdefault(row.provider_uuid, {})[row.resource_class] = row.used
    return found


def _rewrite_consumers(
    connection: sa.Connection, claims: Sequence[Claim], held: Mapping[ConsumerUuid, _Held]
) -> None:
    """Write the consumers that will hold something, and remove what those that are there hold."""
    if held:
        for statement in _GIVE_BACK:
            connection.execute(statement, {"uuids": list(held)})
    now = utcnow()
    # In one order, so that they never deadlock.
    staying = sorted((c for c in claims if c.allocation), key=lambda claim: claim.consumer)
    rows = [_row(claim, held.get(claim.consumer, _NEW), now) for claim in staying]
    if rows:
        # One row is no batch: psycopg would complain of a batch that it had to break off.
        connection.execute(_INSERT_CONSUMERS, rows if len(rows) > 1 else rows[0])


def _row(claim: Claim, before: _Held, now: datetime) -> dict[str, Any]:
    return {
        "uuid": claim.consumer,
        "project_id": claim.project_id or before.project_id,
        "user_id": claim.user_id or before.user_id,
        "consumer_type": claim.consumer_type or before.consumer_type,
        "generation": before.generation + 1,
        "fence": max(claim.fence, before.fence),
        "updated_at": now,
    }


def _rows(claim: Claim) -> list[dict[str, Any]]:
    return [
        {
            "consumer_uuid": claim.consumer,
            "provider_uuid": provider,
            "resource_class": name,
            "used": amount,
        }
        for provider, amounts in claim.allocation.items()
        for name, amount in amounts.items()
    ]


def _explain(database: Database, wanted: Mapping[str, Mapping[str, Demand]]) -> str:
    """Return why demands do not fit, with the numbers of each class."""
    query = sa.select(_inventories).where(_inventories.c.provider_uuid.in_(wanted))
    rows = database.query(lambda c: c.execute(query).all())
    reasons = misfits(wanted, {(row.provider_uuid, row.resource_class): row for row in rows})
    detail = "; ".join(reasons[:10]) or "another request gave back what was missing; ask again"
    return f"Unable to allocate inventory: {detail}"
