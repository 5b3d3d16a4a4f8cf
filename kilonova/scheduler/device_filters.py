"""Filters that go by parts of a host that a server gets for itself: CPUs of NUMA cells, PCI devices.

A host that reports no such parts has none.
"""

import msgspec

from kilonova.core import numa
from kilonova.core.devices import ALIASES, numa_left, pci_left, pci_wanted
from kilonova.core.scheduling import HostState, Reason, RequestSpec
from kilonova.scheduler.filters import Moment, about


@about(lambda spec: ALIASES in spec.flavor.extra_specs, steady=False)
def pci_passthrough(spec: RequestSpec, host: HostState, _moment: Moment) -> Reason | None:
    """The host has as many free PCI devices of each alias as the flavor asks for."""
    for alias, count in sorted(pci_wanted(spec.flavor).items()):
        free = sum(pool.free for pool in host.pci if pool.alias == alias)
        if free < count:
            return Reason(
                refused_by="PciPassthroughFilter",
                sentence=f"lack PCI devices {alias}",
                nearest_miss=f"needs {count}, host has {free} free",
                short_by=count - free,
            )
    return None


@about(numa.asks, steady=False)
def numa_topology(spec: RequestSpec, host: HostState, _moment: Moment) -> Reason | None:
    """The host's NUMA cells hold the server: its pinned CPUs, its memory in pages of the size it wants."""
    name = "NUMATopologyFilter"
    try:
        topology = numa.wanted(spec)
    except numa.Malformed as error:
        return Reason(refused_by=name, sentence=f"cannot be judged, as {error}")
    if topology is None or numa.fit(topology, host.numa) is not None:
        return None
    short = numa.shortfall(topology, host.numa)
    return Reason(
        refused_by=name,
        sentence="lack NUMA cells that hold it",
        nearest_miss=short.sentence,
        short_by=short.short_by,
    )


def occupied(spec: RequestSpec, host: HostState) -> HostState:
    """Return a host with one more server of this request on it, which is being built."""
    return msgspec.structs.replace(
        host,
        servers=host.servers + 1,
        busy=host.busy + 1,
        pci=pci_left(host.pci, spec),
        numa=numa_left(host.numa, spec),
    )
