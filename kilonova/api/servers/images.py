"""``createImage`` and ``createBackup``: an image is made at once, without data, and the host fills it."""

from collections.abc import Mapping
from typing import Any

from kilonova.api.limits import limits_of
from kilonova.api.microversions import Since
from kilonova.api.routing import Answer, Asked
from kilonova.api.servers import volume_images, wishes
from kilonova.api.servers.tasks import find_free, order
from kilonova.core.block_devices import boots_from_volume
from kilonova.core.errors import Invalid, KilonovaError
from kilonova.core.ids import ImageId
from kilonova.core.instance import Instance, Located
from kilonova.core.orders import Backup, Snapshot
from kilonova.core.states import Action

_NOT_INHERITED = frozenset(
    {"instance_uuid", "user_id", "image_type", "backup_type", "base_image_ref", "cache_in_nova"}
)
"""Properties of a server's image that are not those of an image made of the server."""


def create_image(asked: Asked, server_id: str) -> Answer:
    """``createImage``."""
    wanted = asked.body["createImage"]
    located = find_free(asked, server_id, Action.CREATE_IMAGE)
    server = located.instance
    # Whoever makes an image may call it what he likes. Backups are found again by theirs.
    kind = {"image_type": wanted.get("metadata", {}).get("image_type", "snapshot")}
    if boots_from_volume(server.wishes):
        copies = volume_images.properties_of(asked, server, wanted["name"])
        image_id = make_image(asked, server, wanted, kind | copies)
        volume_images.finish(asked, located, image_id)
        return _answer(asked, image_id)
    image_id = make_image(asked, server, wanted, kind)
    _order(asked, located, Snapshot(image_id=image_id))
    return _answer(asked, image_id)


def create_backup(asked: Asked, server_id: str) -> Answer:
    """``createBackup``; with a rotation of 0 no backup is kept, and so none is told of."""
    wanted = asked.body["createBackup"]
    rotation, kind = int(wanted["rotation"]), wanted["backup_type"]
    located = find_free(asked, server_id, Action.CREATE_BACKUP)
    if boots_from_volume(located.instance.wishes):
        raise Invalid("Backup is not supported for volume-backed instances.")
    properties = {"image_type": "backup", "backup_type": kind}
    image_id = make_image(asked, located.instance, wanted, properties)
    _order(asked, located, Backup(image_id=image_id, backup_type=kind, rotation=rotation))
    return _answer(asked, image_id) if rotation else Answer(status=202)


def make_image(
    asked: Asked, instance: Instance, wanted: Mapping[str, Any], properties: Mapping[str, str]
) -> ImageId:
    """Make the image, without data, and return its id."""
    limits = limits_of(asked, instance.project_id, instance.user_id)
    wishes.check_metadata(wanted, limits)
    own = instance.image
    inherited = {
        name: value
        for name, value in (own.properties if own else {}).items()
        if name not in _NOT_INHERITED
    }
    document = {
        **inherited,
        **wanted.get("metadata", {}),
        **properties,
        "instance_uuid": instance.uuid,
        "user_id": asked.context.user_id,
        "base_image_ref": own.image_id if own else "",
        "name": wanted["name"],
        "owner": asked.context.project_id,
        "visibility": "private",
        "min_ram": own.min_ram if own else 0,
        "min_disk": instance.flavor.root_gb,
    }
    return asked.services.images.create(document)


def _order(asked: Asked, located: Located, wanted: Snapshot | Backup) -> None:
    """Give the order; an image that nobody will fill is removed."""
    try:
        order(asked, located.instance.uuid, wanted, located=located)
    except KilonovaError:
        asked.services.images.delete(wanted.image_id)
        raise


def _answer(asked: Asked, image_id: ImageId) -> Answer:
    if asked.version in Since.IMAGE_ID_IN_BODY:
        return Answer({"image_id": image_id}, 202)
    return Answer(status=202, headers={"Location": asked.services.images.url(image_id)})
