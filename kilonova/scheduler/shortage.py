"""Why Placement did not offer a host: what it lacks of what was asked for. Pure."""

from collections.abc import Collection, Mapping

from kilonova.core.candidates import Request
from kilonova.core.host import DISABLED_TRAIT
from kilonova.core.ids import ProviderUuid
from kilonova.core.scheduling import Reason

TAKEN = Reason(refused_by="request", sentence="are taken by other servers of the request")
"""Why a host that has room is left out nevertheless."""

_UNITS = {"MEMORY_MB": " MB", "DISK_GB": " GB"}


def lacks(resources: Mapping[str, int], free: Mapping[str, int]) -> Reason | None:
    """Return the first resource class of which a host has too little left."""
    for name, amount in resources.items():
        left = free.get(name, 0)
        if left < amount:
            return Reason(
                refused_by=name,
                sentence=f"lack {name}",
                nearest_miss=f"needs {amount}{_UNITS.get(name, '')}, the best has {left} free",
                short_by=amount - left,
            )
    return None


def unsuited(asked: Request, provider: ProviderUuid, traits: Collection[str]) -> Reason:
    """Return what else than room a host has not, as far as the request without a suffix tells."""
    for group in asked.groups:
        if group.in_tree not in (None, provider):
            return Reason(
                refused_by="requested host", sentence="are not the host that was asked for"
            )
        if group.suffix:
            continue
        for wanted in group.required:
            if wanted.isdisjoint(traits):
                return Reason(
                    refused_by="traits", sentence=f"lack trait {' or '.join(sorted(wanted))}"
                )
        if DISABLED_TRAIT in group.forbidden.intersection(traits):
            # As the filter says it, who looks at the hosts and may not have seen it yet.
            return Reason(refused_by="ComputeFilter", sentence="are disabled")
        for unwanted in sorted(group.forbidden.intersection(traits)):
            return Reason(refused_by="traits", sentence=f"have trait {unwanted}, which must not be")
        if group.member_of:
            return Reason(
                refused_by="aggregates",
                sentence="are in none of the aggregates that were asked for",
            )
    return Reason(refused_by="placement", sentence="cannot give it in one piece")
