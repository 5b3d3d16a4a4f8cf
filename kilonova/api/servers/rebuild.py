"""``rebuild``: a server gets a new guest where it is, from the same or another image."""

import secrets
from typing import Any

import msgspec

from kilonova.api.limits import limits_of
from kilonova.api.microversions import Since
from kilonova.api.parameters import is_true
from kilonova.api.routing import Answer, Asked
from kilonova.api.servers import devices, wishes
from kilonova.api.servers.sight import sight_of
from kilonova.api.servers.tasks import find_free, order
from kilonova.api.views import servers as views
from kilonova.core.block_devices import boots_from_volume
from kilonova.core.errors import Invalid
from kilonova.core.ids import ImageId
from kilonova.core.image import Image
from kilonova.core.instance import Instance
from kilonova.core.orders import Rebuild
from kilonova.core.states import Action
from kilonova.db import request_specs
from kilonova.db.tasks import Change


def rebuild(asked: Asked, server_id: str) -> Answer:
    """Begin a rebuild: everything that can refuse it comes before."""
    body = asked.body["rebuild"]
    located = find_free(asked, server_id, Action.REBUILD)
    instance = located.instance
    wishes.refuse_what_is_not_done(body)
    if is_true(body.get("preserve_ephemeral")) and instance.flavor.ephemeral_gb:
        raise Invalid("preserve_ephemeral: the server's disks are all made anew")
    limits = limits_of(asked, instance.project_id, instance.user_id)
    wishes.check_metadata(body, limits)
    from_volume = boots_from_volume(instance.wishes)
    image = wishes.image_of(
        asked, {"imageRef": body["imageRef"]}, instance.flavor, to_volume=from_volume
    )
    onto = _onto_volume(asked, instance, image) if from_volume else None
    if from_volume:
        image = msgspec.structs.replace(image, image_id=ImageId(""))
    devices.check(instance.flavor, image, instance.wishes)
    password = _password(asked, body)
    change = _change(body, image, _wishes(asked, body, instance, password))
    begun = order(asked, server_id, Rebuild(onto_volume=onto), located=located, change=change)
    # What a later move of the server is scheduled by.
    request_specs.change_image(asked.services.api_db, begun.uuid, image)
    return _answer(asked, password, begun)


def _onto_volume(asked: Asked, server: Instance, image: Image) -> ImageId | None:
    """Return the image to be written over the root volume, whatever is on it; None before 2.93: it stays.

    Raises:
        Invalid: it was made of another image, and stays.
    """
    if asked.version in Since.REBUILD_OF_VOLUMES:
        return image.image_id
    root = next(volume for volume in server.volumes if volume.boot_index == 0)
    if asked.services.volumes.get(root.volume_id).image.get("image_id") != image.image_id:
        raise Invalid("Unable to rebuild with a different image for a volume-backed server.")
    return None


def _password(asked: Asked, body: dict[str, Any]) -> str:
    if not asked.services.conf.api.enable_instance_password:
        return ""
    return body.get("adminPass") or secrets.token_urlsafe(9)


def _wishes(
    asked: Asked, body: dict[str, Any], instance: Instance, password: str
) -> dict[str, Any]:
    """Return the wishes that are others from now on."""
    drive = instance.wishes.config_drive or bool(body.get("personality"))
    # Nothing but a config drive would tell the guest of the password.
    changed: dict[str, Any] = {"config_drive": drive, "admin_pass": password if drive else ""}
    if "OS-DCF:diskConfig" in body:
        changed["disk_config"] = body["OS-DCF:diskConfig"]
    if "key_name" in body:
        changed["key_pair"] = wishes.key_pair_of(asked, body, instance.user_id)
    if "user_data" in body:
        changed["user_data"] = wishes.user_data_of(body)
    if "personality" in body:
        changed["files"] = wishes.files_of(asked, body)
    return changed


def _change(body: dict[str, Any], image: Image, changed: dict[str, Any]) -> Change:
    """Return what a rebuild makes of a server; ``changed`` are the wishes that are others."""

    said = wishes.said_in(body)

    def change(instance: Instance) -> Instance:
        all_ = msgspec.structs.replace(instance.wishes, **changed)
        return msgspec.structs.replace(instance, image=image, wishes=all_, progress=0, **said)

    return change


def _answer(asked: Asked, password: str, instance: Instance) -> Answer:
    server = views.changed(instance, None, sight_of(asked))
    if password:
        server["adminPass"] = password
    if asked.version in Since.REBUILD_KEY_PAIR:
        key_pair = instance.wishes.key_pair
        server["key_name"] = key_pair.name if key_pair else None
    if asked.version in Since.NO_FILES:
        # Here it has a name of its own.
        server.pop("OS-EXT-SRV-ATTR:user_data", None)
        server["user_data"] = instance.wishes.user_data
    path = f"/servers/{instance.uuid}"
    return Answer({"server": server}, 202, {"Location": asked.link(path)})
