"""Parts of a host that a server gets for itself: devices, and CPUs and memory of NUMA cells. Pure.

The scheduler asks whether they are there, and a host reports what its servers leave of them.
"""

import re
from collections.abc import Mapping

from kilonova.core import block_devices, numa
from kilonova.core.flavor import Flavor
from kilonova.core.instance import Instance
from kilonova.core.numa import Wanting
from kilonova.core.scheduling import NumaCell, PciPool

ALIASES = "pci_passthrough:alias"
_VGPU = re.compile(r"resources[a-zA-Z0-9_-]*:VGPU")


def pci_wanted(flavor: Flavor) -> dict[str, int]:
    """Return how many devices of each alias a flavor asks for, as ``alias:count,...``.

    A count that is no number asks for more than any host has.
    """
    found: dict[str, int] = {}
    for part in flavor.extra_specs.get(ALIASES, "").split(","):
        alias, colon, count = part.strip().partition(":")
        if alias:
            asked = int(count) if count.isdecimal() else 2**31 if colon else 1
            found[alias] = found.get(alias, 0) + asked
    return found


def vgpus_wanted(flavor: Flavor) -> int:
    """Return how many mediated devices a flavor asks for, in all groups of ``resources:VGPU``."""
    asked = (value for key, value in flavor.extra_specs.items() if _VGPU.fullmatch(key))
    return sum(int(value) for value in asked if value.isdecimal())


def pci_left(pools: tuple[PciPool, ...], server: Wanting) -> tuple[PciPool, ...]:
    """Return what a server leaves of the devices."""
    if ALIASES not in server.flavor.extra_specs:
        return pools
    wanted = pci_wanted(server.flavor)
    left = []
    for pool in pools:
        taken = min(pool.free, wanted.get(pool.alias, 0))
        if taken:
            wanted[pool.alias] -= taken
        left.append(PciPool(alias=pool.alias, free=pool.free - taken, numa_cell=pool.numa_cell))
    return tuple(left)


def numa_left(cells: tuple[NumaCell, ...], server: Wanting) -> tuple[NumaCell, ...]:
    """Return what a server leaves of the cells; all, if it asks for none or does not fit into them."""
    if not cells:
        return cells
    try:
        topology = numa.wanted(server)
    except numa.Malformed:
        # Where the filter is not enabled, nothing of the topology is held to anything.
        return cells
    fit = numa.fit(topology, cells) if topology else None
    return fit.left if fit else cells


def held_by(server: Instance) -> dict[str, int]:
    """Return what a server holds in Placement, by resource class, if its flavor names no other classes."""
    return cpus_by_class(server, block_devices.amounts(server))


def cpus_by_class(server: Wanting, amounts: Mapping[str, int]) -> dict[str, int]:
    """Return a server's amounts by resource class, with CPUs of its own under the class of those.

    A topology that cannot be takes no CPU for itself.
    """
    try:
        topology = numa.wanted(server)
    except numa.Malformed:
        topology = None
    pinned = sum(cell.pinned for cell in topology.cells) if topology else 0
    if topology is None or not pinned:
        return dict(amounts)
    shared = server.flavor.vcpus - (pinned - topology.emulator)
    split = dict(amounts) | {"PCPU": pinned, "VCPU": shared}
    return {name: amount for name, amount in split.items() if amount}
