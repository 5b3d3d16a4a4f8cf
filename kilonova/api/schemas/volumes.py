"""What a request about volumes of servers may say (Compute API reference, "Servers with volume
attachments")."""

from kilonova.api.microversions import Since
from kilonova.api.parameters import BOOLEAN, PAGE, Schema, closed, queries
from kilonova.api.routing import Schemas
from kilonova.api.schemas.servers import TAG, UUID

_DEVICE: Schema = {
    "type": ["string", "null"],
    "pattern": r"^/dev/x?[a-z]?d?[a-z]+[0-9]*\Z",
    "maxLength": 255,
    "description": "the name of a device, such as /dev/vdb",
}
_CREATED = {"volumeId": UUID, "device": _DEVICE}
_TAGGED = _CREATED | {"tag": TAG}


def _body(properties: Schema) -> Schema:
    return closed({"volumeAttachment": closed(properties, "volumeId")}, "volumeAttachment")


ATTACH = Schemas(
    {
        Since.FIRST: _body(_CREATED),
        Since.TAGS_AT_ATTACHING: _body(_TAGGED),
        Since.DELETE_ON_TERMINATION: _body(_TAGGED | {"delete_on_termination": BOOLEAN}),
    }
)
UPDATE = Schemas(
    {
        Since.FIRST: _body({"volumeId": UUID}),
        Since.ATTACHMENT_CHANGED: _body(
            {
                "volumeId": UUID,
                "device": _DEVICE,
                "tag": TAG,
                "delete_on_termination": BOOLEAN,
                "serverId": UUID,
                "id": UUID,
            }
        ),
    }
)
_PAGE: Schema = {"limit": PAGE["limit"], "offset": PAGE["limit"]}
LIST = queries({Since.FIRST: _PAGE}, strict=Since.STRICT_LISTS)
