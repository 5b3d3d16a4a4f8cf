"""Usages over HTTP: what is used of a provider, and by a project."""

from collections import Counter
from typing import Any

from kilonova.db import placement_holdings, placement_inventories, placement_providers
from kilonova.placement.schemas import USAGES, since
from kilonova.placement.wire import Answer, Asked


def of_provider(asked: Asked, uuid: str) -> Answer:
    """``GET /resource_providers/{uuid}/usages``."""
    provider = placement_providers.get(asked.database, uuid)
    held = placement_inventories.of(asked.database, uuid)
    usages = {name: one.used for name, one in held.items()}
    return Answer({"resource_provider_generation": provider.generation, "usages": usages})


def of_project(asked: Asked) -> Answer:
    """``GET /usages?project_id=...``; grouped by the type of consumer from 1.38 on."""
    query = asked.query(since(asked.version, USAGES))
    kind = query.get("consumer_type")
    found = placement_holdings.usages(
        asked.database,
        query["project_id"],
        user_id=query.get("user_id"),
        consumer_type=None if kind == "all" else kind,
    )
    in_all: Counter[str] = Counter()
    for usage in found.values():
        in_all.update(usage.amounts)
    if asked.version < (1, 38):
        return Answer({"usages": in_all})
    grouped: dict[str, Any] = {
        name: usage.amounts | {"consumer_count": usage.consumers} for name, usage in found.items()
    }
    if kind == "all" and found:
        count = sum(usage.consumers for usage in found.values())
        grouped = {"all": dict(in_all) | {"consumer_count": count}}
    return Answer({"usages": grouped})
