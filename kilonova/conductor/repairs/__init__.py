"""Every repair of the converger, by name, in the order in which they are made."""

from collections.abc import Mapping

from kilonova.conductor.repairs import allocations, builds, deletes, hosts, strays, tasks
from kilonova.conductor.repairs.scene import Finding, OfCell, OfDeployment, Scene

__all__ = ["OF_CELL", "OF_CELL0", "OF_DEPLOYMENT", "Finding", "OfCell", "OfDeployment", "Scene"]

OF_DEPLOYMENT: Mapping[str, OfDeployment] = {
    "drive": builds.nobody_drives,
    "mapping": strays.mapped_nowhere,
    "stray": strays.in_cell0,
}

OF_CELL0: Mapping[str, OfCell] = {
    "delete": deletes.not_finished,
    "quota": strays.counted,
}
"""Of the cell whose servers have no host."""

OF_CELL: Mapping[str, OfCell] = {
    "map host": hosts.unmapped,
    "late": builds.late,
    "claim": builds.not_freed,
    "build": builds.not_begun,
    "dead host": builds.on_dead_host,
    "delete": deletes.not_finished,
    "quota": strays.counted,
    "task": tasks.not_answered,
    "allocation": allocations.not_as_held,
}
