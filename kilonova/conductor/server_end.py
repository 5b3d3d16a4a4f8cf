"""Deletes a server in its owner's name, as the API does at his request. It may be done again."""

import logging

from kilonova.conductor import plan
from kilonova.conductor.notices import Notices
from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext, new_request_id
from kilonova.core.errors import KilonovaError, ServerLocked
from kilonova.core.ids import CellUuid, InstanceUuid
from kilonova.core.instance import Instance, InstanceAction
from kilonova.core.states import Action, TaskState
from kilonova.db import build_requests, instances, tasks
from kilonova.db.cells import Cells, mapping_of
from kilonova.db.engine import Database
from kilonova.placement.client import Placement
from kilonova.rpc.connect import Buses
from kilonova.rpc.messages import DeleteInstance

LOG = logging.getLogger(__name__)


class ServerEnd:
    """Deletes servers, one at a time."""

    def __init__(
        self, collaborators: tuple[Database, Cells, Buses, Placement], notices: Notices
    ) -> None:
        self._api_db, self._cells, self._buses, self._placement = collaborators
        self._notices = notices

    def delete(self, uuid: InstanceUuid) -> None:
        """Begin to delete a server, or delete it, where no host has anything of it.

        What is begun the converger carries through. One that is gone, or is being deleted, is left to that.

        Raises:
            ServerLocked: it is locked; nothing has begun.
            DatabaseUnavailable: its cell does not answer.
        """
        for _ in range(2):
            # Twice: between the look and the withdrawal a build request may have become an instance.
            mapping = mapping_of(self._api_db, uuid)
            if mapping is None:
                return
            if mapping.cell_uuid is not None:
                self._delete_in(mapping.cell_uuid, uuid)
                return
            if build_requests.withdraw(self._api_db, uuid):
                return

    def _delete_in(self, cell: CellUuid, uuid: InstanceUuid) -> None:
        database = self._cells.database(cell)
        server = instances.get(database, uuid)
        if server is None or server.task_state == TaskState.DELETING:
            return
        if server.locked_by is not None:
            raise ServerLocked(f"Instance {uuid} is locked")
        context = _owner(server)
        record = InstanceAction(
            action=Action.DELETE,
            instance_uuid=uuid,
            request_id=context.request_id,
            user_id=context.user_id,
            project_id=context.project_id,
            started_at=utcnow(),
        )
        begun = tasks.begin(database, server, Action.DELETE, record)
        if begun is None:
            return
        build_requests.queue_for_delete(self._api_db, uuid)
        if begun.host is not None:
            self._tell_host(cell, context, begun)
        elif server.task_state != TaskState.UNSHELVING:
            # Of one that is on its way to a host the converger clears away what is claimed meanwhile.
            self._placement.free([uuid])
            instances.mark_deleted(database, [uuid], utcnow())
            self._notices.tell_one(database, begun, plan.gone(begun))

    def _tell_host(self, cell: CellUuid, context: RequestContext, begun: Instance) -> None:
        bus = self._buses.at(self._cells.get(cell).transport_url)
        try:
            bus.cast(context, DeleteInstance(instance=begun), host=begun.host)
        except KilonovaError as error:
            LOG.warning("%s: deleting waits for the converger: %s", begun.uuid, error)


def _owner(server: Instance) -> RequestContext:
    return RequestContext(
        request_id=new_request_id(), user_id=server.user_id, project_id=server.project_id
    )
