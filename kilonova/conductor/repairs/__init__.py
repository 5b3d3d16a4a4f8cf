"""Every repair of the converger, by name, in the order in which they are made."""

from collections.abc import Mapping

from kilonova.conductor.repairs import (
    aggregates,
    allocations,
    builds,
    cards,
    confirmations,
    deletes,
    desired,
    disabled_hosts,
    host_failures,
    hosts,
    moves,
    old,
    operator_tasks,
    ports,
    reclaims,
    shares,
    strays,
    tasks,
    volumes,
)
from kilonova.conductor.repairs.scene import (
    Finding,
    Hands,
    Limits,
    OfCell,
    OfDeployment,
    Scene,
)

__all__ = ["OF_CELL", "OF_CELL0", "OF_DEPLOYMENT", "Finding", "Hands", "Limits", "Scene"]

OF_DEPLOYMENT: Mapping[str, OfDeployment] = {
    "drive": builds.nobody_drives,
    "mapping": strays.mapped_nowhere,
    "stray": strays.in_cell0,
    "operator task": operator_tasks.not_taken,
    "dead worker": operator_tasks.not_done,
    "decision": old.decisions_kept,
    "old task": old.tasks_kept,
    "aggregate": aggregates.not_mirrored,
    "disabled host": disabled_hosts.not_mirrored,
    "port": ports.outlived,
    "desired": desired.not_as_desired,
}

OF_CELL0: Mapping[str, OfCell] = {
    "delete": deletes.not_finished,
    "quota": strays.counted,
}
"""Of the cell whose servers have no host."""

OF_CELL: Mapping[str, OfCell] = {
    "map host": hosts.unmapped,
    "silent host": host_failures.silent,
    "left behind": host_failures.left_behind,
    "late": builds.late,
    "claim": builds.not_freed,
    "build": builds.not_begun,
    "dead host": builds.on_dead_host,
    "reclaim": reclaims.kept_for_long,
    "confirm": confirmations.undecided_for_long,
    "delete": deletes.not_finished,
    "quota": strays.counted,
    "task": tasks.not_answered,
    "move": moves.standing_still,
    "moved": moves.not_settled,
    "volume": volumes.standing_still,
    "share": shares.standing_still,
    "card": cards.standing_still,
    "allocation": allocations.not_as_held,
}
