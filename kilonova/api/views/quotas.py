"""Limits and quotas as the API shows them, at each microversion."""

from collections.abc import Mapping
from typing import Any

from kilonova.core.quota import UNLIMITED, Amount, Limits

Version = tuple[int, int]

_NETWORK = ("fixed_ips", "floating_ips", "security_group_rules", "security_groups")
"""Limits of a network service that was once inside; they were always unlimited here."""

_FILES = ("injected_file_content_bytes", "injected_file_path_bytes", "injected_files")
_GROUPS = ("server_group_members", "server_groups")


def resources(version: Version) -> tuple[str, ...]:
    """Return what quota sets name (2.36: no networks; 2.57: no injected files)."""
    return _without(*(_NETWORK if version >= (2, 36) else ()), version=version)


def class_resources(version: Version) -> tuple[str, ...]:
    """Return what quota class sets name (2.50: server groups but no networks; 2.57: no files)."""
    return _without(*(_NETWORK if version >= (2, 50) else _GROUPS), version=version)


def _without(*gone: str, version: Version) -> tuple[str, ...]:
    known = {*Limits.__struct_fields__, *_NETWORK}.difference(gone)
    return tuple(sorted(known.difference(_FILES) if version >= (2, 57) else known))


def _limit(limits: Limits, name: str) -> int:
    return UNLIMITED if name in _NETWORK else int(getattr(limits, name))


def quota_set(limits: Limits, version: Version, project: str | None = None) -> dict[str, Any]:
    """Return a quota set, with its project if one is given."""
    view: dict[str, Any] = {name: _limit(limits, name) for name in resources(version)}
    return {"quota_set": view if project is None else {"id": project} | view}


def detailed_set(
    limits: Limits, used: Mapping[str, int], version: Version, project: str
) -> dict[str, Any]:
    """Return a quota set with what is used of each resource; what is not named is not used."""
    view: dict[str, Any] = {
        name: {"limit": _limit(limits, name), "in_use": used.get(name, 0), "reserved": 0}
        for name in resources(version)
    }
    return {"quota_set": {"id": project} | view}


def class_set(limits: Limits, version: Version, name: str | None = None) -> dict[str, Any]:
    """Return the limits of a quota class, with its name if one is given."""
    view: dict[str, Any] = {known: _limit(limits, known) for known in class_resources(version)}
    return {"quota_class_set": view if name is None else {"id": name} | view}


def absolute_limits(limits: Limits, used: Amount, version: Version) -> dict[str, Any]:
    """Return the limits document (2.36: no networks; 2.39: no image metadata; 2.57: no files)."""
    view = {
        "maxServerMeta": limits.metadata_items,
        "maxTotalInstances": limits.instances,
        "maxTotalCores": limits.cores,
        "maxTotalRAMSize": limits.ram,
        "maxTotalKeypairs": limits.key_pairs,
        "maxServerGroups": limits.server_groups,
        "maxServerGroupMembers": limits.server_group_members,
        "totalInstancesUsed": used.instances,
        "totalCoresUsed": used.cores,
        "totalRAMUsed": used.ram,
        "totalServerGroupsUsed": 0,
    }
    if version < (2, 36):
        view |= dict.fromkeys(
            ("maxTotalFloatingIps", "maxSecurityGroups", "maxSecurityGroupRules"), UNLIMITED
        )
        view |= {"totalFloatingIpsUsed": 0, "totalSecurityGroupsUsed": 0}
    if version < (2, 39):
        view["maxImageMeta"] = limits.metadata_items
    if version < (2, 57):
        view["maxPersonality"] = limits.injected_files
        view["maxPersonalitySize"] = limits.injected_file_content_bytes
    return {"limits": {"rate": [], "absolute": view}}
