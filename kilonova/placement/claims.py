"""kilonova's own door to claims: many consumers in one request, each by itself."""

import msgspec

from kilonova.core.errors import Fenced, MalformedBody
from kilonova.core.ids import ConsumerUuid
from kilonova.db import placement_claims
from kilonova.db.placement_claims import Claim
from kilonova.placement.wire import Answer, Asked


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """The body of ``POST /kilonova/v1/claims``: what to claim, and whose allocations to free first."""

    claims: tuple[Claim, ...] = ()
    free: tuple[ConsumerUuid, ...] = ()


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Its answer: consumer -> why its claim was refused; and which of them for their fence."""

    refused: dict[ConsumerUuid, str]
    fenced: tuple[ConsumerUuid, ...] = ()


_decode = msgspec.json.Decoder(Claims).decode


def claim(asked: Asked) -> Answer:
    """``POST /kilonova/v1/claims``: frees, then claims for each consumer by itself.

    Unlike ``POST /allocations`` one consumer's refusal leaves the others' claims standing. It may be
    repeated: whoever holds what is claimed already keeps it.
    """
    try:
        body = _decode(asked.raw())
    except msgspec.DecodeError as error:
        raise MalformedBody(f"JSON does not validate: {error}") from error
    if body.free:
        placement_claims.free(asked.database, body.free)
    refused = asked.rounds.claim_each(body.claims) if body.claims else {}
    return Answer(
        Refused(
            refused={consumer: str(error) for consumer, error in refused.items()},
            fenced=tuple(uuid for uuid, error in refused.items() if isinstance(error, Fenced)),
        )
    )
