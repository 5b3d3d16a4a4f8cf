"""How a server that is deleted gives back its volumes: they are free, or end with it."""

import logging

from kilonova.core.errors import KilonovaError
from kilonova.core.instance import Instance
from kilonova.http.volumes import Volumes

LOG = logging.getLogger(__name__)


def release(storage: Volumes, instance: Instance) -> None:
    """Free every volume of a server, whoever attached it, and delete those that end with it.

    Done before, it is no error. Raises what ``Volumes`` raises.
    """
    if not instance.volumes:
        return
    for attachment in storage.attachments_of(instance.uuid):
        storage.release(attachment.attachment_id)
    for volume in instance.volumes:
        if volume.delete_on_termination:
            delete(storage, volume.volume_id)


def delete(storage: Volumes, volume_id: str) -> None:
    """Delete a volume that ends with its server. One that cannot be deleted is left, and that is said."""
    try:
        storage.delete(volume_id)
    except KilonovaError as error:
        if error.retry_helps:
            raise
        LOG.warning("Volume %s is left: %s", volume_id, error.in_full)
