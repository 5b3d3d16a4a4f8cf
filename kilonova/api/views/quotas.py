"""Limits and quotas as the API shows them, at each microversion."""

from collections.abc import Mapping
from typing import Any

import msgspec

from kilonova.api.versions import MAXIMUM, MINIMUM, Version
from kilonova.api.views.fields import Field, shown
from kilonova.core.quota import UNLIMITED, Amount, Limits

_FILES = ("injected_file_content_bytes", "injected_file_path_bytes", "injected_files")
_GROUPS = ("server_group_members", "server_groups")
_NETWORK = ("fixed_ips", "floating_ips", "security_group_rules", "security_groups")
"""Limits of a network service that was once inside; they were always unlimited here."""

_ALWAYS = ("cores", "instances", "key_pairs", "metadata_items", "ram")

Named = tuple[tuple[tuple[str, ...], Version, Version], ...]
"""(names of resources, first and last microversion that names them)."""

_SET: Named = (
    (_ALWAYS, MINIMUM, MAXIMUM),
    (_GROUPS, MINIMUM, MAXIMUM),
    (_NETWORK, MINIMUM, (2, 35)),
    (_FILES, MINIMUM, (2, 56)),
)
_CLASS: Named = (
    (_ALWAYS, MINIMUM, MAXIMUM),
    (_GROUPS, (2, 50), MAXIMUM),
    (_NETWORK, MINIMUM, (2, 49)),
    (_FILES, MINIMUM, (2, 56)),
)


def resources(version: Version) -> tuple[str, ...]:
    """Return what quota sets name."""
    return _named(_SET, version)


def class_resources(version: Version) -> tuple[str, ...]:
    """Return what quota class sets name."""
    return _named(_CLASS, version)


def _named(table: Named, version: Version) -> tuple[str, ...]:
    return tuple(n for names, since, until in table if since <= version <= until for n in names)


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


class _Seen(msgspec.Struct, frozen=True):
    """Limits, and what is used of them."""

    limits: Limits
    used: Amount


_ABSOLUTE: tuple[Field[_Seen], ...] = (
    Field("maxServerMeta", lambda seen: seen.limits.metadata_items),
    Field("maxTotalInstances", lambda seen: seen.limits.instances),
    Field("maxTotalCores", lambda seen: seen.limits.cores),
    Field("maxTotalRAMSize", lambda seen: seen.limits.ram),
    Field("maxTotalKeypairs", lambda seen: seen.limits.key_pairs),
    Field("maxServerGroups", lambda seen: seen.limits.server_groups),
    Field("maxServerGroupMembers", lambda seen: seen.limits.server_group_members),
    Field("totalInstancesUsed", lambda seen: seen.used.instances),
    Field("totalCoresUsed", lambda seen: seen.used.cores),
    Field("totalRAMUsed", lambda seen: seen.used.ram),
    Field("totalServerGroupsUsed", lambda seen: seen.used.server_groups),
    Field("maxTotalFloatingIps", lambda _: UNLIMITED, until=(2, 35)),
    Field("maxSecurityGroups", lambda _: UNLIMITED, until=(2, 35)),
    Field("maxSecurityGroupRules", lambda _: UNLIMITED, until=(2, 35)),
    Field("totalFloatingIpsUsed", lambda _: 0, until=(2, 35)),
    Field("totalSecurityGroupsUsed", lambda _: 0, until=(2, 35)),
    Field("maxImageMeta", lambda seen: seen.limits.metadata_items, until=(2, 38)),
    Field("maxPersonality", lambda seen: seen.limits.injected_files, until=(2, 56)),
    Field(
        "maxPersonalitySize",
        lambda seen: seen.limits.injected_file_content_bytes,
        until=(2, 56),
    ),
)


def absolute_limits(limits: Limits, used: Amount, version: Version) -> dict[str, Any]:
    """Return the limits document."""
    absolute = shown(_ABSOLUTE, _Seen(limits, used), version)
    return {"limits": {"rate": [], "absolute": absolute}}
