"""``rebuild``: a server gets a new guest where it is, from the same or another image."""

import secrets
from typing import Any

import msgspec

from kilonova.api import server_wishes
from kilonova.api.limits import limits_of
from kilonova.api.routing import Answer, Asked
from kilonova.api.server_sight import sight_of
from kilonova.api.server_tasks import find_free, order
from kilonova.api.views import servers as views
from kilonova.core.errors import Invalid
from kilonova.core.image import Image
from kilonova.core.instance import Instance, KeyPair
from kilonova.core.orders import Rebuild
from kilonova.core.states import Action
from kilonova.db import build_requests
from kilonova.db.tasks import Change

_FIELD_OF = {
    "name": "name",
    "description": "description",
    "hostname": "hostname",
    "accessIPv4": "access_ipv4",
    "accessIPv6": "access_ipv6",
    "metadata": "metadata",
}


def rebuild(asked: Asked, server_id: str) -> Answer:
    """Begin a rebuild: everything that can refuse it comes before.

    No flavor has an ephemeral disk here, so ``preserve_ephemeral`` preserves nothing.
    """
    body = asked.body["rebuild"]
    located = find_free(asked, server_id, Action.REBUILD)
    instance = located.instance
    server_wishes.refuse_what_is_not_done(body)
    if body.get("OS-DCF:diskConfig", instance.wishes.disk_config) != instance.wishes.disk_config:
        raise Invalid("OS-DCF:diskConfig: it cannot be changed")
    limits = limits_of(asked, instance.project_id, instance.user_id)
    server_wishes.check_metadata(body, limits)
    image = server_wishes.image_of(asked, {"imageRef": body["imageRef"]}, instance.flavor)
    key_pair = server_wishes.key_pair_of(asked, body, instance.user_id)
    change = _change(body, image, key_pair, server_wishes.user_data_of(body))
    begun = order(asked, server_id, Rebuild(), located=located, change=change)
    # What a later move of the server is scheduled by.
    build_requests.change_image(asked.services.api_db, begun.uuid, image)
    return _answer(asked, body, begun)


def _change(
    body: dict[str, Any], image: Image, key_pair: KeyPair | None, user_data: str | None
) -> Change:
    """Return what a rebuild makes of a server."""

    def change(instance: Instance) -> Instance:
        wishes = instance.wishes
        if "key_name" in body:
            wishes = msgspec.structs.replace(wishes, key_pair=key_pair)
        if "user_data" in body:
            wishes = msgspec.structs.replace(wishes, user_data=user_data)
        fields = {field: body[key] for key, field in _FIELD_OF.items() if key in body}
        return msgspec.structs.replace(instance, image=image, wishes=wishes, progress=0, **fields)

    return change


def _answer(asked: Asked, body: dict[str, Any], instance: Instance) -> Answer:
    server = views.changed(instance, None, sight_of(asked))
    if asked.services.conf.api.enable_instance_password:
        server["adminPass"] = body.get("adminPass") or secrets.token_urlsafe(9)
    if asked.version >= (2, 54):
        key_pair = instance.wishes.key_pair
        server["key_name"] = key_pair.name if key_pair else None
    if asked.version >= (2, 57):
        server["user_data"] = instance.wishes.user_data
    path = f"/servers/{instance.uuid}"
    return Answer({"server": server}, 202, {"Location": asked.link(path)})
