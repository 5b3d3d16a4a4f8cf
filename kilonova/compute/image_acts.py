"""Images made of servers: a copy of the disk, uploaded; and backups, of which only the newest are kept."""

import logging

from kilonova.compute.jobs import Job
from kilonova.core.errors import BuildAborted, KilonovaError
from kilonova.core.ids import ImageId
from kilonova.core.instance import Instance
from kilonova.core.states import COPIES, TaskState
from kilonova.http.images import ImageStore

LOG = logging.getLogger(__name__)


def snapshot(job: Job) -> None:
    """Copy the guest's disk into the order's image; an image that cannot be filled is removed."""
    try:
        with job.driver.snapshot(job.instance) as copy:
            _end_if_going(job)
            job.say(TaskState.IMAGE_UPLOADING)
            job.images.upload(job.order.image_id, copy.data, copy.disk_format)
    except BaseException:
        _remove(job, job.order.image_id)
        raise


def _end_if_going(job: Job) -> None:
    if job.hurry():
        raise BuildAborted("The server was deleted while it was being copied.")


def backup(job: Job) -> None:
    """Make the same of a backup, and remove the backups of its type beyond the newest ``rotation``."""
    snapshot(job)
    like_it = {
        "image_type": "backup",
        "backup_type": job.order.backup_type,
        "instance_uuid": str(job.instance.uuid),
    }
    # The newest come first; an image service tells those of one second apart by chance.
    earlier = [i for i in job.images.list_ids(like_it) if i != job.order.image_id]
    for image_id in [job.order.image_id, *earlier][job.order.rotation :]:
        _remove(job, image_id)


def abandon(images: ImageStore, instance: Instance) -> None:
    """Remove the image that a server was being copied into when the host's service ended, if it was."""
    if instance.task_state not in COPIES:
        return
    try:
        images.remove_unfilled(instance.uuid)
    except KilonovaError as error:
        LOG.warning("An image of %s is left: %s", instance.uuid, error.in_full)


def _remove(job: Job, image_id: ImageId) -> None:
    try:
        job.images.delete(image_id)
    except KilonovaError as error:
        LOG.warning("Image %s of %s is left: %s", image_id, job.instance.uuid, error.in_full)
