"""How a server is deleted: whatever is under way with it, at once. Nothing is kept to be restored."""

import logging

from kilonova.api import notices
from kilonova.api.find import find_server
from kilonova.api.routing import Answer, Asked
from kilonova.api.server_tasks import begin, check_unlocked, refused
from kilonova.core.clock import utcnow
from kilonova.core.errors import KilonovaError
from kilonova.core.instance import Instance
from kilonova.core.states import Action, TaskState
from kilonova.db import build_requests, instances
from kilonova.http.network_cards import release
from kilonova.rpc.messages import DeleteInstance

LOG = logging.getLogger(__name__)


def delete(asked: Asked, server_id: str) -> Answer:
    """``DELETE /servers/{server_id}``."""
    _delete(asked, server_id)
    return Answer(status=204)


def force_delete(asked: Asked, server_id: str) -> Answer:
    """``forceDelete``: the same, as a delete waits for nothing anyway."""
    _delete(asked, server_id)
    return Answer(status=202)


def restore(asked: Asked, server_id: str) -> Answer:
    """``restore``: refused, as no deleted server is kept.

    Raises:
        WrongState: always, for a server that is there.
    """
    located = find_server(asked, server_id)
    check_unlocked(asked, located.instance)
    raise refused(located.instance, Action.RESTORE, f"vm_state {located.instance.vm_state}")


def _delete(asked: Asked, server_id: str) -> None:
    located = find_server(asked, server_id)
    check_unlocked(asked, located.instance)
    uuid = located.instance.uuid
    if located.cell_uuid is None:
        if build_requests.withdraw(asked.services.api_db, uuid):
            notices.tell_deleted(asked, located.instance)
            return
        # Placed between the look and the withdrawal: then it is in a cell by now.
        located = find_server(asked, server_id)
    # As it is now: until the task was set, a build may have moved to another host.
    begun = begin(asked, located, Action.DELETE)
    host, cell = begun.now.host, begun.cell_uuid
    build_requests.queue_for_delete(asked.services.api_db, uuid)
    if host is None and begun.before.task_state == TaskState.UNSHELVING:
        # Somebody finds a host for it: what he claims is given back by the converger, and then it is gone.
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
