"""Volumes on the way to or from a server of which nothing was heard: their host is told once more.

The row says what is to be done, and every order about a volume may be given twice.
"""

import logging
from datetime import timedelta

from kilonova.core.clock import utcnow
from kilonova.core.context import service_context
from kilonova.core.orders import AnyOrder, AttachVolume, DetachVolume, SwapVolume
from kilonova.core.volume import Volume, VolumeStage
from kilonova.db import volumes
from kilonova.db.engine import Database
from kilonova.rpc.bus import Bus
from kilonova.rpc.messages import ActOnInstance

LOG = logging.getLogger(__name__)

STANDS_STILL = timedelta(seconds=60)
"""What a host gets before it is told again. Whatever it has in hand it does not begin twice."""


def order_of(volume: Volume) -> AnyOrder | None:
    """Return what a host is to do with a volume, or None if that is nothing."""
    if volume.stage is VolumeStage.ATTACHING:
        return AttachVolume(volume_id=volume.volume_id)
    if volume.stage is VolumeStage.DETACHING:
        return DetachVolume(volume_id=volume.volume_id)
    if volume.stage is VolumeStage.SWAPPING:
        return SwapVolume(volume_id=volume.volume_id)
    return None


def send_again(cell_db: Database, bus: Bus) -> int:
    """Tell hosts again of what stands still; return how many orders that were."""
    now = utcnow()
    stuck = volumes.standing_still(cell_db, now - STANDS_STILL)
    count = 0
    for instance in stuck:
        for volume in instance.volumes:
            order = order_of(volume)
            if order is None or instance.host is None:
                continue
            LOG.info("Repair volume: %s of %s, %s", volume.volume_id, instance.uuid, volume.stage)
            message = ActOnInstance(instance=instance, order=order)
            bus.cast(service_context(volume.request_id), message, host=instance.host)
            count += 1
    if stuck:
        volumes.touch(cell_db, [instance.uuid for instance in stuck], now)
    return count
