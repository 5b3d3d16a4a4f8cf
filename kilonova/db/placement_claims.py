"""Claims: the transactions that take and give back what providers have.

A claim is a guarded UPDATE on the provider's inventories in the transaction that writes the allocations, so
it fails only when the capacity is really gone, never because somebody else claimed something. Inventories
are always touched in the order of their providers' UUIDs, so claims never deadlock.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import exc

from kilonova.core.errors import GenerationConflict, NoCapacity
from kilonova.core.ids import ConsumerUuid
from kilonova.core.scheduling import Allocation
from kilonova.db.engine import Database
from kilonova.db.placement_schema import Consumer, StoredAllocation, StoredInventory
from kilonova.db.statements import table_of

_inventories = table_of(StoredInventory)
_allocations = table_of(StoredAllocation)
_consumers = table_of(Consumer)


class _Refused(Exception):
    """A provider lacks room for the sum of what claims ask of it; rolls the transaction back."""

    def __init__(self, provider: str, amounts: Mapping[str, int]) -> None:
        super().__init__(provider)
        self.provider = provider
        self.amounts = dict(amounts)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What one consumer is to hold, in place of what it holds. An empty allocation gives all back.

    ``generation`` is what the caller read the consumer with: None for one that must be new, -1 not to
    compare.
    """

    consumer: ConsumerUuid
    project_id: str
    user_id: str
    allocation: Allocation
    generation: int | None = -1


def replace_all(database: Database, claims: Sequence[Claim]) -> None:
    """Make every consumer hold what its claim says, or change nothing at all.

    Raises:
        NoCapacity: naming the provider and the classes that have no room.
        GenerationConflict: a consumer is not as the caller read it.
    """
    try:
        _replace_or_refuse(database, claims)
    except _Refused as refused:
        sentence = _explain(database, refused.provider, refused.amounts)
        raise NoCapacity(sentence) from None


def _replace_or_refuse(database: Database, claims: Sequence[Claim]) -> None:
    if all(c.allocation and c.generation in (None, -1) for c in claims):
        # Almost always nobody of them holds anything: then there is nothing to read first.
        try:
            database.write(lambda connection: _take(connection, claims))
        except exc.IntegrityError:
            pass
        else:
            return
    try:
        database.write(lambda connection: _replace(connection, claims))
    except exc.IntegrityError as error:
        # A provider that does not exist, or a consumer that somebody else made a moment ago.
        raise GenerationConflict(
            "Unable to allocate: a consumer or a provider was changed by another request."
        ) from error


def _replace(connection: sa.Connection, claims: Sequence[Claim]) -> None:
    held = _lock(connection, [c.consumer for c in claims])
    for claim in claims:
        _compare(claim, held.get(claim.consumer))
    _give_back(connection, list(held))
    _take(connection, [c for c in claims if c.allocation], held)


def _compare(claim: Claim, generation: int | None) -> None:
    if claim.generation not in (-1, generation):
        raise GenerationConflict(
            f"consumer generation conflict - expected {_shown(generation)} but got "
            f"{_shown(claim.generation)}"
        )


def _shown(generation: int | None) -> str:
    return "null" if generation is None else str(generation)


def claim_each(database: Database, claims: Sequence[Claim]) -> dict[ConsumerUuid, str]:
    """Claim for each consumer by itself; return why those that were refused were.

    All of them go into one transaction. Only if some provider lacks room for its share does each get one
    of its own. Claiming the same again changes nothing.
    """
    try:
        replace_all(database, claims)
    except (NoCapacity, GenerationConflict) as error:
        if len(claims) == 1:
            return {claims[0].consumer: str(error)}
    else:
        return {}
    refused = {}
    for claim in claims:
        try:
            replace_all(database, [claim])
        except (NoCapacity, GenerationConflict) as error:
            refused[claim.consumer] = str(error)
    return refused


def free(database: Database, consumers: Collection[ConsumerUuid]) -> int:
    """Give back all that consumers hold; return how many of them held anything."""

    def work(connection: sa.Connection) -> int:
        held = _lock(connection, consumers)
        _give_back(connection, list(held))
        return len(held)

    return database.write(work)


def _lock(
    connection: sa.Connection, consumers: Collection[ConsumerUuid]
) -> dict[ConsumerUuid, int]:
    query = (
        sa.select(_consumers.c.uuid, _consumers.c.generation)
        .where(_consumers.c.uuid.in_(consumers))
        .order_by(_consumers.c.uuid)
        .with_for_update()
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def _give_back(connection: sa.Connection, consumers: Sequence[ConsumerUuid]) -> None:
    if not consumers:
        return
    query = sa.select(
        _allocations.c.provider_uuid,
        _allocations.c.resource_class,
        sa.func.sum(_allocations.c.used),
    )
    query = query.where(_allocations.c.consumer_uuid.in_(consumers))
    query = query.group_by(_allocations.c.provider_uuid, _allocations.c.resource_class)
    amounts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for provider, name, amount in connection.execute(query):
        amounts[provider][name] = int(amount)
    for provider in sorted(amounts):
        connection.execute(_change(provider, amounts[provider], -1))
    connection.execute(sa.delete(_allocations).where(_allocations.c.consumer_uuid.in_(consumers)))
    connection.execute(sa.delete(_consumers).where(_consumers.c.uuid.in_(consumers)))


def _take(
    connection: sa.Connection,
    claims: Sequence[Claim],
    held: Mapping[ConsumerUuid, int] | None = None,
) -> None:
    if not claims:
        return
    held = held or {}
    consumers = [
        {
            "uuid": claim.consumer,
            "project_id": claim.project_id,
            "user_id": claim.user_id,
            "generation": held.get(claim.consumer, 0) + 1,
        }
        for claim in claims
    ]
    connection.execute(sa.insert(_consumers), consumers)
    sums: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    largest: defaultdict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    rows = []
    for claim in claims:
        for provider, amounts in claim.allocation.items():
            for name, amount in amounts.items():
                sums[provider][name] += amount
                low, high = largest[provider].get(name, (amount, amount))
                largest[provider][name] = (min(low, amount), max(high, amount))
                rows.append(
                    {
                        "consumer_uuid": claim.consumer,
                        "provider_uuid": provider,
                        "resource_class": name,
                        "used": amount,
                    }
                )
    for provider in sorted(sums):
        guarded = _guarded(provider, sums[provider], largest[provider])
        if connection.execute(guarded).rowcount != len(sums[provider]):
            raise _Refused(provider, sums[provider])
    connection.execute(sa.insert(_allocations), rows)


def _change(provider: str, amounts: Mapping[str, int], sign: int) -> sa.Update:
    names = sorted(amounts)
    delta = sa.case(
        {name: sign * amounts[name] for name in names}, value=_inventories.c.resource_class
    )
    return (
        sa.update(_inventories)
        .where(_inventories.c.provider_uuid == provider, _inventories.c.resource_class.in_(names))
        .values(used=_inventories.c.used + delta)
    )


def _guarded(
    provider: str, amounts: Mapping[str, int], extremes: Mapping[str, tuple[int, int]]
) -> sa.Update:
    """Return the UPDATE that takes ``amounts`` where there is room for all of each class.

    ``extremes`` are the smallest and the largest single amount, for ``min_unit`` and ``max_unit``. The step
    is checked on the sum: amounts that are each a multiple of it have a sum that is.
    """

    def by_class(values: Mapping[str, int]) -> sa.Case[Any]:
        return sa.case(dict(sorted(values.items())), value=_inventories.c.resource_class)

    amount = by_class(amounts)
    return _change(provider, amounts, 1).where(
        _inventories.c.used + amount <= _inventories.c.capacity,
        _inventories.c.min_unit <= by_class({name: low for name, (low, _) in extremes.items()}),
        _inventories.c.max_unit >= by_class({name: high for name, (_, high) in extremes.items()}),
        amount % _inventories.c.step_size == 0,
    )


def _explain(database: Database, provider: str, amounts: Mapping[str, int]) -> str:
    """Return why ``amounts`` do not fit on a provider, with the numbers of each class."""
    query = sa.select(_inventories).where(
        _inventories.c.provider_uuid == provider, _inventories.c.resource_class.in_(amounts)
    )
    rows = {row.resource_class: row for row in database.query(lambda c: c.execute(query).all())}
    missing = sorted(set(amounts) - set(rows))
    if missing:
        return f"Provider {provider} has no inventory of {', '.join(missing)}."
    tight = [
        f"{name}: asked {amounts[name]}, capacity {row.capacity}, used {row.used}"
        for name, row in sorted(rows.items())
        if row.used + amounts[name] > row.capacity
    ]
    detail = "; ".join(tight) or "an amount breaks min_unit, max_unit or step_size"
    return f"Unable to create allocation on resource provider {provider}: {detail}."
