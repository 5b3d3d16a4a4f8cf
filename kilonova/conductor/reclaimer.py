"""Ends what was soft-deleted: after a while, a server that nobody restored is deleted for good."""

from datetime import datetime, timedelta

from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext, service_context
from kilonova.core.ids import HostName
from kilonova.core.instance import Instance, InstanceAction
from kilonova.core.states import Action
from kilonova.db import soft_deletions
from kilonova.db.engine import Database
from kilonova.rpc.bus import Bus
from kilonova.rpc.messages import DeleteInstance


def reclaim(cell_db: Database, bus: Bus, kept: int) -> int:
    """Begin to delete what a cell has kept for longer than ``kept`` seconds; return how many servers.

    A host that does not hear of it is told again as of every delete.
    """
    now = utcnow()
    begun = 0
    for instance in soft_deletions.due(cell_db, now - timedelta(seconds=kept)):
        context = service_context()
        deleting = soft_deletions.reclaim(cell_db, instance, _record(instance, context, now))
        if deleting is not None:
            begun += 1
            host = deleting.host or HostName("")
            bus.cast(context, DeleteInstance(instance=deleting), host=host)
    return begun


def _record(instance: Instance, context: RequestContext, now: datetime) -> InstanceAction:
    return InstanceAction(
        action=Action.DELETE,
        instance_uuid=instance.uuid,
        request_id=context.request_id,
        user_id=instance.user_id,
        project_id=instance.project_id,
        started_at=now,
    )
