"""Inventories over HTTP: how much of each class a provider has."""

from collections.abc import Mapping
from typing import Any

import msgspec

from kilonova.core.errors import Invalid, NotFound
from kilonova.core.scheduling import Inventory
from kilonova.db import placement_inventories, placement_providers
from kilonova.placement.names import check_classes, custom_classes
from kilonova.placement.schemas import INVENTORIES, INVENTORY_CREATE, INVENTORY_UPDATE
from kilonova.placement.wire import Answer, Asked, Version


def read(values: Mapping[str, Any]) -> Inventory:
    """Return the inventory that a validated body describes."""
    known = {name: values[name] for name in Inventory.__struct_fields__ if name in values}
    ratio = float(known.pop("allocation_ratio", 1.0))
    return Inventory(allocation_ratio=ratio, **{name: int(n) for name, n in known.items()})


def check(
    uuid: str, inventories: Mapping[str, Inventory], version: Version, verb: str = "update"
) -> None:
    """Refuse inventories that leave nothing to allocate; from 1.26 on, less than nothing.

    ``verb`` says what could not be done.

    Raises:
        Invalid: naming the class.
    """
    least = 0 if version >= (1, 26) else 1
    for name, inventory in inventories.items():
        if inventory.capacity < least or inventory.reserved > inventory.total:
            raise Invalid(
                f"Unable to {verb} inventory for resource provider {uuid}: inventories.{name}: "
                f"reserved is greater than {'or equal to ' if least else ''}total, or the ratio "
                "leaves nothing."
            )


def _answer(
    name_or_all: Mapping[str, Inventory] | Inventory, generation: int, **more: Any
) -> Answer:
    shown: dict[str, Any]
    if isinstance(name_or_all, Inventory):
        shown = msgspec.structs.asdict(name_or_all)
    else:
        shown = {"inventories": dict(name_or_all)}
    return Answer(shown | {"resource_provider_generation": generation}, **more)


def list_of_provider(asked: Asked, uuid: str) -> Answer:
    """``GET /resource_providers/{uuid}/inventories``."""
    provider = placement_providers.get(asked.database, uuid)
    held = placement_inventories.of(asked.database, uuid)
    inventories = {name: one.inventory for name, one in held.items()}
    return _answer(inventories, provider.generation, modified=provider.updated_at)


def show(asked: Asked, uuid: str, name: str) -> Answer:
    """``GET /resource_providers/{uuid}/inventories/{resource_class}``."""
    provider = placement_providers.get(asked.database, uuid)
    held = placement_inventories.of(asked.database, uuid).get(name)
    if held is None:
        raise NotFound(f"No inventory of class {name} for {uuid}")
    return _answer(held.inventory, provider.generation, modified=provider.updated_at)


def set_all(asked: Asked, uuid: str) -> Answer:
    """``PUT /resource_providers/{uuid}/inventories``: replaces all of them."""
    placement_providers.get(asked.database, uuid)
    body = asked.body(INVENTORIES)
    wanted = {name: read(values) for name, values in body["inventories"].items()}
    check_classes(asked.database, wanted, "Unknown resource class in inventory")
    check(uuid, wanted, asked.version)
    generation = placement_inventories.replace(
        asked.database,
        uuid,
        int(body["resource_provider_generation"]),
        wanted,
        custom_classes(wanted),
    )
    return _answer(wanted, generation)


def create(asked: Asked, uuid: str) -> Answer:
    """``POST /resource_providers/{uuid}/inventories``: adds one class."""
    placement_providers.get(asked.database, uuid)
    body = asked.body(INVENTORY_CREATE)
    name, inventory = body["resource_class"], read(body)
    check_classes(
        asked.database, {name}, f"Unable to create inventory for resource provider {uuid}"
    )
    check(uuid, {name: inventory}, asked.version, "create")
    generation = placement_inventories.add(
        asked.database, uuid, name, inventory, custom_classes({name})
    )
    where = asked.location(f"/resource_providers/{uuid}/inventories/{name}")
    return _answer(inventory, generation, status=201, headers=where)


def update(asked: Asked, uuid: str, name: str) -> Answer:
    """``PUT /resource_providers/{uuid}/inventories/{resource_class}``."""
    placement_providers.get(asked.database, uuid)
    body = asked.body(INVENTORY_UPDATE)
    inventory = read(body)
    check(uuid, {name: inventory}, asked.version)
    generation = placement_inventories.change(
        asked.database, uuid, int(body["resource_provider_generation"]), name, inventory
    )
    return _answer(inventory, generation)


def delete(asked: Asked, uuid: str, name: str) -> Answer:
    """``DELETE /resource_providers/{uuid}/inventories/{resource_class}``."""
    placement_inventories.remove(asked.database, uuid, name)
    return Answer(status=204)


def delete_all(asked: Asked, uuid: str) -> Answer:
    """``DELETE /resource_providers/{uuid}/inventories``."""
    placement_inventories.replace(asked.database, uuid, None, {})
    return Answer(status=204)
