"""Ends what was soft-deleted: after a while, a server that nobody restored is deleted for good."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial

from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext, service_context
from kilonova.core.ids import CellUuid
from kilonova.core.instance import Instance, InstanceAction
from kilonova.core.states import Action
from kilonova.db import soft_deletions
from kilonova.rpc.messages import DeleteInstance


def kept_for_long(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find servers that are deleted and were kept for as long as is promised."""
    kept = scene.limits.deleted_kept
    if kept:
        for instance in soft_deletions.due(
            scene.database(cell), utcnow() - timedelta(seconds=kept)
        ):
            mend = partial(_reclaim, scene, cell, instance)
            yield Finding(instance.uuid, f"is deleted, and was kept for {kept} s", mend)


def _reclaim(scene: Scene, cell: CellUuid, instance: Instance) -> str | None:
    """Begin to delete it. A host that does not hear of it is told again as of every delete."""
    context = service_context()
    record = _record(instance, context, utcnow())
    deleting = soft_deletions.reclaim(scene.database(cell), instance, record)
    if deleting is None:
        return None
    if deleting.host is not None:
        scene.bus(cell).cast(context, DeleteInstance(instance=deleting), host=deleting.host)
    return "deleted for good"


def _record(instance: Instance, context: RequestContext, now: datetime) -> InstanceAction:
    return InstanceAction(
        action=Action.DELETE,
        instance_uuid=instance.uuid,
        request_id=context.request_id,
        user_id=instance.user_id,
        project_id=instance.project_id,
        started_at=now,
    )
