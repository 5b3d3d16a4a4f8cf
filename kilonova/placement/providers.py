"""Resource providers over HTTP: themselves, what they have, and who uses it."""

import uuid as uuids
from typing import Any

import msgspec
from jsonschema import Draft202012Validator

from kilonova.core.errors import Invalid, NotFound
from kilonova.core.scheduling import Inventory
from kilonova.db import placement_candidates, placement_providers
from kilonova.db.placement_providers import Held, StoredProvider
from kilonova.placement.names import check_classes, check_traits
from kilonova.placement.wire import Answer, Asked, Version

_UUID = {"type": "string", "format": "uuid", "minLength": 32, "maxLength": 36}
_NAME = {"type": "string", "minLength": 1, "maxLength": 200}
_COUNT = {"type": "integer", "minimum": 0, "maximum": 2147483647}
_AMOUNT = {"type": "integer", "minimum": 1, "maximum": 2147483647}


def _object(properties: dict[str, Any], required: list[str]) -> Draft202012Validator:
    return Draft202012Validator(
        {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }
    )


_CREATE = _object({"name": _NAME, "uuid": _UUID}, ["name"])
_RENAME = _object({"name": _NAME}, ["name"])
_INVENTORIES = _object(
    {
        "resource_provider_generation": {"type": "integer"},
        "inventories": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {
                    "total": _AMOUNT,
                    "reserved": _COUNT,
                    "min_unit": _AMOUNT,
                    "max_unit": _AMOUNT,
                    "step_size": _AMOUNT,
                    "allocation_ratio": {"type": "number", "exclusiveMinimum": 0, "maximum": 1e9},
                },
                "required": ["total"],
                "additionalProperties": False,
            },
        },
    },
    ["resource_provider_generation", "inventories"],
)
_TRAITS = _object(
    {
        "resource_provider_generation": {"type": "integer"},
        "traits": {"type": "array", "items": {"type": "string"}},
    },
    ["resource_provider_generation", "traits"],
)
_AGGREGATES = _object(
    {
        "resource_provider_generation": {"type": "integer"},
        "aggregates": {"type": "array", "items": _UUID, "uniqueItems": True},
    },
    ["resource_provider_generation", "aggregates"],
)
_AGGREGATES_UNGUARDED = Draft202012Validator({"type": "array", "items": _UUID, "uniqueItems": True})


def view(provider: StoredProvider, version: Version) -> dict[str, Any]:
    """Return a provider as JSON, at a microversion."""
    base = f"/resource_providers/{provider.uuid}"
    links = ["inventories", "usages"]
    links += ["aggregates"] if version >= (1, 1) else []
    links += ["traits"] if version >= (1, 6) else []
    links += ["allocations"] if version >= (1, 11) else []
    shown: dict[str, Any] = {
        "uuid": provider.uuid,
        "name": provider.name,
        "generation": provider.generation,
        "links": [{"rel": "self", "href": base}]
        + [{"rel": name, "href": f"{base}/{name}"} for name in links],
    }
    if version >= (1, 14):
        shown |= {"parent_provider_uuid": None, "root_provider_uuid": provider.uuid}
    return shown


def list_providers(asked: Asked) -> Answer:
    """``GET /resource_providers`` by name, uuid, member_of, in_tree, resources and required."""
    param = asked.http.get_param
    for known in asked.http.params:
        if known not in ("name", "uuid", "member_of", "in_tree", "resources", "required"):
            raise Invalid(f"Invalid query string parameters: unexpected {known}")
    members = _any_of(param("member_of")) if param("member_of") else ()
    found = placement_providers.find(
        asked.database,
        name=param("name"),
        uuid=param("uuid") or param("in_tree"),
        member_of=members,
    )
    if param("resources") or param("required"):
        fit = _fitting(asked)
        found = tuple(provider for provider in found if provider.uuid in fit)
    return Answer({"resource_providers": [view(p, asked.version) for p in found]})


def _any_of(text: str | None) -> tuple[str, ...]:
    return tuple((text or "").removeprefix("in:").split(","))


def _fitting(asked: Asked) -> frozenset[str]:
    wanted = read_wanted(asked)
    return frozenset(placement_candidates.with_room(asked.database, wanted, 1_000_000))


def read_wanted(asked: Asked) -> placement_candidates.Wanted:
    """Return what ``resources``, ``required`` and ``member_of`` of a query ask for.

    Raises:
        Invalid: naming the parameter.
    """
    resources = {}
    for part in (asked.http.get_param("resources") or "").split(","):
        name, _, amount = part.partition(":")
        if not name or not amount.isdigit() or not 0 < int(amount) <= 2147483647:
            raise Invalid(
                "resources: badly formed, expected a string such as VCPU:1,MEMORY_MB:512, "
                f"got {part!r}"
            )
        resources[name] = int(amount)
    check_classes(asked.database, set(resources))
    required = [t for t in (asked.http.get_param("required") or "").split(",") if t]
    check_traits(asked.database, {trait.removeprefix("!") for trait in required})
    members = asked.http.get_param_as_list("member_of", delimiter=None) or []
    return placement_candidates.Wanted(
        resources=resources,
        required=[trait for trait in required if not trait.startswith("!")],
        forbidden=[trait[1:] for trait in required if trait.startswith("!")],
        member_of=[_any_of(member) for member in members],
    )


def create(asked: Asked) -> Answer:
    """``POST /resource_providers``; from 1.20 it answers with the provider."""
    body = asked.body(_CREATE)
    uuid = body.get("uuid") or str(uuids.uuid4())
    provider = placement_providers.create(asked.database, read_uuid(uuid), body["name"])
    headers = {"location": f"/resource_providers/{provider.uuid}"}
    if asked.version >= (1, 20):
        return Answer(view(provider, asked.version), headers=headers)
    return Answer(status=201, headers=headers)


def read_uuid(text: str) -> str:
    """Return a UUID in its usual form.

    Raises:
        Invalid: it is none.
    """
    try:
        return str(uuids.UUID(text))
    except ValueError as error:
        raise Invalid(f"uuid: {text!r} is not a UUID") from error


def show(asked: Asked, uuid: str) -> Answer:
    """``GET /resource_providers/{uuid}``."""
    return Answer(view(placement_providers.get(asked.database, uuid), asked.version))


def update(asked: Asked, uuid: str) -> Answer:
    """``PUT /resource_providers/{uuid}``: renames it."""
    name = asked.body(_RENAME)["name"]
    return Answer(view(placement_providers.rename(asked.database, uuid, name), asked.version))


def delete(asked: Asked, uuid: str) -> Answer:
    """``DELETE /resource_providers/{uuid}``."""
    placement_providers.delete(asked.database, uuid)
    return Answer(status=204)


def _inventory_view(held: Held) -> dict[str, Any]:
    return msgspec.structs.asdict(held.inventory)


def list_inventories(asked: Asked, uuid: str) -> Answer:
    """``GET /resource_providers/{uuid}/inventories``."""
    provider = placement_providers.get(asked.database, uuid)
    held = placement_providers.inventories(asked.database, uuid)
    return Answer(
        {
            "resource_provider_generation": provider.generation,
            "inventories": {name: _inventory_view(one) for name, one in held.items()},
        }
    )


def show_inventory(asked: Asked, uuid: str, name: str) -> Answer:
    """``GET /resource_providers/{uuid}/inventories/{resource_class}``."""
    provider = placement_providers.get(asked.database, uuid)
    held = placement_providers.inventories(asked.database, uuid).get(name)
    if held is None:
        raise NotFound(f"No inventory of class {name} for {uuid}")
    return Answer(_inventory_view(held) | {"resource_provider_generation": provider.generation})


def set_inventories(asked: Asked, uuid: str) -> Answer:
    """``PUT /resource_providers/{uuid}/inventories``: replaces all of them."""
    body = asked.body(_INVENTORIES)
    check_classes(asked.database, set(body["inventories"]))
    wanted = {name: Inventory(**values) for name, values in body["inventories"].items()}
    for name, inventory in wanted.items():
        if inventory.reserved > inventory.total:
            raise Invalid(f"inventories.{name}: reserved is more than total")
        if inventory.reserved == inventory.total and asked.version < (1, 26):
            raise Invalid(f"inventories.{name}: reserved equals total, which needs 1.26")
    placement_providers.get(asked.database, uuid)
    generation = placement_providers.set_inventories(
        asked.database, uuid, body["resource_provider_generation"], wanted
    )
    views = {name: msgspec.structs.asdict(inventory) for name, inventory in wanted.items()}
    return Answer({"resource_provider_generation": generation, "inventories": views})


def list_traits(asked: Asked, uuid: str) -> Answer:
    """``GET /resource_providers/{uuid}/traits``."""
    provider = placement_providers.get(asked.database, uuid)
    traits = placement_providers.traits(asked.database, uuid)
    return Answer({"resource_provider_generation": provider.generation, "traits": traits})


def set_traits(asked: Asked, uuid: str) -> Answer:
    """``PUT /resource_providers/{uuid}/traits``: replaces all of them."""
    body = asked.body(_TRAITS)
    wanted = set(body["traits"])
    check_traits(asked.database, wanted)
    placement_providers.get(asked.database, uuid)
    generation = placement_providers.set_traits(
        asked.database, uuid, body["resource_provider_generation"], wanted
    )
    return Answer({"resource_provider_generation": generation, "traits": sorted(wanted)})


def list_aggregates(asked: Asked, uuid: str) -> Answer:
    """``GET /resource_providers/{uuid}/aggregates``; with the generation from 1.19."""
    provider = placement_providers.get(asked.database, uuid)
    return _aggregates(asked, uuid, provider.generation)


def _aggregates(asked: Asked, uuid: str, generation: int) -> Answer:
    body: dict[str, Any] = {"aggregates": placement_providers.aggregates(asked.database, uuid)}
    if asked.version >= (1, 19):
        body["resource_provider_generation"] = generation
    return Answer(body)


def set_aggregates(asked: Asked, uuid: str) -> Answer:
    """``PUT /resource_providers/{uuid}/aggregates``; guarded by the generation from 1.19."""
    provider = placement_providers.get(asked.database, uuid)
    if asked.version >= (1, 19):
        body = asked.body(_AGGREGATES)
        wanted, generation = body["aggregates"], body["resource_provider_generation"]
    else:
        wanted, generation = asked.body(_AGGREGATES_UNGUARDED), provider.generation
    after = placement_providers.set_aggregates(asked.database, uuid, generation, set(wanted))
    return _aggregates(asked, uuid, after)


def usages(asked: Asked, uuid: str) -> Answer:
    """``GET /resource_providers/{uuid}/usages``."""
    provider = placement_providers.get(asked.database, uuid)
    held = placement_providers.inventories(asked.database, uuid)
    return Answer(
        {
            "resource_provider_generation": provider.generation,
            "usages": {name: one.used for name, one in held.items()},
        }
    )


def list_allocations(asked: Asked, uuid: str) -> Answer:
    """``GET /resource_providers/{uuid}/allocations``."""
    provider = placement_providers.get(asked.database, uuid)
    holdings = placement_candidates.holdings(asked.database, provider=uuid)
    shown: dict[str, Any] = {}
    for holding in holdings:
        entry: dict[str, Any] = {"resources": holding.allocation[uuid]}
        if asked.version >= (1, 28):
            entry["consumer_generation"] = holding.generation
        shown[holding.consumer] = entry
    return Answer({"resource_provider_generation": provider.generation, "allocations": shown})
