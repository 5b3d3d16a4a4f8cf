"""Filters that go by the host itself: is it alive, where is it, what can it run, how busy is it."""

from collections.abc import Collection
from datetime import datetime

from kilonova.core.scheduling import HostState, Reason, RequestSpec
from kilonova.scheduler.extra_specs import matches
from kilonova.scheduler.filters import Moment, about, every


@about(every, binding=True)
def compute(spec: RequestSpec, host: HostState, moment: Moment) -> Reason | None:
    """The host is enabled, in a cell that answers, and was heard of lately."""
    name = "ComputeFilter"
    if not host.enabled and not spec.unjudged:
        return Reason(
            refused_by=name, sentence="are disabled", nearest_miss=host.disabled_reason or ""
        )
    if host.forced_down:
        return Reason(refused_by=name, sentence="are forced down")
    if host.unreachable:
        return Reason(refused_by=name, sentence="are in a cell that does not answer")
    if host.last_seen is not None and host.last_seen >= moment.silent_before:
        return None
    silent = _silence(host, moment)
    miss = f"last heard of {silent:.0f} s ago, down after {moment.down_after:g} s"
    if host.last_seen is None:
        miss = "never heard of"
    short_by = silent - moment.down_after
    return Reason(refused_by=name, sentence="are down", nearest_miss=miss, short_by=short_by)


def _silence(host: HostState, moment: Moment) -> float:
    """Return for how many seconds nothing was heard of a host."""
    return (moment.now - (host.last_seen or datetime.min)).total_seconds()


def all_fell_silent(hosts: Collection[HostState], moment: Moment) -> bool:
    """Whether every host that should live was heard of once, and none lately.

    Then what carries their signs of life is away (the bus, a conductor, a cell's database), not they.
    """
    wanted = [host for host in hosts if host.enabled and not host.forced_down and host.last_seen]
    return bool(wanted) and all(
        host.unreachable or _silence(host, moment) > moment.down_after for host in wanted
    )


@about(lambda spec: spec.availability_zone is not None)
def availability_zone(spec: RequestSpec, host: HostState, _moment: Moment) -> Reason | None:
    """The host is in the zone that was asked for."""
    if spec.availability_zone in (None, host.availability_zone):
        return None
    return Reason(
        refused_by="AvailabilityZoneFilter",
        sentence="are in another zone",
        nearest_miss=f"asked for {spec.availability_zone}, host is in {host.availability_zone}",
    )


_CAPABILITIES = "capabilities"


@about(lambda spec: bool(spec.flavor.extra_specs))
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
                sentence=f"lack {name} {wanted}",
                nearest_miss=f"needs {name} {wanted}, host has {has or 'none'}",
            )
    return None


_Wanted = tuple[str | None, str | None, str | None]


def _wanted_by_image(spec: RequestSpec) -> _Wanted:
    """Return the architecture, hypervisor type and mode that the image needs."""
    properties = spec.image.properties if spec.image else {}
    return (
        _canonical(properties.get("hw_architecture") or properties.get("architecture")),
        _lower(properties.get("img_hv_type") or properties.get("hypervisor_type")),
        _lower(properties.get("hw_vm_mode") or properties.get("vm_mode")),
    )


@about(lambda spec: any(_wanted_by_image(spec)))
def image_properties(spec: RequestSpec, host: HostState, _moment: Moment) -> Reason | None:
    """The host can run what the image says it needs: architecture, hypervisor type and mode."""
    wanted = _wanted_by_image(spec)
    if not any(wanted):
        return None
    for supported in host.supported:
        if all(want in (None, have) for want, have in zip(wanted, supported, strict=True)):
            return None
    asked = "/".join(part for part in wanted if part)
    return Reason(
        refused_by="ImagePropertiesFilter",
        sentence=f"cannot run {asked}",
        nearest_miss=f"runs {', '.join('/'.join(s) for s in host.supported) or 'nothing known'}",
    )


def _lower(text: str | None) -> str | None:
    return text.lower() if text else None


def _canonical(architecture: str | None) -> str | None:
    lower = _lower(architecture)
    return "x86_64" if lower in ("amd64", "x64") else lower


def _is_bound(spec: RequestSpec) -> bool:
    named = spec.forced_host is not None or spec.forced_node is not None
    return named or spec.moves_from is not None or bool(spec.ignored_hosts)


@about(_is_bound, binding=True)
def forced(spec: RequestSpec, host: HostState, _moment: Moment) -> Reason | None:
    """The host is the one that the request names, if it names one, and one to which a server may move."""
    if host.host in spec.ignored_hosts:
        return Reason(refused_by="requested host", sentence="are to be left by the server")
    if spec.moves_from not in (None, host.cell_uuid):
        return Reason(refused_by="requested host", sentence="are in another cell")
    if spec.forced_host in (None, host.host) and spec.forced_node in (None, host.node):
        return None
    return Reason(refused_by="requested host", sentence="are not the host that was asked for")


@about(every, steady=False)
def io_ops(_spec: RequestSpec, host: HostState, moment: Moment) -> Reason | None:
    """Not too many servers are being built or changed on the host."""
    return _at_most(moment.max_io_ops_per_host, host.busy, ("IoOpsFilter", "are too busy", "busy"))


@about(every, steady=False)
def num_instances(_spec: RequestSpec, host: HostState, moment: Moment) -> Reason | None:
    """Not too many servers are on the host."""
    words = ("NumInstancesFilter", "have too many servers", "servers")
    return _at_most(moment.max_instances_per_host, host.servers, words)


def _at_most(limit: int, count: int, words: tuple[str, str, str]) -> Reason | None:
    if count < limit:
        return None
    refused_by, sentence, what = words
    return Reason(
        refused_by=refused_by,
        sentence=sentence,
        nearest_miss=f"at most {limit} {what}, host has {count}",
        short_by=count + 1 - limit,
    )
