"""Traits over HTTP: their names, and which of them a provider has."""

from collections.abc import Callable

from kilonova.core.clock import utcnow
from kilonova.core.errors import Invalid, NotFound
from kilonova.db import placement_names, placement_providers
from kilonova.placement.names import STANDARD_TRAITS, check_traits, custom_traits
from kilonova.placement.schemas import PROVIDER_TRAITS, TRAIT_NAME, TRAITS_QUERY
from kilonova.placement.wire import Answer, Asked


def list_traits(asked: Asked) -> Answer:
    """``GET /traits``, with ``name=in:A,B`` or ``name=startswith:P``, and ``associated``."""
    query = asked.query(TRAITS_QUERY)
    names = sorted(STANDARD_TRAITS) + list(placement_names.custom_names(asked.database, "trait"))
    if "name" in query:
        names = list(filter(_chosen(query["name"]), names))
    if "associated" in query:
        wanted = query["associated"].lower()
        if wanted not in ("true", "false"):
            raise Invalid(f"associated: expected true or false, got {wanted[:200]}")
        used = placement_providers.used_traits(asked.database)
        names = [name for name in names if (name in used) == (wanted == "true")]
    return Answer({"traits": names})


def _chosen(wanted: str) -> Callable[[str], bool]:
    operator, colon, value = wanted.partition(":")
    if not colon or operator not in ("in", "startswith"):
        raise Invalid(f"name: expected in:NAME,NAME or startswith:PREFIX, got {wanted[:200]}")
    if operator == "startswith":
        return lambda name: name.startswith(value)
    return frozenset(value.split(",")).__contains__


def show(asked: Asked, name: str) -> Answer:
    """``GET /traits/{name}``: whether it is there."""
    _require(asked, name)
    return Answer(status=204, modified=utcnow())


def _require(asked: Asked, name: str) -> None:
    if name not in STANDARD_TRAITS and placement_names.unknown(asked.database, "trait", [name]):
        raise NotFound(f"No such trait(s): {name}.")


def update(asked: Asked, name: str) -> Answer:
    """``PUT /traits/{name}``: makes sure that it is there."""
    if not TRAIT_NAME.is_valid(name):
        raise Invalid(
            f"name: a trait of one's own begins with CUSTOM_, goes on with A-Z, 0-9 and _, and has at "
            f"most 255 characters; {name[:300]} does not"
        )
    created = placement_names.add(asked.database, "trait", name)
    return Answer(
        status=201 if created else 204,
        headers=asked.location(f"/traits/{name}"),
        modified=utcnow(),
    )


def delete(asked: Asked, name: str) -> Answer:
    """``DELETE /traits/{name}``."""
    if name in STANDARD_TRAITS:
        raise Invalid(f"Cannot delete standard trait {name}.")
    placement_names.delete(asked.database, "trait", name)
    return Answer(status=204)


def list_of_provider(asked: Asked, uuid: str) -> Answer:
    """``GET /resource_providers/{uuid}/traits``."""
    provider = placement_providers.get(asked.database, uuid)
    names = placement_providers.traits(asked.database, uuid)
    body = {"resource_provider_generation": provider.generation, "traits": names}
    return Answer(body, modified=provider.updated_at)


def set_of_provider(asked: Asked, uuid: str) -> Answer:
    """``PUT /resource_providers/{uuid}/traits``: replaces all of them."""
    body = asked.body(PROVIDER_TRAITS)
    wanted = set(body["traits"])
    placement_providers.get(asked.database, uuid)
    check_traits(asked.database, wanted)
    generation = placement_providers.set_traits(
        asked.database,
        uuid,
        int(body["resource_provider_generation"]),
        wanted,
        custom_traits(wanted),
    )
    return Answer({"resource_provider_generation": generation, "traits": sorted(wanted)})


def delete_of_provider(asked: Asked, uuid: str) -> Answer:
    """``DELETE /resource_providers/{uuid}/traits``."""
    placement_providers.set_traits(asked.database, uuid, None, ())
    return Answer(status=204)
