"""Storage that many hosts share: a provider of its own offers it, and no host offers it a second time."""

from collections.abc import Callable, Mapping
from typing import Any

import os_traits

from kilonova.core.ids import ProviderUuid
from kilonova.core.scheduling import Allocation, Inventory

_DISK = "DISK_GB"


def of_its_own(
    ask: Callable[..., Any], uuid: ProviderUuid, inventory: Mapping[str, Inventory]
) -> Mapping[str, Inventory]:
    """Return what a host offers by itself: no disk, if a provider in one of its aggregates shares some.

    ``ask`` sends a request to Placement. A host whose disk servers hold already goes on offering it.
    """
    if _DISK not in inventory:
        return inventory
    if not _sharing_disk(ask, uuid):
        return inventory
    if ask("GET", f"/resource_providers/{uuid}/usages").json()["usages"].get(_DISK):
        return inventory
    return {name: one for name, one in inventory.items() if name != _DISK}


def divided(ask: Callable[..., Any], uuid: ProviderUuid, amounts: Mapping[str, int]) -> Allocation:
    """Return from whom a server on a host has each of its amounts, by provider: its disk from one that
    shares some, if the host offers none."""
    if _DISK not in amounts or _has_disk(ask, uuid):
        return {uuid: dict(amounts)}
    sharing = _sharing_disk(ask, uuid)
    if not sharing:
        return {uuid: dict(amounts)}
    own = {name: amount for name, amount in amounts.items() if name != _DISK}
    return {uuid: own, sharing[0]: {_DISK: amounts[_DISK]}}


def _sharing_disk(ask: Callable[..., Any], uuid: ProviderUuid) -> list[ProviderUuid]:
    """Return the providers that share disk with all of an aggregate that a host is in."""
    aggregates = ask("GET", f"/resource_providers/{uuid}/aggregates").json()["aggregates"]
    if not aggregates:
        return []
    members = f"member_of=in:{','.join(aggregates)}"
    trait = os_traits.MISC_SHARES_VIA_AGGREGATE
    found = ask("GET", f"/resource_providers?{members}&required={trait}").json()
    return [one["uuid"] for one in found["resource_providers"] if _has_disk(ask, one["uuid"])]


def _has_disk(ask: Callable[..., Any], uuid: str) -> bool:
    return _DISK in ask("GET", f"/resource_providers/{uuid}/inventories").json()["inventories"]
