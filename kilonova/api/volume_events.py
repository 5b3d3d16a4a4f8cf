"""What the block storage service says of volumes that servers have."""

from kilonova.api.routing import Asked
from kilonova.api.servers.tasks import record_of
from kilonova.core import states
from kilonova.core.external_event import ExternalEvent
from kilonova.core.ids import CellUuid, HostName
from kilonova.core.orders import ExtendVolume
from kilonova.core.states import Action
from kilonova.db import actions, instances
from kilonova.rpc.messages import ActOnInstance


def extended(asked: Asked, event: ExternalEvent, place: tuple[CellUuid, HostName | None]) -> None:
    """Let the host of a server look at a volume that has grown, if the server has it."""
    cell, host = place
    database = asked.services.cells.database(cell)
    server = instances.get(database, event.server_uuid)
    if server is None or event.tag not in {volume.volume_id for volume in server.volumes}:
        return
    if states.refusal(Action.EXTEND_VOLUME, server.vm_state, server.task_state) is not None:
        return
    actions.record(database, [record_of(asked, server, Action.EXTEND_VOLUME)])
    order = ExtendVolume(volume_id=event.tag or "")
    message = ActOnInstance(instance=server, order=order)
    asked.services.cell_bus(cell).cast(asked.context, message, host=host)
