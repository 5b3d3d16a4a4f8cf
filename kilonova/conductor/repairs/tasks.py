"""Actions on servers that their host did not answer."""

from collections.abc import Iterator
from functools import partial

from kilonova.conductor import patience, plan
from kilonova.conductor.repairs import leftovers
from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.clock import utcnow
from kilonova.core.ids import CellUuid
from kilonova.core.instance import Instance
from kilonova.core.states import COPIES, HOST_TASKS
from kilonova.db import moves, tasks, unfinished


def not_answered(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find servers of whose task nothing was heard: it is over, and they are what their guests are."""
    now = utcnow()
    database = scene.database(cell)
    quiet = unfinished.in_task(database, HOST_TASKS, now - patience.NOT_DONE_BY_SILENT)
    if not quiet:
        return
    moving = moves.waiting_among(database, [instance.uuid for instance in quiet])
    silent = scene.down(cell)
    for instance in quiet:
        if instance.uuid in moving:
            continue
        if instance.host in silent:
            reason = "The host of the server does not answer."
        elif (instance.updated_at or now) < now - patience.NOT_DONE:
            reason = f"The host did not do it within {patience.NOT_DONE.seconds} seconds."
        else:
            continue
        mend = partial(_give_up, scene, cell, instance, reason)
        yield Finding(instance.uuid, f"{instance.task_state} was not answered", mend)


def _give_up(scene: Scene, cell: CellUuid, instance: Instance, reason: str) -> str | None:
    database = scene.database(cell)
    if instance.task_state in COPIES:
        # First: once the task is over, nobody knows of what there is.
        leftovers.remove_copies(scene, instance)
    if not tasks.give_up(database, instance, reason, utcnow()):
        return None
    scene.notices.tell_one(database, instance, plan.gave_up_task(instance, reason))
    return "given up"
