"""Filters that go by parts of a host that a server gets for itself: CPUs of NUMA cells, PCI devices.

They also say what is left of them when a server is placed. A host that reports no such parts has none.
"""

import msgspec

from kilonova.core.scheduling import HostState, NumaCell, PciPool, Reason, RequestSpec
from kilonova.scheduler import numa
from kilonova.scheduler.filters import Moment, about

_ALIASES = "pci_passthrough:alias"


def pci_wanted(spec: RequestSpec) -> dict[str, int]:
    """Return how many devices of each alias the flavor asks for, as ``alias:count,...``.

    A count that is no number asks for more than any host has.
    """
    found: dict[str, int] = {}
    for part in spec.flavor.extra_specs.get(_ALIASES, "").split(","):
        alias, colon, count = part.strip().partition(":")
        if alias:
            asked = int(count) if count.isdecimal() else 2**31 if colon else 1
            found[alias] = found.get(alias, 0) + asked
    return found


@about(lambda spec: _ALIASES in spec.flavor.extra_specs, steady=False)
def pci_passthrough(spec: RequestSpec, host: HostState, _moment: Moment) -> Reason | None:
    """The host has as many free PCI devices of each alias as the flavor asks for."""
    for alias, count in sorted(pci_wanted(spec).items()):
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
    if topology is None or numa.place(topology, host.numa) is not None:
        return None
    most = max(topology.cells, key=lambda cell: (cell.pinned, cell.memory_mb))
    pinnable = max(
        (c.whole_cores * c.threads_per_core + c.single_cpus for c in host.numa), default=0
    )
    return Reason(
        refused_by=name,
        sentence="lack NUMA cells that hold it",
        nearest_miss=(
            f"needs {len(topology.cells)} NUMA cells, one with {most.pinned} pinned CPUs and "
            f"{most.memory_mb} MiB in {topology.page} pages; host has {len(host.numa)} cells, at "
            f"most {pinnable} CPUs to pin in one"
        ),
        short_by=max(0, len(topology.cells) - len(host.numa), most.pinned - pinnable),
    )


def occupied(spec: RequestSpec, host: HostState) -> HostState:
    """Return a host with one more server of this request on it, which is being built."""
    pci, cells = host.pci, host.numa
    if _ALIASES in spec.flavor.extra_specs:
        pci = _without(host.pci, pci_wanted(spec))
    if cells:
        cells = _with_server(spec, cells)
    return msgspec.structs.replace(
        host, servers=host.servers + 1, busy=host.busy + 1, pci=pci, numa=cells
    )


def _with_server(spec: RequestSpec, cells: tuple[NumaCell, ...]) -> tuple[NumaCell, ...]:
    try:
        topology = numa.wanted(spec)
    except numa.Malformed:
        # Where the filter is not enabled, nothing of the topology is held to anything.
        return cells
    return (numa.place(topology, cells) if topology else None) or cells


def _without(pools: tuple[PciPool, ...], wanted: dict[str, int]) -> tuple[PciPool, ...]:
    left = []
    for pool in pools:
        taken = min(pool.free, wanted.get(pool.alias, 0))
        if taken:
            wanted[pool.alias] -= taken
        left.append(msgspec.structs.replace(pool, free=pool.free - taken) if taken else pool)
    return tuple(left)
