"""Actions on servers that their host did not answer."""

from collections.abc import Iterator
from functools import partial

from kilonova.conductor import patience
from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.clock import utcnow
from kilonova.core.ids import CellUuid
from kilonova.core.instance import Instance
from kilonova.core.states import TaskState
from kilonova.db import unfinished

_GIVEN_UP = (
    TaskState.POWERING_OFF,
    TaskState.POWERING_ON,
    TaskState.REBOOTING,
    TaskState.REBOOTING_HARD,
)


def not_answered(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find servers whose stop, start or reboot nobody reported the end of: what they are, they stay."""
    before = utcnow() - patience.NOT_DONE
    for instance in unfinished.in_task(scene.database(cell), _GIVEN_UP, before):
        mend = partial(_give_up, scene, cell, instance)
        yield Finding(instance.uuid, f"{instance.task_state} was not answered", mend)


def _give_up(scene: Scene, cell: CellUuid, instance: Instance) -> str | None:
    return "given up" if unfinished.give_up(scene.database(cell), instance) else None
