"""Deletes that stopped half way."""

from collections.abc import Iterator
from functools import partial

from kilonova.conductor import patience, plan
from kilonova.conductor.repairs import leftovers
from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.clock import utcnow
from kilonova.core.ids import CellUuid
from kilonova.core.instance import Instance
from kilonova.core.states import Action, TaskState
from kilonova.db import build_requests, instances, unfinished
from kilonova.http.network_cards import release
from kilonova.rpc.messages import DeleteInstance


def not_finished(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find servers that are being deleted and that no host reported gone, or that a host cannot delete."""
    now = utcnow()
    going = unfinished.in_task(scene.database(cell), [TaskState.DELETING], now)
    down = scene.down(cell) if going else frozenset()
    for instance in going:
        late = (instance.updated_at or now) < now - patience.NOT_DELETED
        if late or instance.host in down:
            mend = partial(_delete_again, scene, cell, instance)
            yield Finding(instance.uuid, "its delete was not finished", mend)


def _delete_again(scene: Scene, cell: CellUuid, instance: Instance) -> str:
    # Again, because the API may have got no further than to begin.
    build_requests.queue_for_delete(scene.api_db, instance.uuid)
    if instance.host is None:
        return _bury(scene, cell, instance, "it is on no host")
    if instance.host in scene.down(cell):
        # A host that comes back removes what is deleted, before it does anything else.
        return _bury(scene, cell, instance, f"{instance.host} is down")
    context = scene.context(cell, instance, Action.DELETE)
    scene.bus(cell).cast(context, DeleteInstance(instance=instance), host=instance.host)
    return f"sent again to {instance.host}"


def _bury(scene: Scene, cell: CellUuid, instance: Instance, why: str) -> str:
    # What the storage does not hear now it hears in the next round; until then the server is not gone.
    leftovers.free_volumes(scene, cell, instance)
    leftovers.free_shares(scene, cell, instance)
    over = scene.moves(cell).leave_behind([instance.uuid], instance.host or "")
    scene.placement.free([instance.uuid, *(move.consumer for move in over)])
    if scene.networks is not None:
        release(scene.networks, instance.uuid)
    if instance.host is not None:
        leftovers.remove_copies(scene, instance)
    database = scene.database(cell)
    instances.mark_deleted(database, [instance.uuid], utcnow())
    scene.notices.tell_one(database, instance, plan.gone(instance))
    return f"marked deleted: {why}"
