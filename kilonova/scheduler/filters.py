"""Filters: may this server run on this host, and if not, why. Pure functions.

A filter takes the request, the host and the moment of the decision, and returns a ``Reason`` or None. Its
sentence counts well ("3 are in another zone") and names no host.
"""

from collections.abc import Callable, Collection
from datetime import datetime

import msgspec

from kilonova.core.scheduling import HostState, Reason, RequestSpec
from kilonova.scheduler.extra_specs import matches


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """When a decision is made, and for how many seconds after a sign of life a host counts as up."""

    now: datetime
    down_after: float


Filter = Callable[[RequestSpec, HostState, Moment], Reason | None]


def compute(_spec: RequestSpec, host: HostState, moment: Moment) -> Reason | None:
    """The host is enabled and was heard of lately."""
    name = "ComputeFilter"
    if not host.enabled:
        return Reason(refused_by=name, sentence="disabled", nearest_miss=host.disabled_reason or "")
    if host.forced_down:
        return Reason(refused_by=name, sentence="forced down")
    too_long = _silence(host, moment) - moment.down_after
    if too_long > 0:
        silent = too_long + moment.down_after
        miss = f"last heard of {silent:.0f} s ago, down after {moment.down_after:g} s"
        if host.last_seen is None:
            miss = "never heard of"
        return Reason(refused_by=name, sentence="down", nearest_miss=miss, short_by=too_long)
    return None


def _silence(host: HostState, moment: Moment) -> float:
    """Return for how many seconds nothing was heard of a host."""
    return (moment.now - (host.last_seen or datetime.min)).total_seconds()


def all_fell_silent(hosts: Collection[HostState], moment: Moment) -> bool:
    """Whether every host that should live was heard of once, and none lately.

    Then what carries their signs of life is away (the bus, a conductor, a cell's database), not they.
    """
    wanted = [host for host in hosts if host.enabled and not host.forced_down and host.last_seen]
    return bool(wanted) and all(_silence(host, moment) > moment.down_after for host in wanted)


def availability_zone(spec: RequestSpec, host: HostState, _moment: Moment) -> Reason | None:
    """The host is in the zone that was asked for."""
    if spec.availability_zone in (None, host.availability_zone):
        return None
    return Reason(
        refused_by="AvailabilityZoneFilter",
        sentence="in another zone",
        nearest_miss=f"asked for {spec.availability_zone}, host is in {host.availability_zone}",
    )


_CAPABILITIES = "capabilities"


def compute_capabilities(spec: RequestSpec, host: HostState, _moment: Moment) -> Reason | None:
    """The host's capabilities match the flavor's extra specs.

    Keys are ``capabilities:NAME`` or a NAME without any scope; values may begin with an operator (Compute
    documentation, "ComputeCapabilitiesFilter").
    """
    for key, wanted in sorted(spec.flavor.extra_specs.items()):
        scope, colon, name = key.partition(":")
        if colon and scope != _CAPABILITIES:
            continue
        name = name if colon else key
        has = host.capabilities.get(name)
        if has is None or not matches(has, wanted):
            return Reason(
                refused_by="ComputeCapabilitiesFilter",
                sentence=f"without {name} {wanted}",
                nearest_miss=f"needs {name} {wanted}, host has {has or 'none'}",
            )
    return None


def image_properties(spec: RequestSpec, host: HostState, _moment: Moment) -> Reason | None:
    """The host can run what the image says it needs: architecture, hypervisor type and mode."""
    if spec.image is None:
        return None
    properties = spec.image.properties
    wanted = (
        _canonical(properties.get("hw_architecture") or properties.get("architecture")),
        _lower(properties.get("img_hv_type") or properties.get("hypervisor_type")),
        _lower(properties.get("hw_vm_mode") or properties.get("vm_mode")),
    )
    if wanted == (None, None, None):
        return None
    for supported in host.supported:
        if all(want in (None, have) for want, have in zip(wanted, supported, strict=True)):
            return None
    asked = "/".join(part for part in wanted if part)
    return Reason(
        refused_by="ImagePropertiesFilter",
        sentence=f"unable to run {asked}",
        nearest_miss=f"runs {', '.join('/'.join(s) for s in host.supported) or 'nothing known'}",
    )


def _lower(text: str | None) -> str | None:
    return text.lower() if text else None


def _canonical(architecture: str | None) -> str | None:
    lower = _lower(architecture)
    return "x86_64" if lower in ("amd64", "x64") else lower


def forced(spec: RequestSpec, host: HostState, _moment: Moment) -> Reason | None:
    """The host is the one that the request names, if it names one."""
    if spec.forced_host in (None, host.host) and spec.forced_node in (None, host.node):
        return None
    return Reason(refused_by="requested host", sentence="not the host that was asked for")
