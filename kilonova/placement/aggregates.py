"""The aggregates of a provider over HTTP. An aggregate is there when a provider is in it."""

from typing import Any

from kilonova.db import placement_providers
from kilonova.placement.schemas import AGGREGATES, since
from kilonova.placement.wire import Answer, Asked


def list_of_provider(asked: Asked, uuid: str) -> Answer:
    """``GET /resource_providers/{uuid}/aggregates``; with the generation from 1.19."""
    provider = placement_providers.get(asked.database, uuid)
    names = placement_providers.aggregates(asked.database, uuid)
    return Answer(_view(asked, names, provider.generation), modified=provider.updated_at)


def _view(asked: Asked, names: tuple[str, ...], generation: int) -> dict[str, Any]:
    body: dict[str, Any] = {"aggregates": names}
    if asked.version >= (1, 19):
        body["resource_provider_generation"] = generation
    return body


def set_of_provider(asked: Asked, uuid: str) -> Answer:
    """``PUT /resource_providers/{uuid}/aggregates``: replaces all; guarded by the generation from 1.19."""
    placement_providers.get(asked.database, uuid)
    body = asked.body(since(asked.version, AGGREGATES))
    wanted, given = body, None
    if asked.version >= (1, 19):
        wanted, given = body["aggregates"], int(body["resource_provider_generation"])
    generation = placement_providers.set_aggregates(asked.database, uuid, given, wanted)
    return Answer(_view(asked, tuple(wanted), generation))
