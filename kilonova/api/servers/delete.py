"""How a server is deleted: whatever is under way with it, at once, or so that it can be restored.

Where ``reclaim_instance_interval`` says so, idle servers on a host are kept so long. The others are deleted
for good, as is what the converger reclaims after that while.
"""

import logging

import msgspec

from kilonova.api import notices
from kilonova.api.find import find_server
from kilonova.api.limits import limits_of
from kilonova.api.routing import Answer, Asked
from kilonova.api.servers.tasks import begin, check_unlocked, find_free, order, tell
from kilonova.api.servers.volumes import give_back
from kilonova.core import states
from kilonova.core.clock import utcnow
from kilonova.core.errors import KilonovaError, WrongState
from kilonova.core.ids import CellUuid
from kilonova.core.instance import Instance
from kilonova.core.orders import Restore, SoftDelete
from kilonova.core.states import Action, TaskState, VmState
from kilonova.db import build_requests, instances, soft_deletions, volumes
from kilonova.http import volume_release
from kilonova.http.network_cards import release
from kilonova.rpc.messages import ActOnInstance, DeleteInstance

LOG = logging.getLogger(__name__)


def delete(asked: Asked, server_id: str) -> Answer:
    """``DELETE /servers/{server_id}``: for good, or so that it can be restored for a while."""
    if asked.services.conf.reclaim_instance_interval == 0 or not _soft_delete(asked, server_id):
        _delete(asked, server_id)
    return Answer(status=204)


def force_delete(asked: Asked, server_id: str) -> Answer:
    """``forceDelete``: for good, and at once."""
    _delete(asked, server_id)
    return Answer(status=202)


def restore(asked: Asked, server_id: str) -> Answer:
    """``restore``: a server that was deleted and kept runs again, and counts.

    Raises:
        WrongState: it is not deleted.
        QuotaExceeded: its project has no room for it any more.
    """
    located = find_free(asked, server_id, Action.RESTORE)
    server, api_db = located.instance, asked.services.api_db
    limits = limits_of(asked, server.project_id, server.user_id)
    counted = soft_deletions.count_again(api_db, server, limits)
    try:
        order(asked, server_id, Restore(), located=located)
    except KilonovaError:
        if counted:
            build_requests.queue_for_delete(api_db, server.uuid)
        raise
    return Answer(status=202)


def _soft_delete(asked: Asked, server_id: str) -> bool:
    """Delete a server so that it can be restored; False if that is not for one in its state."""
    located = find_server(asked, server_id)
    server = located.instance
    check_unlocked(asked, server)
    if server.vm_state == VmState.SOFT_DELETED and server.task_state != TaskState.RESTORING:
        return True
    if located.cell_uuid is None or server.host is None:
        return False
    try:
        begun = begin(asked, located, states.SOFT_DELETE, _keep, soft_deletions.note)
    except WrongState:
        return False
    if begun.now.host is not None:
        message = ActOnInstance(instance=begun.now, order=SoftDelete())
        tell(asked, begun, message, begun.now.host)
    build_requests.queue_for_delete(asked.services.api_db, server.uuid)
    return True


def _keep(server: Instance) -> Instance:
    """A server is deleted from the moment that its owner said so; its guest is shut down after it."""
    return msgspec.structs.replace(server, vm_state=VmState.SOFT_DELETED)


def _delete(asked: Asked, server_id: str) -> None:
    located = find_server(asked, server_id)
    check_unlocked(asked, located.instance)
    uuid = located.instance.uuid
    if located.cell_uuid is None:
        if build_requests.withdraw(asked.services.api_db, uuid):
            give_back(asked.services.volumes, located.instance)
            notices.tell_deleted(asked, located.instance)
            return
        # Placed between the look and the withdrawal: then it is in a cell by now.
        located = find_server(asked, server_id)
    # As it is now: until the task was set, a build may have moved to another host.
    begun = begin(asked, located, Action.DELETE)
    host, cell = begun.now.host, begun.cell_uuid
    build_requests.queue_for_delete(asked.services.api_db, uuid)
    if host is None and not _give_volumes_back(asked, begun.now, cell):
        return
    held = begun.now.node or begun.now.shares
    if host is None and (held or begun.before.task_state == TaskState.UNSHELVING):
        # It may hold a claim, or somebody finds a host for it and makes one: the converger frees it first.
        LOG.info("%s: deleting waits for the converger, which frees what it claimed", uuid)
        return
    if host is None:
        # No host has anything of it.
        _remove_image(asked, begun.now)
        _release_ports(asked, begun.now)
        instances.mark_deleted(asked.services.cells.database(cell), [uuid], utcnow())
        notices.tell_deleted(asked, begun.now)
        return
    message = DeleteInstance(instance=begun.now)
    try:
        asked.services.cell_bus(cell).cast(asked.context, message, host=host)
    except KilonovaError as error:
        LOG.warning("%s: deleting waits for the converger: %s", uuid, error)


def _give_volumes_back(asked: Asked, server: Instance, cell: CellUuid) -> bool:
    """Give back the volumes of a server that is on no host; False if that is left to the converger."""
    if not server.volumes:
        return True
    try:
        volume_release.release(asked.services.volumes, server)
    except KilonovaError as error:
        LOG.warning("%s: deleting waits for its volumes: %s", server.uuid, error)
        return False
    volumes.change(asked.services.cells.database(cell), server.uuid, lambda _: (), utcnow())
    return True


def _release_ports(asked: Asked, server: Instance) -> None:
    """Let go of the ports of a server that is on no host. The converger finds those that are left."""
    if asked.services.networks is not None:
        try:
            release(asked.services.networks, server.uuid)
        except KilonovaError as error:
            LOG.warning("%s: its ports are left: %s", server.uuid, error)


def _remove_image(asked: Asked, server: Instance) -> None:
    """Remove what a shelved server has become."""
    if server.shelved_image is not None:
        try:
            asked.services.images.delete(server.shelved_image)
        except KilonovaError as error:
            LOG.warning("%s: its image %s is left: %s", server.uuid, server.shelved_image, error)
