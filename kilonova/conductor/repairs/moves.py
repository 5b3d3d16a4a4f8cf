"""Moves that stand still, and moves that have ended without the top level knowing.

Each is sent on, or goes on without a host that does not answer, where ``lost_hosts`` lets it. Its row says
what is to be done, and every part of a move may be done twice.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

import msgspec

from kilonova.conductor import lost_hosts, patience
from kilonova.conductor.lost_hosts import Course, Heard, Way
from kilonova.conductor.repairs import leftovers
from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.clock import utcnow
from kilonova.core.ids import CellUuid, HostName
from kilonova.core.instance import Instance
from kilonova.core.migration import Kind, Migration, Stage
from kilonova.core.quota import UNLIMITED, Limits
from kilonova.db import host_fences, hosts, instances, moves, resizes, waits
from kilonova.db.hosts import Silence
from kilonova.db.moves import Next
from kilonova.rpc.messages import StartMove


class _Known(NamedTuple):
    """What is known of a host, and when it was heard last."""

    heard: Heard
    since: datetime | None = None


_GONE = _Known(Heard.GONE)
_COUNTED_BEFORE = Limits(cores=UNLIMITED, ram=UNLIMITED)


def standing_still(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find moves of which nothing was heard, though somebody has something to do."""
    database, now = scene.database(cell), utcnow()
    known = _known(scene, cell, now)
    dead = [host for host, one in known.items() if one.heard is Heard.DEAD]
    silent = [host for host, one in known.items() if one.heard is not Heard.ANSWERS]
    for move in moves.stuck(database, now - patience.STANDS_STILL, silent, dead):
        host = move.acting()
        if host is None:
            again = partial(_start_again, scene, cell, move)
            yield Finding(move.instance_uuid, "its move stands still, without a destination", again)
            continue
        server = instances.get(database, move.instance_uuid, with_deleted=True)
        if server is None:
            continue
        one = known.get(host, _GONE)
        way = lost_hosts.way_of(move, server.epoch, one.heard)
        what = f"its move stands still, {move.stage} by {host}"
        if way.course is not Course.WAIT:
            mend = partial(_go_on, scene, cell, (move, server), (way, Silence(host, one.since)))
            yield Finding(move.instance_uuid, what, mend)
        elif lost_hosts.holds_up(move):
            # Once told, it is an operator's affair.
            told = waits.is_told(database, move) and not _as_before(move, server, one.heard)
            say = (
                None
                if told
                else partial(_tell, scene, cell, (move, server), (host, way.why, one.heard))
            )
            yield Finding(move.instance_uuid, f"{what}: {way.why}", say)


def _known(scene: Scene, cell: CellUuid, now: datetime) -> Mapping[HostName, _Known]:
    """Return what is known of a cell's hosts. One that is forced down and not silent is not dead yet."""
    database = scene.database(cell)
    fenced = host_fences.dead(database)
    before = now - timedelta(seconds=scene.limits.down_time)
    found = {}
    for one in hosts.list_services(database, binary=hosts.COMPUTE):
        quiet = one.last_seen is None or one.last_seen < before
        if one.host in fenced or (quiet and one.forced_down):
            heard = Heard.DEAD
        else:
            heard = Heard.SILENT if quiet or one.forced_down else Heard.ANSWERS
        found[one.host] = _Known(heard, one.last_seen)
    return found


def _start_again(scene: Scene, cell: CellUuid, move: Migration) -> str:
    scene.hands.move(StartMove(cell_uuid=cell, migration=move.uuid))
    moves.touch(scene.database(cell), move, utcnow())
    return "started again"


def _go_on(
    scene: Scene, cell: CellUuid, of: tuple[Migration, Instance], how: tuple[Way, Silence]
) -> str | None:
    (move, server), (way, silent) = of, how
    here = scene.moves(cell)
    if way.course is Course.TELL:
        return "sent on" if here.again(move, utcnow()) else None
    if way.course is Course.FAIL:
        went = here.fail_for(move, way.why, silent)
        if went and move.kind is Kind.SHELVE and move.image is not None:
            # Not before: the host may have come back, and said that it is whole.
            leftovers.remove_image(scene, move.image.image_id)
    else:
        if move.kind is Kind.SHELVE:
            leftovers.keep_volumes(scene, cell, server, silent.host)
        went = here.pass_over(move, silent)
    return f"goes on without {silent.host}" if went else None


def _as_before(move: Migration, server: Instance, heard: Heard) -> bool:
    """Whether a server is to be shown as what it was, as its dead source is where it belongs again."""
    back = move.stage is Stage.RESTORING and heard is not Heard.SILENT
    return back and server.vm_state is not move.vm_state


def _tell(
    scene: Scene,
    cell: CellUuid,
    of: tuple[Migration, Instance],
    what: tuple[HostName, str, Heard],
) -> str | None:
    """Tell a server's owner what its move waits for."""
    (move, server), (host, why, heard) = of, what
    database = scene.database(cell)

    def step(waiting: Migration, now: Instance) -> Next:
        was = msgspec.structs.replace(now, vm_state=waiting.vm_state)
        return Next(migration=waiting, instance=was)

    if _as_before(move, server, heard) and moves.change(database, move, step) is None:
        return None
    waits.tell(database, move, host, why)
    return "its owner is told"


def not_settled(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find moves that ended and that the top level does not know to have ended."""
    for move in moves.unsettled(scene.database(cell)):
        mend = partial(_settle, scene, cell, move)
        yield Finding(move.instance_uuid, "its move has ended, and does not count yet", mend)


def _settle(scene: Scene, cell: CellUuid, move: Migration) -> str | None:
    """Let the top level know what a server counts for, and what it needs of a host.

    Of one that is deleted nothing is to be claimed, whoever came late. One that is on the move again counts
    for the larger of two sizes, and for one of them when that has ended.
    """
    database = scene.database(cell)
    server = instances.get(database, move.instance_uuid)
    if server is not None:
        if not moves.waiting_among(database, [server.uuid]):
            resizes.resize(scene.api_db, server.uuid, server.flavor)
            # Whoever has begun to move it since the look may have counted before.
            for later in moves.unfinished(database, [server.uuid]):
                if later.stage is not Stage.CLEARING:
                    resizes.grow(scene.api_db, server.uuid, later.new_flavor, _COUNTED_BEFORE)
    elif move.updated_at > utcnow() - moves.LEASE:
        # Somebody may be claiming for it still, who looked before it was deleted.
        return None
    else:
        scene.placement.free([move.instance_uuid, move.consumer])
    moves.settle(database, move.uuid)
    return "counted as it is" if server is not None else "what it held is freed"
