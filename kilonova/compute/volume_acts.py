"""Volumes that come to a guest, go from it, change places, or grow. Each may be told twice."""

import logging
from collections.abc import Callable

import msgspec

from kilonova.compute.jobs import Job
from kilonova.core.errors import BuildFailed, KilonovaError, NotFound, Unavailable
from kilonova.core.volume import Volume, VolumeReport, VolumeStage

LOG = logging.getLogger(__name__)


def due(stage: VolumeStage) -> Callable[[Job], bool]:
    """Return what tells whether an order's volume is still to be brought on from a stage."""

    def begins(job: Job) -> bool:
        volume_id = job.order.volume_id
        return job.volumes.begins(job.instance, job.request_id, volume_id, stage)

    return begins


def is_attached(job: Job) -> bool:
    """Whether the server still has the order's volume."""
    said = VolumeReport(volume_id=job.order.volume_id)
    return job.volumes.tell(job.instance.uuid, job.request_id, said)


def _volume(job: Job) -> Volume:
    for volume in job.instance.volumes:
        if volume.volume_id == job.order.volume_id:
            return volume
    raise BuildFailed(f"Volume {job.order.volume_id} is none of the server's.")


def _tell(job: Job, said: VolumeReport) -> None:
    job.volumes.tell(job.instance.uuid, job.request_id, said)


def attach(job: Job) -> None:
    """Give a volume to the guest. If that fails the server does not have it, and it is free again."""
    volume = _volume(job)
    try:
        here = job.volumes.connect_one(job.instance, volume, job.request_id)
        job.driver.attach_volume(job.instance, here)
        job.volumes.finished(here)
    except KilonovaError:
        # Whatever cannot be undone now is gone on with by whoever looks after what stands still.
        _tell(job, VolumeReport(volume_id=volume.volume_id, stage=VolumeStage.DETACHING))
        _take_away(job, volume)
        raise
    _tell(job, VolumeReport(volume_id=volume.volume_id, stage=VolumeStage.ATTACHED))


def detach(job: Job) -> None:
    """Take a volume from the guest. If the guest does not let it go, the server keeps it."""
    volume = _volume(job)
    try:
        _take_away(job, volume)
    except BuildFailed:
        _tell(job, VolumeReport(volume_id=volume.volume_id, stage=VolumeStage.ATTACHED))
        raise


def _take_away(job: Job, volume: Volume) -> None:
    try:
        job.driver.detach_volume(job.instance, volume)
    except NotFound:
        LOG.info("%s has no guest that has volume %s", job.instance.uuid, volume.volume_id)
    job.volumes.free(job.instance, volume)
    _tell(job, VolumeReport(volume_id=volume.volume_id, gone=True))


def swap(job: Job) -> None:
    """Copy a volume to where the storage moves it, and let the guest go on there.

    Once the guest is there, nothing is undone: what the storage does not hear now it is told again.
    """
    volume = _volume(job)
    if not job.volumes.is_moving(volume):
        # Whoever did this before came to its end, and died before it could say so.
        _tell_settled(job, volume, volume.volume_id)
        return
    try:
        here = job.volumes.join(job.instance, volume)
        job.driver.swap_volume(job.instance, volume, here)
    except Unavailable:
        raise
    except KilonovaError:
        _tell_settled(job, volume, job.volumes.finish_move(job.instance, volume, None))
        raise
    job.volumes.finished(here)
    _tell_settled(job, volume, job.volumes.finish_move(job.instance, volume, here))


def _tell_settled(job: Job, volume: Volume, kept: str) -> None:
    """Tell which volume the server has instead of one, or still, and that nothing is under way with it."""
    said = VolumeReport(
        volume_id=volume.volume_id,
        replaced_by=kept,
        attachment=job.volumes.attachment_to(job.instance, kept),
        stage=VolumeStage.ATTACHED,
    )
    _tell(job, said)


def extend(job: Job) -> None:
    """Let the guest see that a volume has grown."""
    volume = _volume(job)
    size = job.volumes.size_of(volume.volume_id)
    grown = msgspec.structs.replace(volume, size_gb=size)
    here = job.volumes.connect_one(job.instance, grown, job.request_id)
    job.driver.extend_volume(job.instance, here)
    _tell(job, VolumeReport(volume_id=volume.volume_id, size_gb=size))


def snapshot(job: Job) -> None:
    """Let the guest go on with a new file of a volume, and tell the block storage service."""
    try:
        job.driver.snapshot_volume(job.instance, _volume(job), job.order.new_file)
    except KilonovaError:
        job.volumes.tell_snapshot(job.order.snapshot_id, "error", "0%")
        raise
    job.volumes.tell_snapshot(job.order.snapshot_id, "creating", "90%")


def merge(job: Job) -> None:
    """Merge a file of a volume into another, and tell the block storage service."""
    files = (job.order.file_to_merge, job.order.target_file)
    try:
        job.driver.merge_snapshot(job.instance, _volume(job), files)
    except KilonovaError:
        job.volumes.tell_snapshot(job.order.snapshot_id, "error_deleting", "90%")
        raise
    job.volumes.tell_snapshot(job.order.snapshot_id, "deleting", "90%")
