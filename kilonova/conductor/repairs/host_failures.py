"""Hosts that fell silent: they are suspected, their fences are asked, and the servers of those that are
dead are started elsewhere. What is decided stands in ``core.host_failure``.
"""

import uuid
from collections.abc import Callable, Iterator
from functools import partial

from kilonova.conductor import evacuations
from kilonova.conductor.evacuations import Waiting
from kilonova.conductor.fencing import Asked
from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core import host_failure
from kilonova.core import migration as mig
from kilonova.core.clock import utcnow
from kilonova.core.errors import HostsUnavailable
from kilonova.core.host_failure import Ask, Fence, Forget, Suspect, Verdict
from kilonova.core.ids import CellUuid
from kilonova.core.instance import Instance
from kilonova.core.migration import Migration
from kilonova.db import host_fences, hosted, hosts
from kilonova.db.hosts import Silence
from kilonova.db.moves import Next
from kilonova.rpc.messages import StartMove


def silent(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find hosts that fell silent or were heard again, of which somebody waits for a server.

    Raises:
        HostsUnavailable: too many fell silent together; nothing is done about these.
    """
    if not scene.limits.ha.fences:
        return
    database, now = scene.database(cell), utcnow()
    services = hosts.list_services(database, binary=hosts.COMPUTE)
    held = host_failure.held_back(services, now, scene.limits.down_time)
    quiet = host_failure.silent(services, now, scene.limits.down_time)
    judged = quiet.keys() - (held.hosts if held else frozenset())
    full = hosted.hosts_with_servers(database, judged) if judged else ()
    mode = scene.limits.ha.mode
    waited_for = [
        host for host in full if evacuations.is_waited_for(scene.api_db, database, host, mode)
    ]
    fences = host_fences.all_of(database)
    for step in host_failure.plan(services, fences, waited_for, now):
        match step:
            case Suspect():
                what = f"is silent since {step.since:%H:%M:%S}"
                yield Finding(step.host, what, partial(_suspect, scene, cell, step))
            case Ask():
                again = (
                    f", and its fence said no {step.fence.tries} times" if step.fence.tries else ""
                )
                mend: Callable[[], str | None] = partial(_ask, scene, cell, step.fence)
                yield Finding(step.fence.host, f"stays silent{again}", mend)
            case Forget():
                mend = partial(_forget, scene, cell, step)
                yield Finding(step.fence.host, f"was silent: {step.why}", mend)
    if held is not None:
        raise HostsUnavailable(f"{held.sentence} Nothing is done about those.")


def _suspect(scene: Scene, cell: CellUuid, step: Suspect) -> str:
    host_fences.suspect(scene.database(cell), step.host, step.since, utcnow())
    return "suspected"


def _ask(scene: Scene, cell: CellUuid, fence: Fence) -> str | None:
    """Raise the epochs of the host's servers, and have its fence asked."""
    database = scene.database(cell)
    to_move, kept = evacuations.to_move(scene.api_db, database, fence.host, scene.limits.ha.mode)
    asked = host_fences.ask(database, fence, str(uuid.uuid4()), (*to_move, *kept), utcnow())
    if asked is None:
        return None
    address = hosts.addresses_of(database, [fence.host]).get(fence.host, "")
    scene.hands.fence(Asked(cell, asked, address))
    return f"its fence is asked, for {len(to_move)} servers to move and {len(kept)} to replace"


def _forget(scene: Scene, cell: CellUuid, step: Forget) -> str | None:
    return "forgotten" if host_fences.forget(scene.database(cell), step.fence) else None


def left_behind(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find servers on dead hosts that are to be elsewhere."""
    if not scene.limits.ha.fences:
        return
    database, now = scene.database(cell), utcnow()
    fences = [one for one in host_fences.all_of(database).values() if one.verdict is Verdict.DEAD]
    if not fences:
        return
    services = hosts.list_services(database, binary=hosts.COMPUTE)
    heard = {one.host: one.last_seen for one in services}
    held = host_failure.held_back(services, now, scene.limits.down_time)
    for fence in fences:
        if heard.get(fence.host) != fence.since:
            continue
        if held is not None and fence.host in held.hosts:
            continue
        mode = scene.limits.ha.mode
        for move, server in evacuations.undecided(scene.api_db, database, fence.host, mode):
            back = partial(_revert, scene, cell, fence, (move, server))
            yield Finding(server.uuid, f"its host {fence.host} is dead", back)
        servers, _ = evacuations.to_move(scene.api_db, database, fence.host, mode)
        room = evacuations.room(database)
        for waiting in evacuations.due(database, fence, servers, now):
            if not waiting.refusal:
                room -= 1
            if room >= 0 or waiting.refusal:
                mend = partial(_start_elsewhere, scene, cell, fence, waiting)
                yield Finding(waiting.server.uuid, f"its host {fence.host} is dead", mend)


def _start_elsewhere(scene: Scene, cell: CellUuid, fence: Fence, waiting: Waiting) -> str | None:
    database = scene.database(cell)
    if waiting.refusal:
        return evacuations.refuse(database, fence, waiting, utcnow())
    move = evacuations.begin(database, fence, waiting.server, utcnow())
    if move is None:
        return None
    scene.hands.move(StartMove(cell_uuid=cell, migration=move.uuid))
    return "is started elsewhere"


def _revert(
    scene: Scene, cell: CellUuid, fence: Fence, resized: tuple[Migration, Instance]
) -> str | None:
    """Let a resized server be what it was, where it was: its old host has all of it still."""
    move, server = resized
    now = utcnow()
    record = evacuations.reversion(server, now)

    def step(finished: Migration, instance: Instance) -> Next:
        after = mig.reverting(finished, instance, record.request_id, now)
        return Next(migration=after[0], instance=after[1])

    silent = Silence(fence.host, fence.since)
    done = scene.moves(cell).change(move, step, record=record, silent=silent)
    return "its resize is reverted" if done is not None else None
