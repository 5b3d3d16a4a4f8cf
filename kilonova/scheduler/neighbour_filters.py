"""Filters that go by where other servers are: the group's, or those that the hints name.

Hints and their meaning: Compute documentation, "Compute schedulers".
"""

import ipaddress

from kilonova.core.scheduling import HostState, Reason, RequestSpec
from kilonova.core.server_group import Policy
from kilonova.scheduler.filters import Concerns, Moment, about, hints

DIFFERENT, SAME = "different_host", "same_host"
"""The hints that name servers."""
_NEAR, _CIDR = "build_near_host_ip", "cidr"


def _of(policy: Policy) -> Concerns:
    return lambda spec: spec.group is not None and spec.group.policy == policy


@about(_of(Policy.ANTI_AFFINITY), steady=False)
def group_anti_affinity(spec: RequestSpec, host: HostState, moment: Moment) -> Reason | None:
    """The host has fewer servers of the group than the group allows on one host."""
    group = spec.group
    if group is None or group.policy != Policy.ANTI_AFFINITY:
        return None
    if group.allows(host.host, moment.members):
        return None
    limit, held = group.max_server_per_host, moment.members.get(host.host, 0)
    return Reason(
        refused_by="ServerGroupAntiAffinityFilter",
        sentence="have as many servers of the group as may be",
        nearest_miss=f"at most {limit} of the group on a host, host has {held}",
        short_by=held + 1 - limit,
    )


@about(_of(Policy.AFFINITY), steady=False)
def group_affinity(spec: RequestSpec, host: HostState, moment: Moment) -> Reason | None:
    """The host has the servers of the group, if there are any yet."""
    group = spec.group
    if group is None or group.policy != Policy.AFFINITY:
        return None
    if group.allows(host.host, moment.members):
        return None
    return Reason(refused_by="ServerGroupAffinityFilter", sentence="have no server of the group")


@about(lambda spec: DIFFERENT in spec.hints)
def different_host(spec: RequestSpec, host: HostState, moment: Moment) -> Reason | None:
    """None of the servers that the hint names is on the host."""
    if all(moment.host_of.get(uuid) != host.host for uuid in hints(spec, DIFFERENT)):
        return None
    return Reason(
        refused_by="DifferentHostFilter", sentence="have a server that it should be apart from"
    )


@about(lambda spec: SAME in spec.hints)
def same_host(spec: RequestSpec, host: HostState, moment: Moment) -> Reason | None:
    """One of the servers that the hint names is on the host."""
    named = hints(spec, SAME)
    if not named or any(moment.host_of.get(uuid) == host.host for uuid in named):
        return None
    return Reason(refused_by="SameHostFilter", sentence="lack the servers that it should be beside")


@about(lambda spec: _NEAR in spec.hints)
def simple_cidr_affinity(spec: RequestSpec, host: HostState, _moment: Moment) -> Reason | None:
    """The host's address is in the network of the address that the hints name, /24 if they do not say.

    A hint that is no address refuses every host, with a sentence that says so.
    """
    near, width = hints(spec, _NEAR), hints(spec, _CIDR)
    if not near:
        return None
    text = near[0] + "/" + (width[0].lstrip("/") if width else "24")
    name = "SimpleCIDRAffinityFilter"
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return Reason(refused_by=name, sentence=f"cannot be judged, as {text[:50]} is no network")
    try:
        inside = ipaddress.ip_address(host.host_ip) in network
    except ValueError:
        inside = False
    if inside:
        return None
    return Reason(
        refused_by=name,
        sentence=f"are outside of {network}",
        nearest_miss=f"host has address {host.host_ip or 'unknown'}",
    )
