"""Prefilters: what a request asks of Placement, so that hosts that cannot do never come to the filters.

Pure. Keys and their meaning: Compute documentation, "Extra specs" (``resources``, ``trait``,
``group_policy``) and "Prefilters".
"""

import re
from collections.abc import Collection, Sequence

import msgspec

from kilonova.core import flavor
from kilonova.core.aggregate import HostAggregate
from kilonova.core.candidates import Group, Request
from kilonova.core.devices import cpus_by_class
from kilonova.core.host import DISABLED_TRAIT
from kilonova.core.ids import ProviderUuid
from kilonova.core.scheduling import RequestSpec
from kilonova.scheduler.aggregate_filters import tenants_of

_KEY = re.compile(r"(resources|trait)([a-zA-Z0-9_-]{1,64})?:([A-Z0-9_]{1,255})")

AVAILABILITY_ZONE, TENANT_ISOLATION = "availability_zone", "tenant_isolation"
IMAGE_TYPE = "image_type"


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What requests are translated with.

    ``enabled`` are the optional prefilters. ``only`` is the provider of the one host that will do, where
    the request names one that is known.
    """

    enabled: Collection[str] = ()
    aggregates: Sequence[HostAggregate] = ()
    only: ProviderUuid | None = None


class _Wanted:
    """The groups of a request as they grow, by suffix."""

    def __init__(self) -> None:
        self.resources: dict[str, dict[str, int]] = {}
        self.required: dict[str, set[str]] = {}
        self.forbidden: dict[str, set[str]] = {}

    def trait(self, suffix: str, name: str, value: str) -> None:
        """Note that a trait is ``required`` or ``forbidden``; another value says nothing."""
        into = {"required": self.required, "forbidden": self.forbidden}.get(value)
        if into is not None:
            into.setdefault(suffix, set()).add(name)

    def groups(self, member_of: Sequence[frozenset[str]], only: str | None) -> tuple[Group, ...]:
        """Return all groups; what is asked of the host as a whole stands in the one without a suffix."""
        suffixes = sorted({"", *self.resources, *self.required, *self.forbidden})
        return tuple(
            Group(
                suffix=suffix,
                resources={n: a for n, a in self.resources.get(suffix, {}).items() if a},
                required=tuple(frozenset({t}) for t in sorted(self.required.get(suffix, ()))),
                forbidden=frozenset(self.forbidden.get(suffix, ())),
                member_of=() if suffix else tuple(member_of),
                in_tree=None if suffix else only,
            )
            for suffix in suffixes
        )


def request(spec: RequestSpec, known: Known) -> Request:
    """Return what Placement is asked for a server."""
    wanted = _Wanted()
    amounts = flavor.resources(spec.flavor, boots_from_volume=spec.boots_from_volume)
    # The filter tells what is wrong with a topology that cannot be; here nothing is left out because of it.
    wanted.resources[""] = cpus_by_class(spec, amounts)
    extra_specs = spec.flavor.extra_specs
    for key, value in sorted(extra_specs.items()):
        _note(wanted, key, value)
    if spec.image:
        for key, value in sorted(spec.image.properties.items()):
            if key.startswith("trait:"):
                _note(wanted, key, value)
        if IMAGE_TYPE in known.enabled and not spec.boots_from_volume:
            wanted.trait("", f"COMPUTE_IMAGE_TYPE_{spec.image.disk_format.upper()}", "required")
    # Known there at once, and to those who look at the hosts now and then a little later.
    wanted.trait("", DISABLED_TRAIT, "forbidden")
    groups = wanted.groups(_member_of(spec, known), known.only)
    if spec.unjudged:
        nothing_else = {"required": (), "forbidden": frozenset(), "member_of": ()}
        groups = tuple(msgspec.structs.replace(group, **nothing_else) for group in groups)
    return Request(
        groups=groups,
        isolate=extra_specs.get("group_policy") == "isolate",
    )


def resources(asked: Request) -> dict[str, int]:
    """Return how much of each class a request asks for in all."""
    total: dict[str, int] = {}
    for group in asked.groups:
        for name, amount in group.resources.items():
            total[name] = total.get(name, 0) + amount
    return total


def _note(wanted: _Wanted, key: str, value: str) -> None:
    found = _KEY.fullmatch(key)
    if found is None:
        return
    kind, suffix, name = found[1], found[2] or "", found[3]
    if kind == "trait":
        wanted.trait(suffix, name, value)
    elif value.isdecimal():
        # An amount replaces the flavor's own; 0 takes the class out.
        wanted.resources.setdefault(suffix, {})[name] = int(value)


def _member_of(spec: RequestSpec, known: Known) -> list[frozenset[str]]:
    """Return the sets of aggregates of each of which the host must be in one."""
    sets: list[frozenset[str]] = []
    if AVAILABILITY_ZONE in known.enabled and spec.availability_zone is not None:
        in_zone = [a.uuid for a in known.aggregates if a.zone == spec.availability_zone]
        # The zone of hosts that no aggregate names is none of Placement's.
        if in_zone:
            sets.append(frozenset(in_zone))
    if TENANT_ISOLATION in known.enabled:
        own = [a.uuid for a in known.aggregates if spec.project_id in tenants_of(a)]
        if own:
            sets.append(frozenset(own))
    return sets
