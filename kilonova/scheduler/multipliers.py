"""Multipliers of weighers that an aggregate's metadata sets for its hosts. Pure.

Keys and their meaning: Compute documentation, "Utilization-aware scheduling" and "Weights". A key is named
as the option that it stands in for, such as ``ram_weight_multiplier``.
"""

import math
from collections.abc import Sequence

from kilonova.core.aggregate import HostAggregate

_END = "_weight_multiplier"

KEYS = {
    "RAMWeigher": "ram_weight_multiplier",
    "CPUWeigher": "cpu_weight_multiplier",
    "DiskWeigher": "disk_weight_multiplier",
    "IoOpsWeigher": "io_ops_weight_multiplier",
    "NumInstancesWeigher": "num_instances_weight_multiplier",
    "BuildFailureWeigher": "build_failure_weight_multiplier",
    "HypervisorVersionWeigher": "hypervisor_version_weight_multiplier",
    "PCIWeigher": "pci_weight_multiplier",
    "ImagePropertiesWeigher": "image_props_weight_multiplier",
    "MetricsWeigher": "metrics_weight_multiplier",
    "ServerGroupSoftAffinityWeigher": "soft_affinity_weight_multiplier",
    "ServerGroupSoftAntiAffinityWeigher": "soft_anti_affinity_weight_multiplier",
    "CrossCellWeigher": "cross_cell_move_weight_multiplier",
}
"""The key of each weigher that comes with kilonova, in the order of asking. It is the name of its option,
but for metrics, each of which has its own multiplier."""


def multipliers_of(aggregates: Sequence[HostAggregate]) -> dict[str, float]:
    """Return the multipliers that a host's aggregates set, by key.

    Where several set one, the least of them counts. What is no number sets nothing.
    """
    found: dict[str, float] = {}
    for aggregate in aggregates:
        for key, text in aggregate.metadata.items():
            if not key.endswith(_END):
                continue
            try:
                number = float(text)
            except ValueError:
                continue
            if math.isfinite(number):
                found[key] = min(number, found.get(key, number))
    return found
