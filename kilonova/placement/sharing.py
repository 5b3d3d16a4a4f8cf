"""Storage that many hosts share: a provider of its own offers it, and no host offers it a second time."""

from collections.abc import Callable, Mapping
from typing import Any

import os_traits

from kilonova.core.ids import ProviderUuid
from kilonova.core.scheduling import Inventory

_DISK = "DISK_GB"


def of_its_own(
    ask: Callable[..., Any], uuid: ProviderUuid, inventory: Mapping[str, Inventory]
) -> Mapping[str, Inventory]:
    """Return what a host offers by itself: no disk, if a provider in one of its aggregates shares some.

    ``ask`` sends a request to Placement. A host whose disk servers hold already goes on offering it.
    """
    if _DISK not in inventory:
        return inventory
    aggregates = ask("GET", f"/resource_providers/{uuid}/aggregates").json()["aggregates"]
    if not aggregates:
        return inventory
    members = f"member_of=in:{','.join(aggregates)}"
    trait = os_traits.MISC_SHARES_VIA_AGGREGATE
    found = ask("GET", f"/resource_providers?{members}&required={trait}").json()
    if not any(_has_disk(ask, one["uuid"]) for one in found["resource_providers"]):
        return inventory
    if ask("GET", f"/resource_providers/{uuid}/usages").json()["usages"].get(_DISK):
        return inventory
    return {name: one for name, one in inventory.items() if name != _DISK}


def _has_disk(ask: Callable[..., Any], uuid: str) -> bool:
    return _DISK in ask("GET", f"/resource_providers/{uuid}/inventories").json()["inventories"]
