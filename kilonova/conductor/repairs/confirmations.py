"""Confirms what nobody decides on: after a while, a server that was resized or migrated stays as it is."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.clock import utcnow
from kilonova.core.context import new_request_id
from kilonova.core.ids import CellUuid
from kilonova.core.instance import Instance, InstanceAction
from kilonova.core.migration import Migration, confirming
from kilonova.core.states import Action, VmState
from kilonova.db import instances, migration_lists, resizes
from kilonova.db.moves import Next


def undecided_for_long(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find finished moves on which nobody decided for as long as is waited. A silent host has the server,
    or what it would return to, so that those wait for it, as they do when their owner confirms."""
    window = scene.limits.confirm_window
    if window:
        before = utcnow() - timedelta(seconds=window)
        for move in migration_lists.undecided(scene.database(cell), before, scene.down(cell)):
            mend = partial(_confirm, scene, cell, move)
            yield Finding(
                move.instance_uuid, f"its {move.kind} is not confirmed for {window} s", mend
            )


def _confirm(scene: Scene, cell: CellUuid, move: Migration) -> str | None:
    """Do what its owner's confirmation does. Of two that decide, the first is heard."""
    database = scene.database(cell)
    server = instances.get(database, move.instance_uuid)
    if server is None or server.vm_state is not VmState.RESIZED or server.task_state is not None:
        return None
    record = InstanceAction(
        action=Action.CONFIRM_RESIZE,
        instance_uuid=server.uuid,
        request_id=new_request_id(),
        user_id=server.user_id,
        project_id=server.project_id,
        started_at=utcnow(),
    )

    def step(finished: Migration, resized: Instance) -> Next:
        confirmed, kept = confirming(finished, resized, record.request_id, record.started_at)
        return Next(migration=confirmed, instance=kept)

    if scene.moves(cell).change(move, step, record=record) is None:
        return None
    resizes.resize(scene.api_db, server.uuid, move.new_flavor)
    return "confirmed"
