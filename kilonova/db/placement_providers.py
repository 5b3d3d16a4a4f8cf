"""Resource providers: what they are called, what they have, and which traits and aggregates are theirs."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec
import sqlalchemy as sa
from sqlalchemy import exc

from kilonova.core.errors import Conflict, GenerationConflict, NotFound
from kilonova.core.scheduling import Inventory
from kilonova.db.engine import Database
from kilonova.db.placement_schema import (
    CustomName,
    Provider,
    ProviderAggregate,
    ProviderTrait,
    StoredAllocation,
    StoredInventory,
)
from kilonova.db.statements import insert_if_absent, table_of

_providers = table_of(Provider)
_inventories = table_of(StoredInventory)
_allocations = table_of(StoredAllocation)
_traits = table_of(ProviderTrait)
_aggregates = table_of(ProviderAggregate)
_custom = table_of(CustomName)


class StoredProvider(msgspec.Struct, frozen=True, kw_only=True):
    """A resource provider. ``updated_at`` is UTC without a zone."""

    uuid: str
    name: str
    generation: int
    parent_uuid: str | None
    root_uuid: str
    updated_at: datetime


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """An inventory with what is used of it."""

    inventory: Inventory
    used: int


def create(database: Database, uuid: str, name: str) -> StoredProvider:
    """Write a provider.

    Raises:
        Conflict: its UUID or its name is taken.
    """
    row = {"uuid": uuid, "name": name, "generation": 0, "root_uuid": uuid}
    try:
        database.write(lambda c: c.execute(sa.insert(_providers), [row]))
    except exc.IntegrityError as error:
        raise Conflict(f"Conflicting resource provider uuid or name: {uuid}, {name}.") from error
    return get(database, uuid)


def get(database: Database, uuid: str) -> StoredProvider:
    """Return a provider.

    Raises:
        NotFound: there is none of that UUID.
    """
    query = sa.select(_providers).where(_providers.c.uuid == uuid)
    row = database.query(lambda c: c.execute(query).mappings().first())
    if row is None:
        raise NotFound(f"No resource provider with uuid {uuid} found")
    return StoredProvider(**row)


def find(
    database: Database,
    *,
    name: str | None = None,
    uuid: str | None = None,
    member_of: Collection[str] = (),
) -> tuple[StoredProvider, ...]:
    """Return the providers that meet every condition given, in order of name."""
    query = sa.select(_providers).order_by(_providers.c.name)
    if name is not None:
        query = query.where(_providers.c.name == name)
    if uuid is not None:
        query = query.where(_providers.c.uuid == uuid)
    if member_of:
        members = sa.select(_aggregates.c.provider_uuid)
        members = members.where(_aggregates.c.aggregate_uuid.in_(member_of))
        query = query.where(_providers.c.uuid.in_(members))
    rows = database.query(lambda c: c.execute(query).mappings().all())
    return tuple(StoredProvider(**row) for row in rows)


def rename(database: Database, uuid: str, name: str) -> StoredProvider:
    """Give a provider another name.

    Raises:
        NotFound: there is none of that UUID.
        Conflict: the name is taken.
    """
    change = sa.update(_providers).where(_providers.c.uuid == uuid).values(name=name)
    try:
        database.write(lambda c: c.execute(change))
    except exc.IntegrityError as error:
        raise Conflict(f"Conflicting resource provider name: {name} already exists.") from error
    return get(database, uuid)


def delete(database: Database, uuid: str) -> None:
    """Remove a provider that nobody uses.

    Raises:
        NotFound: there is none of that UUID.
        Conflict: it has allocations.
    """

    def work(connection: sa.Connection) -> None:
        used = sa.select(_allocations.c.consumer_uuid).where(_allocations.c.provider_uuid == uuid)
        if connection.execute(used.limit(1)).first():
            raise Conflict(f"Unable to delete resource provider {uuid}: it has allocations.")
        for table in (_inventories, _traits, _aggregates):
            connection.execute(sa.delete(table).where(table.c.provider_uuid == uuid))
        if not connection.execute(sa.delete(_providers).where(_providers.c.uuid == uuid)).rowcount:
            raise NotFound(f"No resource provider with uuid {uuid} found for delete")

    database.write(work)


def inventories(database: Database, uuid: str) -> dict[str, Held]:
    """Return what a provider has by resource class, with what is used of it."""
    query = sa.select(_inventories).where(_inventories.c.provider_uuid == uuid)
    query = query.order_by(_inventories.c.resource_class)
    return {
        row["resource_class"]: Held(
            inventory=Inventory(**{name: row[name] for name in Inventory.__struct_fields__}),
            used=row["used"],
        )
        for row in database.query(lambda c: c.execute(query).mappings().all())
    }


def set_inventories(
    database: Database, uuid: str, generation: int, wanted: Mapping[str, Inventory]
) -> int:
    """Replace all inventories of a provider; return its new generation.

    Raises:
        GenerationConflict: the provider is not at ``generation``.
        Conflict: a class that is left out is in use.
    """

    def work(connection: sa.Connection) -> int:
        _next_generation(connection, uuid, generation)
        mine = _inventories.c.provider_uuid == uuid
        query = sa.select(_inventories.c.resource_class, _inventories.c.used).where(mine)
        used = {row[0]: row[1] for row in connection.execute(query.with_for_update())}
        busy = sorted(name for name in used if used[name] and name not in wanted)
        if busy:
            raise Conflict(
                f"Inventory for {', '.join(repr(name) for name in busy)} on resource provider "
                f"'{uuid}' in use."
            )
        gone = set(used) - set(wanted)
        if gone:
            connection.execute(
                sa.delete(_inventories).where(mine, _inventories.c.resource_class.in_(gone))
            )
        for name, inventory in wanted.items():
            values = msgspec.structs.asdict(inventory) | {"capacity": inventory.capacity}
            if name in used:
                same = _inventories.c.resource_class == name
                connection.execute(sa.update(_inventories).where(mine, same).values(values))
            else:
                row = values | {"provider_uuid": uuid, "resource_class": name, "used": 0}
                connection.execute(sa.insert(_inventories), [row])
        return generation + 1

    return database.write(work)


def _next_generation(connection: sa.Connection, uuid: str, generation: int) -> None:
    change = (
        sa.update(_providers)
        .where(_providers.c.uuid == uuid, _providers.c.generation == generation)
        .values(generation=generation + 1)
    )
    if not connection.execute(change).rowcount:
        raise GenerationConflict("resource provider generation conflict")


def traits(database: Database, uuid: str) -> tuple[str, ...]:
    """Return a provider's traits in order."""
    query = sa.select(_traits.c.trait).where(_traits.c.provider_uuid == uuid)
    query = query.order_by(_traits.c.trait)
    return tuple(database.query(lambda c: c.execute(query).scalars().all()))


def set_traits(database: Database, uuid: str, generation: int, wanted: Collection[str]) -> int:
    """Replace a provider's traits; return its new generation.

    Raises:
        GenerationConflict: the provider is not at ``generation``.
    """
    rows = [{"provider_uuid": uuid, "trait": trait} for trait in sorted(wanted)]
    return _replace(database, uuid, generation, _traits, rows)


def aggregates(database: Database, uuid: str) -> tuple[str, ...]:
    """Return the aggregates that a provider is in, in order."""
    query = sa.select(_aggregates.c.aggregate_uuid).where(_aggregates.c.provider_uuid == uuid)
    query = query.order_by(_aggregates.c.aggregate_uuid)
    return tuple(database.query(lambda c: c.execute(query).scalars().all()))


def set_aggregates(database: Database, uuid: str, generation: int, wanted: Collection[str]) -> int:
    """Replace the aggregates that a provider is in; return its new generation.

    Raises:
        GenerationConflict: the provider is not at ``generation``.
    """
    rows = [{"provider_uuid": uuid, "aggregate_uuid": name} for name in sorted(wanted)]
    return _replace(database, uuid, generation, _aggregates, rows)


def _replace(
    database: Database,
    uuid: str,
    generation: int,
    table: sa.Table,
    rows: Sequence[Mapping[str, str]],
) -> int:
    def work(connection: sa.Connection) -> int:
        _next_generation(connection, uuid, generation)
        connection.execute(sa.delete(table).where(table.c.provider_uuid == uuid))
        if rows:
            connection.execute(sa.insert(table), list(rows))
        return generation + 1

    return database.write(work)


def custom_names(database: Database, kind: str) -> tuple[str, ...]:
    """Return the custom names of a kind (``class`` or ``trait``) in order."""
    query = sa.select(_custom.c.name).where(_custom.c.kind == kind).order_by(_custom.c.name)
    return tuple(database.query(lambda c: c.execute(query).scalars().all()))


def add_custom_name(database: Database, kind: str, name: str) -> bool:
    """Add a custom name; False if it was there."""
    there = name in custom_names(database, kind)
    row = {"kind": kind, "name": name}
    database.write(lambda c: insert_if_absent(c, _custom, [row], "name"))
    return not there
