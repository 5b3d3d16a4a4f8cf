"""What Placement answers to who asks for room: hosts on which a request fits, and what each gives of it."""

from collections.abc import Mapping

import msgspec

from kilonova.core.ids import ProviderUuid
from kilonova.core.scheduling import Allocation

_HOST_TRAIT = "COMPUTE_NODE"


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A host on which a request fits: the root of the tree of providers, and what each of them gives.

    ``free`` is what the host has left of each class; of a class that other providers give, what these have.
    """

    provider_uuid: ProviderUuid
    allocation: Allocation
    free: dict[str, int]
    traits: frozenset[str]


class _Summary(msgspec.Struct, frozen=True, kw_only=True):
    resources: dict[str, dict[str, int]]
    traits: frozenset[str] = frozenset()
    root_provider_uuid: str = ""


class _Offer(msgspec.Struct, frozen=True, kw_only=True):
    allocations: dict[str, dict[str, dict[str, int]]]


class _Candidates(msgspec.Struct, frozen=True, kw_only=True):
    allocation_requests: list[_Offer]
    provider_summaries: dict[str, _Summary]


_decode = msgspec.json.Decoder(_Candidates).decode


def candidates_in(answer: bytes) -> tuple[Candidate, ...]:
    """Return the candidates of an answer of ``GET /allocation_candidates``."""
    found = _decode(answer)
    return tuple(_candidate(offer, found.provider_summaries) for offer in found.allocation_requests)


def _candidate(offer: _Offer, summaries: Mapping[str, _Summary]) -> Candidate:
    allocation = {uuid: entry["resources"] for uuid, entry in offer.allocations.items()}
    root = _host_among(allocation, summaries)
    free = _free(summaries[root]) if root in summaries else {}
    for uuid, amounts in allocation.items():
        if uuid != root:
            free |= {n: left for n, left in _free(summaries[uuid]).items() if n in amounts}
    traits = summaries[root].traits if root in summaries else frozenset()
    return Candidate(
        provider_uuid=ProviderUuid(root), allocation=allocation, free=free, traits=traits
    )


def _host_among(allocation: Allocation, summaries: Mapping[str, _Summary]) -> str:
    """Return the root of the tree that is a host; another may be one that shares what it has."""
    roots = [summaries[uuid].root_provider_uuid or uuid for uuid in allocation]
    hosts = (r for r in roots if r in summaries and _HOST_TRAIT in summaries[r].traits)
    return next(hosts, roots[0])


def _free(summary: _Summary) -> dict[str, int]:
    return {name: room["capacity"] - room["used"] for name, room in summary.resources.items()}
