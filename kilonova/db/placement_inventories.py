"""Inventories: how much of each class providers have, and how much of it is used.

Every change locks the provider first, so what is used cannot change meanwhile.
"""

from collections.abc import Collection, Mapping

import msgspec
import os_resource_classes
import sqlalchemy as sa

from kilonova.core.errors import GenerationConflict, Invalid, InventoryInUse, NotFound
from kilonova.core.scheduling import Inventory
from kilonova.db import placement_names
from kilonova.db.engine import Database
from kilonova.db.placement_providers import next_generation
from kilonova.db.placement_schema import StoredInventory
from kilonova.db.statements import table_of

_inventories = table_of(StoredInventory)
_MOST = 1 << 62
"""No capacity is larger, whatever the ratio: it must be a number that every database adds to."""


_ORDER = {name: place for place, name in enumerate(os_resource_classes.STANDARDS)}
"""Sentences name classes in the order of the standard list."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """An inventory with what is used of it."""

    inventory: Inventory
    used: int


def of(database: Database, uuid: str) -> dict[str, Held]:
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


def replace(
    database: Database,
    uuid: str,
    generation: int | None,
    wanted: Mapping[str, Inventory],
    custom: Collection[str] = (),
) -> int:
    """Replace all inventories of a provider; return its new generation.

    ``custom`` are the classes that are not standard.

    Raises:
        NotFound: there is no such provider.
        GenerationConflict: the provider is not at ``generation``.
        InventoryInUse: a class that is left out is in use, or shrinks below its use.
        Invalid: a custom class is not there.
    """

    def work(connection: sa.Connection) -> int:
        now = next_generation(connection, uuid, generation)
        placement_names.hold(connection, "class", custom)
        before = write(connection, uuid, wanted)
        check_use(connection, uuid, before)
        drop_others(connection, uuid, wanted)
        return now

    return database.write(work)


def add(
    database: Database, uuid: str, name: str, inventory: Inventory, custom: Collection[str] = ()
) -> int:
    """Give a provider the inventory of one more class; return its new generation.

    Raises:
        NotFound: there is no such provider.
        GenerationConflict: it has one of that class.
        Invalid: a custom class is not there.
    """

    def work(connection: sa.Connection) -> int:
        now = next_generation(connection, uuid, None)
        placement_names.hold(connection, "class", custom)
        if name in _capacities(connection, uuid):
            raise GenerationConflict(f"Update conflict: {uuid} has an inventory of {name} already.")
        write(connection, uuid, {name: inventory})
        return now

    return database.write(work)


def change(database: Database, uuid: str, generation: int, name: str, inventory: Inventory) -> int:
    """Replace one inventory of a provider; return its new generation.

    Raises:
        NotFound: there is no such provider.
        GenerationConflict: the provider is not at ``generation``.
        InventoryInUse: it shrinks below its use.
        Invalid: it has no inventory of that class.
    """

    def work(connection: sa.Connection) -> int:
        now = next_generation(connection, uuid, generation)
        before = write(connection, uuid, {name: inventory})
        if name not in before:
            raise Invalid(f"No inventory record with resource class {name} for {uuid}.")
        check_use(connection, uuid, before)
        return now

    return database.write(work)


def remove(database: Database, uuid: str, name: str) -> None:
    """Take one inventory from a provider.

    Raises:
        NotFound: there is no such provider, or it has no inventory of that class.
        InventoryInUse: it is in use.
    """

    def work(connection: sa.Connection) -> None:
        next_generation(connection, uuid, None)
        there = _capacities(connection, uuid)
        if name not in there:
            raise NotFound(f"No inventory of class {name} found for delete on {uuid}")
        drop_others(connection, uuid, there.keys() - {name})

    database.write(work)


def _capacities(connection: sa.Connection, uuid: str) -> dict[str, int]:
    query = sa.select(_inventories.c.resource_class, _inventories.c.capacity)
    rows = connection.execute(query.where(_inventories.c.provider_uuid == uuid))
    return {row.resource_class: row.capacity for row in rows}


def write(
    connection: sa.Connection, uuid: str, wanted: Mapping[str, Inventory]
) -> Mapping[str, int]:
    """Write inventories of a provider that this transaction has locked; leave its others, and all use.

    Returns the capacity that it had before of each class.
    """
    there = _capacities(connection, uuid)
    mine = _inventories.c.provider_uuid == uuid
    new = []
    for name, inventory in wanted.items():
        values = msgspec.structs.asdict(inventory)
        values["capacity"] = min(inventory.capacity, _MOST)
        if name in there:
            same = _inventories.c.resource_class == name
            connection.execute(sa.update(_inventories).where(mine, same).values(values))
        else:
            new.append(values | {"provider_uuid": uuid, "resource_class": name, "used": 0})
    if new:
        connection.execute(sa.insert(_inventories), new)
    return there


def check_use(connection: sa.Connection, uuid: str, before: Mapping[str, int]) -> None:
    """Refuse that inventories of a provider shrank, from the capacities before, below what is used of them.

    One whose use was above its capacity already may still grow.

    Raises:
        InventoryInUse: naming each, with the numbers.
    """
    columns = _inventories.c
    query = sa.select(columns.resource_class, columns.used, columns.capacity).where(
        columns.provider_uuid == uuid, columns.used > columns.capacity
    )
    shrunk = [
        f"inventories.{row.resource_class}: capacity {row.capacity}, used {row.used}"
        for row in connection.execute(query.order_by(columns.resource_class))
        if row.capacity < before.get(row.resource_class, 0)
    ]
    if shrunk:
        raise InventoryInUse(
            f"Inventory on resource provider '{uuid}' would shrink below its use: "
            f"{'; '.join(shrunk)}."
        )


def drop_others(connection: sa.Connection, uuid: str, kept: Collection[str]) -> None:
    """Remove the inventories, of a provider that this transaction has locked, that are not to be kept.

    Raises:
        InventoryInUse: naming those that are in use.
    """
    others = (_inventories.c.provider_uuid == uuid, _inventories.c.resource_class.not_in(kept))
    used = sa.select(_inventories.c.resource_class).where(*others, _inventories.c.used > 0)
    busy = sorted(
        connection.execute(used).scalars(), key=lambda name: (_ORDER.get(name, 999), name)
    )
    if busy:
        raise InventoryInUse(
            f"Inventory for '{', '.join(busy)}' on resource provider '{uuid}' in use."
        )
    connection.execute(sa.delete(_inventories).where(*others))
