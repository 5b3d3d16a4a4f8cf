"""What a host that does not come back leaves of a server with other services: volumes, which are let go or
kept reserved for it, shares to which it is let in, and images that nobody fills any more. Everything may be
done again.
"""

import logging

import msgspec

from kilonova.conductor.repairs.scene import Scene
from kilonova.core.clock import utcnow
from kilonova.core.errors import KilonovaError
from kilonova.core.ids import CellUuid, HostName, ImageId
from kilonova.core.instance import Instance
from kilonova.core.share import Share
from kilonova.core.volume import NOBODY, Volume
from kilonova.db import shares, volumes
from kilonova.http import volume_release

LOG = logging.getLogger(__name__)


def free_volumes(scene: Scene, cell: CellUuid, server: Instance) -> None:
    """Free the volumes of a server that is deleted, and delete those that end with it.

    Raises:
        VolumesUnavailable: some are left.
    """
    if not server.volumes:
        return
    volume_release.release(scene.volumes, server)
    volumes.change(scene.database(cell), server.uuid, lambda _: (), utcnow())


def free_shares(scene: Scene, cell: CellUuid, server: Instance) -> None:
    """Let the shares go of a server that is deleted.

    Raises:
        SharesUnavailable: some are left.
    """
    for share in server.shares:
        free_share(scene, cell, server, share)


def free_share(scene: Scene, cell: CellUuid, server: Instance, share: Share) -> None:
    """Let one share go of a server whose host does not: in for it is let who is for other servers, too.

    Raises:
        SharesUnavailable: it is the server's still.
    """
    database = scene.database(cell)
    others = shares.servers_with(database, share.share_id)
    needed = {
        rule
        for other in others
        for one in other.shares
        if other.uuid != server.uuid and one.share_id == share.share_id
        for rule in one.rules.values()
    }
    for rule in sorted(set(share.rules.values()) - needed):
        try:
            scene.shares.deny(share.share_id, rule)
        except KilonovaError as error:
            if error.retry_helps:
                raise
            LOG.warning("An access rule of share %s is left: %s", share.share_id, error.in_full)

    def without(now: Instance) -> tuple[Share, ...]:
        return tuple(one for one in now.shares if one.share_id != share.share_id)

    shares.change(database, server.uuid, without, utcnow())


def keep_volumes(scene: Scene, cell: CellUuid, server: Instance, host: HostName) -> None:
    """Take a server's volumes from a host that is dead, and keep them reserved for the server.

    Raises:
        VolumesUnavailable: some are its host's still.
    """
    for volume in server.volumes:
        attachment = volume.attachments.get(host)
        if attachment is None:
            continue
        # First, so that nobody else can have it in between.
        reserved = volume.attachments.get(NOBODY) or scene.volumes.reserve(
            volume.volume_id, server.uuid
        )
        _note(scene, cell, server, msgspec.structs.replace(volume, attachments={NOBODY: reserved}))
        scene.volumes.release(attachment)


def _note(scene: Scene, cell: CellUuid, server: Instance, now: Volume) -> None:
    def becomes(instance: Instance) -> tuple[Volume, ...]:
        return tuple(now if v.volume_id == now.volume_id else v for v in instance.volumes)

    volumes.change(scene.database(cell), server.uuid, becomes, utcnow())


def remove_copies(scene: Scene, server: Instance) -> None:
    """Remove the images into which a server was being copied. What cannot be removed is left, and that is
    said."""
    try:
        scene.images.remove_unfilled(server.uuid)
    except KilonovaError as error:
        LOG.warning("Images of %s are left: %s", server.uuid, error.in_full)


def remove_image(scene: Scene, image_id: ImageId) -> None:
    """Remove an image that no server is made of, as far as that can be done."""
    try:
        scene.images.delete(image_id)
    except KilonovaError as error:
        LOG.warning("Image %s is left: %s", image_id, error.in_full)
