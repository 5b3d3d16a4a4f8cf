"""Deletes a server in its owner's name, as the API does at his request. It may be done again."""

import logging

from kilonova.conductor import plan
from kilonova.conductor.repairs import leftovers
from kilonova.conductor.repairs.scene import Scene
from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext, new_request_id
from kilonova.core.errors import KilonovaError, ServerLocked
from kilonova.core.ids import CellUuid, InstanceUuid
from kilonova.core.instance import Instance, InstanceAction
from kilonova.core.states import Action, TaskState
from kilonova.db import build_requests, instances, tasks
from kilonova.db.cells import mapping_of
from kilonova.rpc.messages import DeleteInstance

LOG = logging.getLogger(__name__)


def delete(scene: Scene, uuid: InstanceUuid) -> None:
    """Begin to delete a server, or delete it, where no host has anything of it.

    What is begun the converger carries through. One that is gone, or is being deleted, is left to that.

    Raises:
        ServerLocked: it is locked; nothing has begun.
        DatabaseUnavailable: its cell does not answer.
    """
    for _ in range(2):
        # Twice: between the look and the withdrawal a build request may have become an instance.
        mapping = mapping_of(scene.api_db, uuid)
        if mapping is None:
            return
        if mapping.cell_uuid is not None:
            _delete_in(scene, mapping.cell_uuid, uuid)
            return
        if build_requests.withdraw(scene.api_db, uuid):
            return


def _delete_in(scene: Scene, cell: CellUuid, uuid: InstanceUuid) -> None:
    database = scene.database(cell)
    server = instances.get(database, uuid)
    if server is None or server.task_state == TaskState.DELETING:
        return
    if server.locked_by is not None:
        raise ServerLocked(f"Instance {uuid} is locked")
    owner = RequestContext(
        request_id=new_request_id(), user_id=server.user_id, project_id=server.project_id
    )
    record = InstanceAction(
        action=Action.DELETE,
        instance_uuid=uuid,
        request_id=owner.request_id,
        user_id=owner.user_id,
        project_id=owner.project_id,
        started_at=utcnow(),
    )
    begun = tasks.begin(database, server, Action.DELETE, record)
    if begun is None:
        return
    build_requests.queue_for_delete(scene.api_db, uuid)
    if begun.host is not None:
        tell_host(scene, cell, owner, begun)
    elif server.task_state != TaskState.UNSHELVING:
        # Of one that is on its way to a host the converger clears away what is claimed meanwhile.
        leftovers.free_volumes(scene, cell, begun)
        leftovers.free_shares(scene, cell, begun)
        scene.placement.free([uuid])
        instances.mark_deleted(database, [uuid], utcnow())
        scene.notices.tell_one(database, begun, plan.gone(begun))


def tell_host(scene: Scene, cell: CellUuid, owner: RequestContext, begun: Instance) -> None:
    """Tell a server's host that its delete has begun; what it does not hear it is told again."""
    try:
        scene.bus(cell).cast(owner, DeleteInstance(instance=begun), host=begun.host)
    except KilonovaError as error:
        LOG.warning("%s: deleting waits for the converger: %s", begun.uuid, error)
