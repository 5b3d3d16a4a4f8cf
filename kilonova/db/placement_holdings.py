"""Who holds what: the reads of allocations."""

from collections import defaultdict
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.db.engine import Database
from kilonova.db.placement_schema import Consumer, Provider, StoredAllocation
from kilonova.db.statements import table_of

_providers = table_of(Provider)
_allocations = table_of(StoredAllocation)
_consumers = table_of(Consumer)


_HOLDINGS = (
    sa.select(_consumers, _allocations, _providers.c.generation.label("provider_generation"))
    .join(_allocations, _allocations.c.consumer_uuid == _consumers.c.uuid)
    .join(_providers, _providers.c.uuid == _allocations.c.provider_uuid)
    .order_by(_consumers.c.uuid, _allocations.c.provider_uuid)
)
_OF_CONSUMER = _HOLDINGS.where(_consumers.c.uuid == sa.bindparam("uuid"))
_OF_PROVIDER = _HOLDINGS.where(_allocations.c.provider_uuid == sa.bindparam("uuid"))


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """What a consumer holds: provider -> class -> amount; and the generations of those providers.

    ``updated_at`` is UTC without a zone.
    """

    consumer: str
    project_id: str
    user_id: str
    consumer_type: str
    generation: int
    updated_at: datetime
    allocation: dict[str, dict[str, int]]
    provider_generations: dict[str, int]


def of_consumer(database: Database, consumer: str) -> Holding | None:
    """Return what one consumer holds, if anything."""
    return next(iter(_holdings(database, _OF_CONSUMER, consumer)), None)


def of_provider(database: Database, provider: str) -> tuple[Holding, ...]:
    """Return who holds what of one provider."""
    return _holdings(database, _OF_PROVIDER, provider)


def _holdings(database: Database, query: sa.Select[Any], uuid: str) -> tuple[Holding, ...]:
    found: dict[str, Holding] = {}
    for row in database.query(lambda c: c.execute(query, {"uuid": uuid}).all()):
        holding = found.get(row.uuid)
        if holding is None:
            holding = found[row.uuid] = _empty(row)
        holding.allocation.setdefault(row.provider_uuid, {})[row.resource_class] = row.used
        holding.provider_generations[row.provider_uuid] = row.provider_generation
    return tuple(found.values())


def _empty(row: Any) -> Holding:
    return Holding(
        consumer=row.uuid,
        project_id=row.project_id,
        user_id=row.user_id,
        consumer_type=row.consumer_type,
        generation=row.generation,
        updated_at=row.updated_at,
        allocation={},
        provider_generations={},
    )


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What the consumers of one type use in all, by class, and how many they are."""

    consumers: int
    amounts: dict[str, int]


def usages(
    database: Database,
    project_id: str,
    *,
    user_id: str | None = None,
    consumer_type: str | None = None,
) -> dict[str, Usage]:
    """Return what a project, or one user in it, uses, by type of consumer; one type only if it is named."""
    mine = [_consumers.c.project_id == project_id]
    if user_id is not None:
        mine.append(_consumers.c.user_id == user_id)
    if consumer_type is not None:
        mine.append(_consumers.c.consumer_type == consumer_type)
    kind = _consumers.c.consumer_type
    counted = sa.select(kind, sa.func.count()).where(*mine).group_by(kind)
    summed = (
        sa.select(kind, _allocations.c.resource_class, sa.func.sum(_allocations.c.used))
        .join(_allocations, _allocations.c.consumer_uuid == _consumers.c.uuid)
        .where(*mine)
        .group_by(kind, _allocations.c.resource_class)
    )

    def work(connection: sa.Connection) -> dict[str, Usage]:
        amounts: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for name, resource_class, amount in connection.execute(summed):
            amounts[name][resource_class] = int(amount)
        counts = {row[0]: row[1] for row in connection.execute(counted)}
        return {
            name: Usage(consumers=counts.get(name, 0), amounts=by_class)
            for name, by_class in amounts.items()
        }

    return database.query(work)
