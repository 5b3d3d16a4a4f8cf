"""Allocations over HTTP: what consumers hold, and the bulk claim that every boot makes."""

from typing import Any

import msgspec
from jsonschema import Draft202012Validator

from kilonova.core.errors import Invalid, MalformedBody, NotFound
from kilonova.core.ids import ConsumerUuid
from kilonova.db import placement_candidates, placement_claims
from kilonova.db.placement_claims import Claim
from kilonova.placement.names import check_classes
from kilonova.placement.providers import read_uuid
from kilonova.placement.wire import Answer, Asked, Version

_RESOURCES = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {"type": "integer", "minimum": 1, "maximum": 2147483647},
}
_BY_PROVIDER = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "properties": {"resources": _RESOURCES, "generation": {"type": "integer"}},
        "required": ["resources"],
        "additionalProperties": False,
    },
}
_LISTED = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "properties": {
            "resource_provider": {
                "type": "object",
                "properties": {"uuid": {"type": "string"}},
                "required": ["uuid"],
                "additionalProperties": False,
            },
            "resources": _RESOURCES,
        },
        "required": ["resource_provider", "resources"],
        "additionalProperties": False,
    },
}
_OWNER = {"type": "string", "minLength": 1, "maxLength": 255}
_GENERATION = {"type": ["integer", "null"]}


def _schema(version: Version, *, may_be_empty: bool) -> Draft202012Validator:
    allocations: dict[str, Any] = _LISTED if version < (1, 12) else _BY_PROVIDER
    if version >= (1, 12) and not may_be_empty:
        allocations = allocations | {"minProperties": 1}
    properties: dict[str, Any] = {"allocations": allocations}
    if version >= (1, 8):
        properties |= {"project_id": _OWNER, "user_id": _OWNER}
    if version >= (1, 28):
        properties["consumer_generation"] = _GENERATION
    return Draft202012Validator(
        {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    )


_STEPS: tuple[Version, ...] = ((1, 0), (1, 8), (1, 12), (1, 28))
_PUT = {step: _schema(step, may_be_empty=step >= (1, 28)) for step in _STEPS}
_POST = {
    step: Draft202012Validator(
        {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": _schema(step, may_be_empty=True).schema,
        }
    )
    for step in ((1, 12), (1, 28))
}


def _step(version: Version, schemas: dict[Version, Draft202012Validator]) -> Draft202012Validator:
    return schemas[max(step for step in schemas if step <= version)]


def _claim(asked: Asked, consumer: str, body: dict[str, Any]) -> Claim:
    allocations = body["allocations"]
    if isinstance(allocations, list):
        allocation = {a["resource_provider"]["uuid"]: a["resources"] for a in allocations}
    else:
        allocation = {uuid: a["resources"] for uuid, a in allocations.items()}
    names = {name for amounts in allocation.values() for name in amounts}
    check_classes(asked.database, names)
    known = placement_candidates.generations_of(asked.database, allocation)
    for uuid in sorted(set(allocation) - set(known)):
        raise Invalid(f"Allocation for resource provider '{uuid}' that does not exist.")
    return Claim(
        consumer=ConsumerUuid(read_uuid(consumer)),
        project_id=body.get("project_id", "00000000-0000-0000-0000-000000000000"),
        user_id=body.get("user_id", "00000000-0000-0000-0000-000000000000"),
        allocation=allocation,
        generation=body.get("consumer_generation", -1),
    )


def update(asked: Asked, consumer: str) -> Answer:
    """``PUT /allocations/{consumer}``."""
    body = asked.body(_step(asked.version, _PUT))
    placement_claims.replace_all(asked.database, [_claim(asked, consumer, body)])
    return Answer(status=204)


def change_many(asked: Asked) -> Answer:
    """``POST /allocations``: all of them, or none."""
    body = asked.body(_step(asked.version, _POST))
    claims = [_claim(asked, consumer, one) for consumer, one in body.items()]
    placement_claims.replace_all(asked.database, claims)
    return Answer(status=204)


def show(asked: Asked, consumer: str) -> Answer:
    """``GET /allocations/{consumer}``."""
    holdings = placement_candidates.holdings(asked.database, consumer=consumer)
    if not holdings:
        return Answer({"allocations": {}})
    holding = holdings[0]
    generations = placement_candidates.generations_of(asked.database, holding.allocation)
    body: dict[str, Any] = {
        "allocations": {
            uuid: {"resources": amounts, "generation": generations[uuid]}
            for uuid, amounts in holding.allocation.items()
        }
    }
    if asked.version >= (1, 12):
        body |= {"project_id": holding.project_id, "user_id": holding.user_id}
    if asked.version >= (1, 28):
        body["consumer_generation"] = holding.generation
    return Answer(body)


def delete(asked: Asked, consumer: str) -> Answer:
    """``DELETE /allocations/{consumer}``."""
    if not placement_claims.free(asked.database, [ConsumerUuid(consumer)]):
        raise NotFound(f"No allocations for consumer '{consumer}'")
    return Answer(status=204)


def usages(asked: Asked) -> Answer:
    """``GET /usages?project_id=...[&user_id=...]``."""
    project = asked.http.get_param("project_id")
    if not project:
        raise Invalid("Invalid query string parameters: 'project_id' is a required property")
    found = placement_candidates.project_usages(
        asked.database, project, asked.http.get_param("user_id")
    )
    return Answer({"usages": found})


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """The body of ``POST /kilonova/v1/claims``: what to claim, and whose allocations to free first."""

    claims: tuple[Claim, ...] = ()
    free: tuple[ConsumerUuid, ...] = ()


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Its answer: consumer -> why its claim was refused."""

    refused: dict[ConsumerUuid, str]


_decode_claims = msgspec.json.Decoder(Claims).decode


def claim(asked: Asked) -> Answer:
    """``POST /kilonova/v1/claims``: frees, then claims for each consumer by itself.

    Unlike ``POST /allocations`` one consumer's refusal leaves the others' claims standing. It may be
    repeated: whoever holds what is claimed already keeps it.
    """
    try:
        body = _decode_claims(asked.http.bounded_stream.read())
    except msgspec.DecodeError as error:
        raise MalformedBody(f"JSON does not validate: {error}") from error
    if body.free:
        placement_claims.free(asked.database, body.free)
    refused = placement_claims.claim_each(asked.database, body.claims) if body.claims else {}
    return Answer(Refused(refused=refused))
