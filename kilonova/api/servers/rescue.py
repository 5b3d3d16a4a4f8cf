"""``rescue``: a server starts from another image for a while, with its own disk beside it."""

import secrets

from kilonova.api.microversions import Since
from kilonova.api.routing import Answer, Asked
from kilonova.api.servers.tasks import find_free, order
from kilonova.core.block_devices import boots_from_volume
from kilonova.core.errors import Invalid, NotFound
from kilonova.core.ids import ImageId
from kilonova.core.image import Image
from kilonova.core.instance import Instance
from kilonova.core.orders import Rescue
from kilonova.core.states import Action


def rescue(asked: Asked, server_id: str) -> Answer:
    """Begin a rescue, from the image that is named or else the server's own."""
    wanted = asked.body["rescue"] or {}
    located = find_free(asked, server_id, Action.RESCUE)
    image = _image(asked, located.instance, wanted.get("rescue_image_ref"))
    _check_root(asked, located.instance, image)
    order(asked, server_id, Rescue(image=image), located=located)
    if not asked.services.conf.api.enable_instance_password:
        return Answer({})
    return Answer({"adminPass": wanted.get("adminPass") or secrets.token_urlsafe(9)})


def _check_root(asked: Asked, server: Instance, image: Image) -> None:
    """Refuse to rescue a server from its volume, but by an image that is made for that (from 2.87)."""
    if not boots_from_volume(server.wishes):
        return
    stable = {"hw_rescue_bus", "hw_rescue_device"} & image.properties.keys()
    if asked.version not in Since.RESCUE_OF_VOLUMES or not stable:
        raise Invalid(f"Cannot rescue a volume-backed instance {server.uuid}.")


def _image(asked: Asked, instance: Instance, named: str | None) -> Image:
    if named is None and instance.image is not None:
        named = instance.image.image_id or None
    if named is None:
        raise Invalid("rescue_image_ref: The server has no image that it could be rescued from.")
    image_id = ImageId(named)
    try:
        image = asked.services.images.get(asked.context, image_id)
    except NotFound as error:
        raise Invalid(f"rescue_image_ref: Can not find requested image {image_id}.") from error
    if image.status != "active":
        raise Invalid(f"rescue_image_ref: Image {image_id} is not active.")
    return image
