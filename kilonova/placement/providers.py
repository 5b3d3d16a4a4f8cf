"""Resource providers over HTTP."""

import uuid as uuids
from typing import Any

from kilonova.core.errors import Invalid
from kilonova.db import placement_providers, placement_trees
from kilonova.db.placement_providers import StoredProvider
from kilonova.db.placement_trees import Query
from kilonova.placement import parameters
from kilonova.placement.names import check_classes, check_traits
from kilonova.placement.schemas import PROVIDER_CREATE, PROVIDER_QUERY, PROVIDER_UPDATE, since
from kilonova.placement.wire import Answer, Asked, latest


def _view(asked: Asked, provider: StoredProvider) -> dict[str, Any]:
    version = asked.version
    base = asked.path(f"/resource_providers/{provider.uuid}")
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
        shown["parent_provider_uuid"] = provider.parent_uuid
        shown["root_provider_uuid"] = provider.root_uuid
    return shown


def _answer(asked: Asked, provider: StoredProvider) -> Answer:
    return Answer(_view(asked, provider), modified=provider.updated_at)


def list_providers(asked: Asked) -> Answer:
    """``GET /resource_providers``, by whatever the microversion lets one ask for."""
    query = asked.query(since(asked.version, PROVIDER_QUERY))
    given = asked.parameters
    resources = parameters.resources(query["resources"]) if "resources" in query else {}
    traits = parameters.traits(given.get("required", []), asked.version)
    aggregates = parameters.aggregates(given.get("member_of", []), asked.version)
    check_classes(asked.database, resources, "Invalid resource class in resources parameter")
    check_traits(asked.database, traits.names)
    found = placement_trees.find(
        asked.database,
        Query(
            name=query.get("name"),
            uuid=query.get("uuid"),
            in_tree=query.get("in_tree"),
            required=traits.any_of,
            forbidden=traits.forbidden,
            member_of=aggregates.any_of,
            not_member_of=aggregates.forbidden,
            resources=resources,
        ),
    )
    body = {"resource_providers": [_view(asked, provider) for provider in found]}
    return Answer(body, modified=latest([provider.updated_at for provider in found]))


def create(asked: Asked) -> Answer:
    """``POST /resource_providers``; from 1.20 it answers with the provider."""
    body = asked.body(since(asked.version, PROVIDER_CREATE))
    uuid = str(uuids.UUID(body["uuid"])) if "uuid" in body else str(uuids.uuid4())
    parent = body.get("parent_provider_uuid")
    if parent == uuid:
        raise Invalid(
            f"Unable to create resource provider {uuid}: parent_provider_uuid: it would be its own "
            "parent."
        )
    provider = placement_providers.create(asked.database, uuid, body["name"], parent)
    answer = _answer(asked, provider) if asked.version >= (1, 20) else Answer(status=201)
    answer.headers |= asked.location(f"/resource_providers/{uuid}")
    return answer


def show(asked: Asked, uuid: str) -> Answer:
    """``GET /resource_providers/{uuid}``."""
    return _answer(asked, placement_providers.get(asked.database, uuid))


def update(asked: Asked, uuid: str) -> Answer:
    """``PUT /resource_providers/{uuid}``: its name and, from 1.14 on, its parent; again from 1.37 on."""
    placement_providers.get(asked.database, uuid)
    body = asked.body(since(asked.version, PROVIDER_UPDATE))
    if "parent_provider_uuid" not in body:
        return _answer(asked, placement_providers.rename(asked.database, uuid, body["name"]))
    moved = placement_trees.move(
        asked.database,
        uuid,
        body["name"],
        body["parent_provider_uuid"],
        again=asked.version >= (1, 37),
    )
    return _answer(asked, moved)


def delete(asked: Asked, uuid: str) -> Answer:
    """``DELETE /resource_providers/{uuid}``."""
    placement_providers.delete(asked.database, uuid)
    return Answer(status=204)
