"""Build requests and builds that stopped moving."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial

from kilonova.conductor import patience, plan
from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.clock import utcnow
from kilonova.core.ids import CellUuid, InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.scheduling import Destination
from kilonova.core.states import Action
from kilonova.db import build_requests, hosts, instances, reports, unfinished
from kilonova.db.cells import mapping_of


def nobody_drives(scene: Scene) -> Iterator[Finding]:
    """Find build requests that no conductor took up, or that the one who did left behind."""
    for uuid in build_requests.stale(scene.api_db, utcnow(), untouched=patience.UNTOUCHED):
        yield Finding(uuid, "nobody drives its build request", partial(_drive, scene, uuid))


def _drive(scene: Scene, uuid: InstanceUuid) -> str:
    scene.drive((uuid,))
    return "driven again"


def late(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find servers that are still building when they should have been built."""
    if not scene.build_timeout:
        return
    before = utcnow() - timedelta(seconds=scene.build_timeout)
    for instance in unfinished.building_since(scene.database(cell), before):
        mend = partial(_fail, scene, cell, instance)
        yield Finding(instance.uuid, f"not built within {scene.build_timeout:g} s", mend)


def _fail(scene: Scene, cell: CellUuid, instance: Instance) -> str | None:
    fault = plan.timed_out(scene.build_timeout, utcnow())
    return "put into ERROR" if scene.rebuild(cell).give_up(instance, fault) else None


def not_freed(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find servers without a host that may still hold what they were to have."""
    for failed in unfinished.not_freed(scene.database(cell)):
        yield Finding(failed.uuid, "its claim may stand", partial(_free, scene, cell, failed))


def _free(scene: Scene, cell: CellUuid, failed: Instance) -> str:
    scene.rebuild(cell).free(failed)
    return "freed"


def not_begun(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find builds that were sent to a host, and that it did not begin."""
    for waiting in unfinished.never_begun(scene.database(cell), utcnow() - patience.NOT_BEGUN):
        if build_requests.exists(scene.api_db, waiting.uuid):
            # It is settled, or cleared away, by who drives that.
            continue
        mapping = mapping_of(scene.api_db, waiting.uuid)
        if mapping is not None and mapping.cell_uuid == cell:
            again = partial(_send_again, scene, cell, waiting)
            yield Finding(waiting.uuid, f"{waiting.host} did not begin its build", again)
        else:
            # Who placed it here had stood still: its owner took it back, or another placed it, before.
            remove = partial(_remove, scene, cell, waiting)
            yield Finding(waiting.uuid, "it is not this cell's", remove)


def _remove(scene: Scene, cell: CellUuid, stray: Instance) -> str:
    instances.remove(scene.database(cell), [stray.uuid])
    return "removed from this cell"


def _send_again(scene: Scene, cell: CellUuid, waiting: Instance) -> str | None:
    database = scene.database(cell)
    destinations = reports.destinations_of(database, waiting.uuid)
    if waiting.host in hosts.down(database, utcnow(), scene.down_time):
        destinations = (*destinations[1:], *destinations[:1])
    ended = scene.rebuild(cell).end(waiting, unbegun=True)
    return None if ended is None else _start(scene, cell, ended, destinations)


def _start(
    scene: Scene, cell: CellUuid, ended: Instance, candidates: Sequence[Destination]
) -> str | None:
    context = scene.context(cell, ended, Action.CREATE)
    chosen = scene.rebuild(cell).start(context, ended, candidates)
    return None if chosen is None else f"sent to {chosen.host} as build {ended.epoch}"


def on_dead_host(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find builds that were begun on a host of which an operator, or a fence, says that it is dead."""
    database = scene.database(cell)
    dead = hosts.forced_down(database)
    for instance in unfinished.begun_on(database, dead) if dead else ():
        mend = partial(_leave_dead, scene, cell, instance)
        yield Finding(instance.uuid, f"{instance.host} died while it was built", mend)


def _leave_dead(scene: Scene, cell: CellUuid, instance: Instance) -> str | None:
    rebuild = scene.rebuild(cell)
    left = reports.destinations_of(scene.database(cell), instance.uuid)[1:]
    ended = rebuild.end(instance)
    if ended is None:
        return None
    sent = _start(scene, cell, ended, left)
    if sent is None:
        rebuild.give_up(ended, plan.died(utcnow()))
    return sent or "put into ERROR: no other host is left to try"
