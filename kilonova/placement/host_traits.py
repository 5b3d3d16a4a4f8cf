"""Which traits of a host's provider are the host's to say, and which an operator gave it."""

from collections.abc import Callable, Collection
from typing import Any

from kilonova.core.host import DISABLED_TRAIT
from kilonova.core.ids import ProviderUuid


def _is_hosts(trait: str) -> bool:
    """Whether a trait is a host's to say; that it gets no new servers is not."""
    return trait.startswith(("COMPUTE_", "HW_CPU_")) and trait != DISABLED_TRAIT


def joined(said: Collection[str], held: Collection[str]) -> set[str]:
    """Return the traits of a host that says some and holds others, which may be somebody else's. Pure."""
    return set(said) | {trait for trait in held if not _is_hosts(trait)}


def write(
    ask: Callable[..., Any], uuid: ProviderUuid, traits: Collection[str], generation: int
) -> None:
    """Make a provider have a host's traits, and leave it the others; write only if something differs.

    ``ask`` sends a request to Placement. Traits that this Placement does not know are left out.
    """
    path = f"/resource_providers/{uuid}/traits"
    held = set(ask("GET", path).json()["traits"])
    wanted = joined(traits, held)
    if held == wanted:
        return
    names = ",".join(sorted(wanted))
    known = ask("GET", f"/traits?name=in:{names}").json()["traits"]
    if held != set(known):
        body = {"resource_provider_generation": generation, "traits": sorted(known)}
        ask("PUT", path, body)
