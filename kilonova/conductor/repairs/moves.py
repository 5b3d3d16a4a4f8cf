"""Moves that stand still, and moves that have ended without the top level knowing.

Each is sent on, or gone on with without a destination that is dead. Its row says what is to be done, and
every part of a move may be done twice.
"""

from collections.abc import Iterator
from functools import partial

from kilonova.conductor import patience
from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.clock import utcnow
from kilonova.core.ids import CellUuid
from kilonova.core.migration import Migration, Stage
from kilonova.db import host_fences, instances, moves, resizes
from kilonova.rpc.messages import StartMove


def standing_still(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find moves of which nothing was heard, though somebody has something to do."""
    stuck = moves.stuck(scene.database(cell), utcnow() - patience.STANDS_STILL)
    silent = scene.down(cell) if stuck else frozenset()
    dead = host_fences.dead(scene.database(cell)) if stuck else frozenset()
    for move in stuck:
        acts = move.acting() not in silent
        who = move.acting() or "a conductor"
        mend = partial(_send_on, scene, cell, move, acts=acts, dead=move.acting() in dead)
        yield Finding(move.instance_uuid, f"its move stands still, {move.stage} by {who}", mend)


def _send_on(
    scene: Scene, cell: CellUuid, move: Migration, *, acts: bool, dead: bool
) -> str | None:
    now = utcnow()
    if move.stage is Stage.ACCEPTED:
        scene.hands.move(StartMove(cell_uuid=cell, migration=move.uuid))
        moves.touch(scene.database(cell), move, now)
        return "started again"
    moves_ = scene.moves(cell)
    done = moves_.again(move, now) if acts else moves_.without_host(move, dead=dead)
    return "sent on" if done else None


def not_settled(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find moves that ended and that the top level does not know to have ended."""
    for move in moves.unsettled(scene.database(cell)):
        mend = partial(_settle, scene, cell, move)
        yield Finding(move.instance_uuid, "its move has ended, and does not count yet", mend)


def _settle(scene: Scene, cell: CellUuid, move: Migration) -> str | None:
    """Let the top level know what a server counts for, and what it needs of a host.

    Of one that is deleted nothing is to be claimed, whoever came late.
    """
    database = scene.database(cell)
    server = instances.get(database, move.instance_uuid)
    if server is not None:
        resizes.resize(scene.api_db, server.uuid, server.flavor)
    elif move.updated_at > utcnow() - moves.LEASE:
        # Somebody may be claiming for it still, who looked before it was deleted.
        return None
    else:
        scene.placement.free([move.instance_uuid, move.consumer])
    moves.settle(database, move.uuid)
    return "counted as it is" if server is not None else "what it held is freed"
