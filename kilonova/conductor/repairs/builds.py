"""Build requests and builds that stopped moving."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from kilonova.conductor import patience, plan
from kilonova.conductor.rebuild import Started
from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.clock import utcnow
from kilonova.core.ids import CellUuid, InstanceUuid, ProviderUuid
from kilonova.core.instance import ActionEvent, Instance
from kilonova.core.report import Tried
from kilonova.core.scheduling import Destination
from kilonova.core.states import Action
from kilonova.db import actions, build_requests, builds, host_fences, instances, unfinished
from kilonova.db.cells import mapping_of


def nobody_drives(scene: Scene) -> Iterator[Finding]:
    """Find build requests that no conductor took up, or that the one who did left behind."""
    for uuid in build_requests.stale(scene.api_db, utcnow(), untouched=patience.UNTOUCHED):
        yield Finding(uuid, "nobody drives its build request", partial(_drive, scene, uuid))


def _drive(scene: Scene, uuid: InstanceUuid) -> str:
    scene.hands.drive((uuid,))
    return "driven again"


def late(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find servers that are still building when they should have been built."""
    if not scene.limits.build_timeout:
        return
    before = utcnow() - timedelta(seconds=scene.limits.build_timeout)
    for instance in unfinished.building_since(scene.database(cell), before):
        mend = partial(_fail, scene, cell, instance)
        yield Finding(instance.uuid, f"not built within {scene.limits.build_timeout:g} s", mend)


def _fail(scene: Scene, cell: CellUuid, instance: Instance) -> str | None:
    fault = plan.timed_out(scene.limits.build_timeout, utcnow())
    tried = _tried(scene, cell, instance, ())
    return "put into ERROR" if scene.rebuild(cell).give_up(instance, fault, tried) else None


def _tried(
    scene: Scene, cell: CellUuid, instance: Instance, events: tuple[ActionEvent, ...]
) -> Tried | None:
    request = actions.request_of(scene.database(cell), instance.uuid, Action.CREATE)
    return Tried(request_id=request, events=events) if request else None


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
    candidates = _destinations(scene, cell, waiting)
    if waiting.host in scene.down(cell):
        candidates = (*candidates[1:], *candidates[:1])
    rebuild = scene.rebuild(cell)
    ended = rebuild.end(waiting, unbegun=True)
    if ended is None:
        return None
    context = scene.context(cell, ended, Action.CREATE)
    return _told(ended, rebuild.start(context, ended, candidates, again=True))


def _told(ended: Instance, started: Started) -> str | None:
    if started.destination is None:
        return None
    return f"sent to {started.destination.host} as build {ended.epoch}"


def _destinations(scene: Scene, cell: CellUuid, waiting: Instance) -> tuple[Destination, ...]:
    """Return where a build is and may be; of one that an older conductor sent, only where it is."""
    kept = builds.destinations_of(scene.database(cell), waiting.uuid)
    if kept or waiting.host is None or waiting.node is None:
        return kept
    held = scene.placement.holding(waiting.uuid).allocation
    here = Destination(
        host=waiting.host,
        node=waiting.node,
        cell_uuid=cell,
        provider_uuid=ProviderUuid(next(iter(held), "")),
        availability_zone=waiting.availability_zone or "",
        allocation=held,
    )
    return (here,) if held else ()


def on_dead_host(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find builds that were begun on a host of which an operator, or a fence, says that it is dead."""
    database = scene.database(cell)
    dead = host_fences.surely_dead(database)
    for instance in unfinished.begun_on(database, dead) if dead else ():
        mend = partial(_leave_dead, scene, cell, instance)
        yield Finding(instance.uuid, f"{instance.host} died while it was built", mend)


def _leave_dead(scene: Scene, cell: CellUuid, instance: Instance) -> str | None:
    rebuild = scene.rebuild(cell)
    left = builds.destinations_of(scene.database(cell), instance.uuid)[1:]
    ended = rebuild.end(instance)
    if ended is None:
        return None
    started = rebuild.start(scene.context(cell, ended, Action.CREATE), ended, left)
    sent = _told(ended, started)
    if sent is None:
        tried = _tried(scene, cell, ended, started.tries)
        rebuild.give_up(ended, plan.died(utcnow()), tried)
    return sent or "put into ERROR: no other host is left to try"
