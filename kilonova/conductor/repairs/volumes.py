"""Volumes on the way to or from a server of which nothing was heard: their host is told once more.

The server's row says what is to be done, and every order about a volume may be given twice.
"""

from collections.abc import Iterator
from functools import partial

from kilonova.conductor import patience
from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.clock import utcnow
from kilonova.core.context import service_context
from kilonova.core.ids import CellUuid
from kilonova.core.instance import Instance
from kilonova.core.orders import AnyOrder, AttachVolume, DetachVolume, SwapVolume
from kilonova.core.volume import Volume, VolumeStage
from kilonova.db import volumes
from kilonova.rpc.messages import ActOnInstance


def order_of(volume: Volume) -> AnyOrder | None:
    """Return what a host is to do with a volume, or None if that is nothing."""
    if volume.stage is VolumeStage.ATTACHING:
        return AttachVolume(volume_id=volume.volume_id)
    if volume.stage is VolumeStage.DETACHING:
        return DetachVolume(volume_id=volume.volume_id)
    if volume.stage is VolumeStage.SWAPPING:
        return SwapVolume(volume_id=volume.volume_id)
    return None


def standing_still(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find servers to or from which volumes are on the way, and whose host says nothing of them."""
    for server in volumes.standing_still(scene.database(cell), utcnow() - patience.NOT_ATTACHED):
        yield Finding(server.uuid, "a volume stands still", partial(_tell, scene, cell, server))


def _tell(scene: Scene, cell: CellUuid, server: Instance) -> str | None:
    volumes.touch(scene.database(cell), [server.uuid], utcnow())
    if server.host is None:
        return None
    for volume in server.volumes:
        order = order_of(volume)
        if order is not None:
            message = ActOnInstance(instance=server, order=order)
            scene.bus(cell).cast(service_context(volume.request_id), message, host=server.host)
    return f"told {server.host} again"
