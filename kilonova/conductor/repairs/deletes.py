"""Deletes that stopped half way."""

from collections.abc import Iterator
from functools import partial

from kilonova.conductor import patience
from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.clock import utcnow
from kilonova.core.ids import CellUuid
from kilonova.core.instance import Instance
from kilonova.core.states import Action, TaskState
from kilonova.db import build_requests, hosts, instances, unfinished
from kilonova.rpc.messages import DeleteInstance


def not_finished(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find servers that are being deleted and that no host reported gone."""
    before = utcnow() - patience.NOT_DELETED
    for instance in unfinished.in_task(scene.database(cell), [TaskState.DELETING], before):
        mend = partial(_delete_again, scene, cell, instance)
        yield Finding(instance.uuid, "its delete was not finished", mend)


def _delete_again(scene: Scene, cell: CellUuid, instance: Instance) -> str:
    # Again, because the API may have got no further than to begin.
    build_requests.queue_for_delete(scene.api_db, instance.uuid)
    database = scene.database(cell)
    down = instance.host is not None and instance.host in hosts.down(
        database, utcnow(), scene.down_time
    )
    if instance.host is None or down:
        # A host that comes back removes what is deleted, before it does anything else.
        scene.placement.free([instance.uuid])
        instances.mark_deleted(database, [instance.uuid], utcnow())
        return "marked deleted: " + (f"{instance.host} is down" if down else "it is on no host")
    context = scene.context(cell, instance, Action.DELETE)
    scene.bus(cell).cast(context, DeleteInstance(instance=instance), host=instance.host)
    return f"sent again to {instance.host}"
