"""Limits and quotas as the API shows them, at each microversion."""

from collections.abc import Mapping
from typing import Any

import msgspec

from kilonova.api.microversions import ALWAYS, Since, Span, Version
from kilonova.api.views.fields import Field, shown
from kilonova.core.quota import Amount, Limits

_FILES = ("injected_file_content_bytes", "injected_file_path_bytes", "injected_files")
_GROUPS = ("server_group_members", "server_groups")
_NETWORK = ("fixed_ips", "floating_ips", "security_group_rules", "security_groups")
_ALWAYS = ("cores", "instances", "key_pairs", "metadata_items", "ram")

Named = tuple[tuple[tuple[str, ...], Span], ...]
"""(names of resources, the microversions that name them)."""

_SET: Named = (
    (_ALWAYS, ALWAYS),
    (_GROUPS, ALWAYS),
    (_NETWORK, Since.NO_PROXIES.before),
    (_FILES, Since.NO_FILES.before),
)
_CLASS: Named = (
    (_ALWAYS, ALWAYS),
    (_GROUPS, Since.CLASSES_WITH_GROUPS),
    (_NETWORK, Since.CLASSES_WITH_GROUPS.before),
    (_FILES, Since.NO_FILES.before),
)


def resources(version: Version) -> tuple[str, ...]:
    """Return what quota sets name."""
    return _named(_SET, version)


def class_resources(version: Version) -> tuple[str, ...]:
    """Return what quota class sets name."""
    return _named(_CLASS, version)


def _named(table: Named, version: Version) -> tuple[str, ...]:
    return tuple(n for names, when in table if version in when for n in names)


def quota_set(limits: Limits, version: Version, project: str | None = None) -> dict[str, Any]:
    """Return a quota set, with its project if one is given."""
    view: dict[str, Any] = {name: getattr(limits, name) for name in resources(version)}
    return {"quota_set": view if project is None else {"id": project} | view}


def detailed_set(
    limits: Limits, used: Mapping[str, int], version: Version, project: str
) -> dict[str, Any]:
    """Return a quota set with what is used of each resource; what is not named is not used."""
    view: dict[str, Any] = {
        name: {"limit": getattr(limits, name), "in_use": used.get(name, 0), "reserved": 0}
        for name in resources(version)
    }
    return {"quota_set": {"id": project} | view}


def class_set(limits: Limits, version: Version, name: str | None = None) -> dict[str, Any]:
    """Return the limits of a quota class, with its name if one is given."""
    view: dict[str, Any] = {known: getattr(limits, known) for known in class_resources(version)}
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
    Field(
        "maxTotalFloatingIps", lambda seen: seen.limits.floating_ips, when=Since.NO_PROXIES.before
    ),
    Field(
        "maxSecurityGroups", lambda seen: seen.limits.security_groups, when=Since.NO_PROXIES.before
    ),
    Field(
        "maxSecurityGroupRules",
        lambda seen: seen.limits.security_group_rules,
        when=Since.NO_PROXIES.before,
    ),
    Field("totalFloatingIpsUsed", lambda _: 0, when=Since.NO_PROXIES.before),
    Field("totalSecurityGroupsUsed", lambda _: 0, when=Since.NO_PROXIES.before),
    Field(
        "maxImageMeta",
        lambda seen: seen.limits.metadata_items,
        when=Since.NO_IMAGE_METADATA.before,
    ),
    Field("maxPersonality", lambda seen: seen.limits.injected_files, when=Since.NO_FILES.before),
    Field(
        "maxPersonalitySize",
        lambda seen: seen.limits.injected_file_content_bytes,
        when=Since.NO_FILES.before,
    ),
)


def absolute_limits(limits: Limits, used: Amount, version: Version) -> dict[str, Any]:
    """Return the limits document."""
    absolute = shown(_ABSOLUTE, _Seen(limits, used), version)
    return {"limits": {"rate": [], "absolute": absolute}}
