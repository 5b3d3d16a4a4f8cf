"""Build requests and builds that stopped moving."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from kilonova.conductor import patience, plan
from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.clock import utcnow
from kilonova.core.ids import CellUuid, HostName, InstanceUuid, NodeName, ProviderUuid
from kilonova.core.instance import Instance
from kilonova.core.scheduling import Destination
from kilonova.core.states import Action
from kilonova.db import build_requests, instances, reports, unfinished
from kilonova.db.cells import mapping_of
from kilonova.rpc.messages import BuildInstance


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
    if not reports.fail(scene.database(cell), instance.uuid, instance.epoch, fault):
        return None
    scene.placement.free([instance.uuid])
    return "put into ERROR"


def not_begun(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find builds that were sent to a host, and that it did not begin."""
    before = utcnow() - patience.NOT_BEGUN
    for waiting in unfinished.never_begun(scene.database(cell), before):
        mapping = mapping_of(scene.api_db, waiting.uuid)
        if mapping is None or mapping.cell_uuid is None:
            # Its build request is still there: it is settled, or cleared away, by who drives that.
            continue
        if mapping.cell_uuid == cell:
            again = partial(_send_again, scene, cell, waiting)
            yield Finding(waiting.uuid, f"{waiting.host} did not begin its build", again)
        else:
            # Who placed it here had lost it to another conductor by then.
            remove = partial(_remove, scene, cell, waiting)
            yield Finding(waiting.uuid, "it lives in another cell", remove)


def _remove(scene: Scene, cell: CellUuid, stray: Instance) -> str:
    instances.remove(scene.database(cell), [stray.uuid])
    return "removed from this cell"


def _send_again(scene: Scene, cell: CellUuid, waiting: Instance) -> str | None:
    database = scene.database(cell)
    chosen = _destination(scene, cell, waiting)
    to = (chosen.host, chosen.node, chosen.availability_zone)
    if not reports.move(database, waiting.uuid, waiting.epoch, to, utcnow()):
        return None
    again = instances.get(database, waiting.uuid)
    if again is None:
        return None
    context = scene.context(cell, again, Action.CREATE)
    message = BuildInstance(instance=again, destination=chosen)
    scene.bus(cell).cast(context, message, host=chosen.host)
    return f"sent to {chosen.host} as build {again.epoch}"


def _destination(scene: Scene, cell: CellUuid, instance: Instance) -> Destination:
    held = scene.placement.held_by(instance.uuid)
    return Destination(
        host=instance.host or HostName(""),
        node=instance.node or NodeName(""),
        cell_uuid=cell,
        provider_uuid=ProviderUuid(next(iter(held), "")),
        availability_zone=instance.availability_zone or "",
        allocation=held,
    )
