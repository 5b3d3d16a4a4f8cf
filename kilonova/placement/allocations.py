"""Allocations over HTTP: what consumers hold of providers."""

import uuid as uuids
from collections.abc import Mapping
from typing import Any

from kilonova.core.errors import Invalid, MalformedBody, NoCapacity, NotFound
from kilonova.core.ids import ConsumerUuid
from kilonova.core.scheduling import Allocation
from kilonova.db import placement_claims, placement_holdings, placement_providers
from kilonova.db.placement_claims import Claim
from kilonova.placement.names import check_classes
from kilonova.placement.schemas import ALLOCATIONS, MANY_ALLOCATIONS, since
from kilonova.placement.wire import Answer, Asked, is_uuid, latest

NOBODY = "00000000-0000-0000-0000-000000000000"
"""Whose the allocations are that a client makes below microversion 1.8, which names nobody."""


def _allocation(allocations: Any) -> Allocation:
    if isinstance(allocations, list):
        pairs = [(one["resource_provider"]["uuid"], one["resources"]) for one in allocations]
    else:
        pairs = [(uuid, one["resources"]) for uuid, one in allocations.items()]
    return {
        uuid.lower(): {name: int(amount) for name, amount in resources.items()}
        for uuid, resources in pairs
    }


def read_claim(asked: Asked, consumer: str, body: Mapping[str, Any]) -> Claim:
    """Return what a validated body says that a consumer is to hold.

    Raises:
        Invalid: the consumer is no UUID.
    """
    if not is_uuid(consumer):
        raise Invalid(f"Malformed consumer_uuid: {consumer[:200]}")
    owned = asked.version >= (1, 8)
    return Claim(
        consumer=ConsumerUuid(str(uuids.UUID(consumer))),
        project_id=body["project_id"] if owned else NOBODY,
        user_id=body["user_id"] if owned else NOBODY,
        allocation=_allocation(body["allocations"]),
        generation=_generation(body) if asked.version >= (1, 28) else -1,
        consumer_type=body.get("consumer_type"),
    )


def _generation(body: Mapping[str, Any]) -> int | None:
    given = body["consumer_generation"]
    # A claim's -1 means not to compare, which is for this service to say.
    return given if given is None or given >= 0 else -2


def _replace(asked: Asked, claims: list[Claim]) -> Answer:
    try:
        asked.rounds.claim(claims)
    except NoCapacity:
        # Only now: what has an inventory has a class.
        for claim in claims:
            names = {name for amounts in claim.allocation.values() for name in amounts}
            what = f"Unable to allocate inventory for consumer {claim.consumer}"
            check_classes(asked.database, names, what)
        raise
    return Answer(status=204)


def update(asked: Asked, consumer: str) -> Answer:
    """``PUT /allocations/{consumer}``: in place of what it holds."""
    if not is_uuid(consumer):
        raise Invalid(f"Malformed consumer_uuid: {consumer[:200]}")
    body = asked.body(since(asked.version, ALLOCATIONS))
    return _replace(asked, [read_claim(asked, consumer, body)])


def update_many(asked: Asked) -> Answer:
    """``POST /allocations``: for all of the consumers, or for none."""
    body = asked.body(since(asked.version, MANY_ALLOCATIONS))
    claims = [read_claim(asked, consumer, one) for consumer, one in body.items()]
    if len({claim.consumer for claim in claims}) < len(claims):
        raise MalformedBody("JSON does not validate: a consumer is named twice")
    return _replace(asked, claims)


def show(asked: Asked, consumer: str) -> Answer:
    """``GET /allocations/{consumer}``: nothing, if it holds nothing."""
    holding = placement_holdings.of_consumer(asked.database, consumer)
    if holding is None:
        return Answer({"allocations": {}})
    body: dict[str, Any] = {
        "allocations": {
            uuid: {"resources": amounts, "generation": holding.provider_generations[uuid]}
            for uuid, amounts in holding.allocation.items()
        }
    }
    if asked.version >= (1, 12):
        body |= {"project_id": holding.project_id, "user_id": holding.user_id}
    if asked.version >= (1, 28):
        body["consumer_generation"] = holding.generation
    if asked.version >= (1, 38):
        body["consumer_type"] = holding.consumer_type
    return Answer(body, modified=holding.updated_at)


def delete(asked: Asked, consumer: str) -> Answer:
    """``DELETE /allocations/{consumer}``."""
    if not placement_claims.free(asked.database, [ConsumerUuid(consumer)]):
        raise NotFound(f"No allocations for consumer '{consumer}'")
    return Answer(status=204)


def list_of_provider(asked: Asked, uuid: str) -> Answer:
    """``GET /resource_providers/{uuid}/allocations``: who holds what of it."""
    provider = placement_providers.get(asked.database, uuid)
    holdings = placement_holdings.of_provider(asked.database, uuid)
    shown: dict[str, Any] = {}
    for holding in holdings:
        shown[holding.consumer] = {"resources": holding.allocation[uuid]}
        if asked.version >= (1, 28):
            shown[holding.consumer]["consumer_generation"] = holding.generation
    return Answer(
        {"resource_provider_generation": provider.generation, "allocations": shown},
        modified=latest([holding.updated_at for holding in holdings]),
    )
