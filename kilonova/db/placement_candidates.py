"""Who has room, and who holds what: the reads of Placement."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.core.scheduling import Room
from kilonova.db.engine import Database
from kilonova.db.placement_schema import (
    Consumer,
    Provider,
    ProviderAggregate,
    ProviderTrait,
    StoredAllocation,
    StoredInventory,
)
from kilonova.db.statements import table_of

_providers = table_of(Provider)
_inventories = table_of(StoredInventory)
_allocations = table_of(StoredAllocation)
_consumers = table_of(Consumer)
_traits = table_of(ProviderTrait)
_aggregates = table_of(ProviderAggregate)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for: amounts by class, traits that must and must not be there, and sets of aggregates
    in each of which (any one of the set) the provider must be."""

    resources: Mapping[str, int]
    required: Collection[str] = ()
    forbidden: Collection[str] = ()
    member_of: Collection[Collection[str]] = ()


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A provider with all its rooms and traits."""

    uuid: str
    generation: int
    rooms: dict[str, Room]
    traits: tuple[str, ...]


def with_room(database: Database, wanted: Wanted, limit: int) -> tuple[str, ...]:
    """Return at most ``limit`` providers on which all of ``wanted`` fits, in one query.

    The scarcest look-up is left to the database: each class is an index on what is free.
    """
    names = sorted(wanted.resources)
    first = _inventories.alias()
    query = sa.select(first.c.provider_uuid).where(*_fits(first, names[0], wanted))
    for name in names[1:]:
        other = _inventories.alias()
        query = query.join(other, other.c.provider_uuid == first.c.provider_uuid)
        query = query.where(*_fits(other, name, wanted))
    provider = first.c.provider_uuid
    for trait in sorted(wanted.required):
        has = sa.select(_traits.c.provider_uuid).where(_traits.c.trait == trait)
        query = query.where(provider.in_(has))
    if wanted.forbidden:
        has = sa.select(_traits.c.provider_uuid).where(_traits.c.trait.in_(wanted.forbidden))
        query = query.where(provider.not_in(has))
    for group in wanted.member_of:
        members = sa.select(_aggregates.c.provider_uuid)
        members = members.where(_aggregates.c.aggregate_uuid.in_(group))
        query = query.where(provider.in_(members))
    return tuple(database.query(lambda c: c.execute(query.limit(limit)).scalars().all()))


def _fits(inventory: Any, name: str, wanted: Wanted) -> tuple[sa.ColumnElement[bool], ...]:
    amount = wanted.resources[name]
    columns = inventory.c
    return (
        columns.resource_class == name,
        columns.free >= amount,
        columns.min_unit <= amount,
        columns.max_unit >= amount,
        sa.literal(amount) % columns.step_size == 0,
    )


def summaries(database: Database, uuids: Collection[str]) -> dict[str, Summary]:
    """Return providers with their rooms and traits, by UUID, in two queries."""
    if not uuids:
        return {}
    columns = (
        _inventories.c.provider_uuid,
        _providers.c.generation,
        _inventories.c.resource_class,
        _inventories.c.capacity,
        _inventories.c.used,
    )
    query = (
        sa.select(*columns)
        .join(_providers, _providers.c.uuid == _inventories.c.provider_uuid)
        .where(_inventories.c.provider_uuid.in_(uuids))
    )
    with_traits = sa.select(_traits).where(_traits.c.provider_uuid.in_(uuids))
    rooms: defaultdict[str, dict[str, Room]] = defaultdict(dict)
    generations: dict[str, int] = {}
    for uuid, generation, name, capacity, used in database.query(lambda c: c.execute(query).all()):
        generations[uuid] = generation
        rooms[uuid][name] = Room(capacity=capacity, used=used)
    traits: defaultdict[str, list[str]] = defaultdict(list)
    for uuid, trait in database.query(lambda c: c.execute(with_traits).all()):
        traits[uuid].append(trait)
    return {
        uuid: Summary(
            uuid=uuid,
            generation=generations[uuid],
            rooms=rooms[uuid],
            traits=tuple(sorted(traits[uuid])),
        )
        for uuid in generations
    }


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """What a consumer holds: provider -> class -> amount."""

    consumer: str
    project_id: str
    user_id: str
    generation: int
    allocation: dict[str, dict[str, int]]


def holdings(
    database: Database, *, consumer: str | None = None, provider: str | None = None
) -> tuple[Holding, ...]:
    """Return what one consumer holds, or who holds what of one provider."""
    query = (
        sa.select(_consumers, _allocations)
        .join(_allocations, _allocations.c.consumer_uuid == _consumers.c.uuid)
        .order_by(_consumers.c.uuid)
    )
    if consumer is not None:
        query = query.where(_consumers.c.uuid == consumer)
    if provider is not None:
        query = query.where(_allocations.c.provider_uuid == provider)
    found: dict[str, Holding] = {}
    for row in database.query(lambda c: c.execute(query).all()):
        holding = found.setdefault(row.uuid, _empty(row))
        holding.allocation.setdefault(row.provider_uuid, {})[row.resource_class] = row.used
    return tuple(found.values())


def _empty(row: Any) -> Holding:
    return Holding(
        consumer=row.uuid,
        project_id=row.project_id,
        user_id=row.user_id,
        generation=row.generation,
        allocation={},
    )


def generations_of(database: Database, uuids: Collection[str]) -> dict[str, int]:
    """Return the generations of providers."""
    query = sa.select(_providers.c.uuid, _providers.c.generation)
    query = query.where(_providers.c.uuid.in_(uuids))
    return {row[0]: row[1] for row in database.query(lambda c: c.execute(query).all())}


def project_usages(
    database: Database, project_id: str, user_id: str | None = None
) -> dict[str, int]:
    """Return what a project (or one user in it) uses in all, by resource class."""
    query = (
        sa.select(_allocations.c.resource_class, sa.func.sum(_allocations.c.used))
        .join(_consumers, _consumers.c.uuid == _allocations.c.consumer_uuid)
        .where(_consumers.c.project_id == project_id)
        .group_by(_allocations.c.resource_class)
    )
    if user_id is not None:
        query = query.where(_consumers.c.user_id == user_id)
    return {row[0]: int(row[1]) for row in database.query(lambda c: c.execute(query).all())}
