"""Resource providers: their trees, and which traits and aggregates are theirs.

Whoever changes what a provider offers, or what is used of it, locks its row first (``touch``, or
``next_generation``). So nobody else does meanwhile, and providers locked in the order of their UUIDs never
deadlock.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import exc

from kilonova.core.clock import utcnow
from kilonova.core.errors import (
    DuplicateName,
    GenerationConflict,
    NoSuchProvider,
    NotFound,
    ProviderHasChildren,
    ProviderInUse,
)
from kilonova.db import placement_names
from kilonova.db.engine import Database
from kilonova.db.placement_schema import (
    Provider,
    ProviderAggregate,
    ProviderTrait,
    StoredInventory,
)
from kilonova.db.statements import table_of

_providers = table_of(Provider)
_inventories = table_of(StoredInventory)
_traits = table_of(ProviderTrait)
_aggregates = table_of(ProviderAggregate)


class StoredProvider(msgspec.Struct, frozen=True, kw_only=True):
    """A resource provider. ``updated_at`` is UTC without a zone."""

    uuid: str
    name: str
    generation: int
    parent_uuid: str | None
    root_uuid: str
    updated_at: datetime


_COLUMNS = [_providers.c[name] for name in StoredProvider.__struct_fields__]
_uuid: sa.BindParameter[Any] = sa.bindparam("uuid")
_ONE = sa.select(*_COLUMNS).where(_providers.c.uuid == _uuid)
_GENERATION = sa.select(_providers.c.generation).where(_providers.c.uuid == _uuid)
_AGGREGATES = (
    sa.select(_aggregates.c.aggregate_uuid)
    .where(_aggregates.c.provider_uuid == _uuid)
    .order_by(_aggregates.c.aggregate_uuid)
)


def select_providers() -> sa.Select[Any]:
    """Return the SELECT of all providers; ``stored`` makes each row a provider."""
    return sa.select(*_COLUMNS)


def stored(row: sa.RowMapping) -> StoredProvider:
    """Return a row of ``select_providers`` as a provider."""
    return StoredProvider(**row)


def touch(connection: sa.Connection, uuids: Collection[str], *, grow: bool) -> int:
    """Lock providers until the transaction ends, in the order of their UUIDs; return how many there are.

    ``grow`` gives each its next generation.
    """
    # PostgreSQL's UPDATE locks rows as it comes across them; the others go by the primary key.
    ordered = len(uuids) > 1 and connection.dialect.name == "postgresql"
    parameters = {"uuids": sorted(uuids), "now": utcnow()}
    return connection.execute(_touching(grow, ordered), parameters).rowcount


@cache
def _touching(grow: bool, ordered: bool) -> sa.Update:
    mine = _providers.c.uuid.in_(sa.bindparam("uuids", expanding=True))
    if ordered:
        query = sa.select(_providers.c.uuid).where(mine).order_by(_providers.c.uuid)
        locked = query.with_for_update().cte("locked")
        mine = _providers.c.uuid.in_(sa.select(locked.c.uuid))
    values: dict[str, Any] = {"updated_at": sa.bindparam("now")}
    if grow:
        values["generation"] = _providers.c.generation + 1
    return sa.update(_providers).where(mine).values(values)


def next_generation(
    connection: sa.Connection, uuid: str, generation: int | None, *, grow: bool = True
) -> int:
    """Lock a provider until the transaction ends and return its new generation.

    ``generation`` is what the caller read it with, None for one that did not read it. Without ``grow`` it
    is only locked and compared.

    Raises:
        NotFound: there is none of that UUID.
        GenerationConflict: somebody else changed it since.
    """
    if not touch(connection, [uuid], grow=grow):
        raise NotFound(f"No resource provider with uuid {uuid} found")
    now: int = connection.execute(_GENERATION, {"uuid": uuid}).scalar_one()
    before = now - 1 if grow else now
    if generation not in (None, before):
        raise GenerationConflict(
            f"resource provider generation conflict for provider {uuid}: actual: {before}, "
            f"given: {generation}"
        )
    return now


def create(
    database: Database, uuid: str, name: str, parent_uuid: str | None = None
) -> StoredProvider:
    """Write a provider.

    Raises:
        DuplicateName: its UUID or its name is taken.
        NoSuchProvider: there is no such parent.
    """

    def work(connection: sa.Connection) -> StoredProvider:
        root = uuid
        if parent_uuid is not None:
            # Held, so that nobody moves or deletes it meanwhile.
            query = sa.select(_providers.c.root_uuid).where(_providers.c.uuid == parent_uuid)
            found = connection.execute(query.with_for_update()).scalar()
            if found is None:
                raise NoSuchProvider(
                    f"parent_provider_uuid: there is no resource provider {parent_uuid}"
                )
            root = found
        made = StoredProvider(
            uuid=uuid,
            name=name,
            generation=0,
            parent_uuid=parent_uuid,
            root_uuid=root,
            updated_at=utcnow(),
        )
        connection.execute(sa.insert(_providers), [msgspec.structs.asdict(made)])
        return made

    try:
        return database.write(work)
    except exc.IntegrityError as error:
        taken = find_named(database, name)
        field = f"name: {name}" if taken else f"uuid: {uuid}"
        raise DuplicateName(f"Conflicting resource provider {field} already exists.") from error


def find_named(database: Database, name: str) -> bool:
    """Whether there is a provider of that name."""
    query = sa.select(_providers.c.uuid).where(_providers.c.name == name)
    return database.query(lambda c: c.execute(query).first()) is not None


def get(database: Database, uuid: str) -> StoredProvider:
    """Return a provider.

    Raises:
        NotFound: there is none of that UUID.
    """
    row = database.query(lambda c: c.execute(_ONE, {"uuid": uuid}).mappings().first())
    if row is None:
        raise NotFound(f"No resource provider with uuid {uuid} found")
    return stored(row)


def rename(database: Database, uuid: str, name: str) -> StoredProvider:
    """Give a provider another name.

    Raises:
        NotFound: there is none of that UUID.
        DuplicateName: the name is taken.
    """
    change = sa.update(_providers).where(_providers.c.uuid == uuid)
    change = change.values(name=name, updated_at=utcnow())
    try:
        database.write(lambda c: c.execute(change))
    except exc.IntegrityError as error:
        raise name_taken(name) from error
    return get(database, uuid)


def name_taken(name: str) -> DuplicateName:
    """Return the error of a name that another provider has."""
    return DuplicateName(f"Conflicting resource provider name: {name} already exists.")


def delete(database: Database, uuid: str) -> None:
    """Remove a provider that nobody uses.

    Raises:
        NotFound: there is none of that UUID.
        ProviderInUse: it has allocations.
        ProviderHasChildren: it is the parent of others.
    """

    def work(connection: sa.Connection) -> None:
        if not touch(connection, [uuid], grow=False):
            raise NotFound(f"No resource provider with uuid {uuid} found for delete")
        children = sa.select(_providers.c.uuid).where(_providers.c.parent_uuid == uuid)
        if connection.execute(children.limit(1)).first():
            raise ProviderHasChildren(
                f"Unable to delete resource provider {uuid}: it is the parent of others."
            )
        mine = _inventories.c.provider_uuid == uuid
        used = sa.select(_inventories.c.resource_class).where(mine, _inventories.c.used > 0)
        if connection.execute(used.limit(1)).first():
            raise ProviderInUse(f"Unable to delete resource provider {uuid}: it has allocations.")
        for table in (_inventories, _traits, _aggregates):
            connection.execute(sa.delete(table).where(table.c.provider_uuid == uuid))
        connection.execute(sa.delete(_providers).where(_providers.c.uuid == uuid))

    try:
        database.write(work)
    except exc.IntegrityError as error:
        raise ProviderInUse(
            f"Unable to delete resource provider {uuid}: it has allocations."
        ) from error


def traits(database: Database, uuid: str) -> tuple[str, ...]:
    """Return a provider's traits in order."""
    query = sa.select(_traits.c.trait).where(_traits.c.provider_uuid == uuid)
    query = query.order_by(_traits.c.trait)
    return tuple(database.query(lambda c: c.execute(query).scalars().all()))


def used_traits(database: Database) -> frozenset[str]:
    """Return the traits that any provider has."""
    query = sa.select(_traits.c.trait).distinct()
    return frozenset(database.query(lambda c: c.execute(query).scalars().all()))


def set_traits(
    database: Database,
    uuid: str,
    generation: int | None,
    wanted: Collection[str],
    custom: Collection[str] = (),
) -> int:
    """Replace a provider's traits; return its new generation. ``custom`` are those that are not standard.

    Raises:
        NotFound: there is no such provider.
        GenerationConflict: the provider is not at ``generation``.
        Invalid: a custom trait is not there.
    """
    rows = [{"provider_uuid": uuid, "trait": trait} for trait in sorted(wanted)]

    def work(connection: sa.Connection) -> int:
        now = next_generation(connection, uuid, generation)
        placement_names.hold(connection, "trait", custom)
        _replace(connection, uuid, _traits, rows)
        return now

    return database.write(work)


def aggregates(database: Database, uuid: str) -> tuple[str, ...]:
    """Return the aggregates that a provider is in, in order."""
    mine = {"uuid": uuid}
    return tuple(database.query(lambda c: c.execute(_AGGREGATES, mine).scalars().all()))


def set_aggregates(
    database: Database, uuid: str, generation: int | None, wanted: Collection[str]
) -> int:
    """Replace the aggregates that a provider is in; return its new generation.

    Raises:
        NotFound: there is no such provider.
        GenerationConflict: the provider is not at ``generation``.
    """
    rows = [{"provider_uuid": uuid, "aggregate_uuid": name} for name in sorted(wanted)]

    def work(connection: sa.Connection) -> int:
        now = next_generation(connection, uuid, generation)
        _replace(connection, uuid, _aggregates, rows)
        return now

    return database.write(work)


def _replace(
    connection: sa.Connection, uuid: str, table: sa.Table, rows: Sequence[Mapping[str, str]]
) -> None:
    connection.execute(sa.delete(table).where(table.c.provider_uuid == uuid))
    if rows:
        connection.execute(sa.insert(table), list(rows))
