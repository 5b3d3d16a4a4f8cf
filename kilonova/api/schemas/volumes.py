"""What a request about volumes of servers may say (Compute API reference, "Servers with volume
attachments")."""

from kilonova.api.parameters import BOOLEAN, PAGE, TEXT, Schema, closed, queries, values
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
        (2, 1): _body(_CREATED),
        (2, 49): _body(_TAGGED),
        (2, 79): _body(_TAGGED | {"delete_on_termination": BOOLEAN}),
    }
)
UPDATE = Schemas(
    {
        (2, 1): _body({"volumeId": UUID}),
        (2, 85): _body(
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
LIST = queries({(2, 1): _PAGE}, strict=(2, 75))

_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 255}
ASSISTED = Schemas(
    {
        (2, 1): closed(
            {
                "snapshot": closed(
                    {
                        "volume_id": UUID,
                        "create_info": closed(
                            {
                                "snapshot_id": UUID,
                                "type": {"enum": ["qcow2"]},
                                "new_file": _NAME,
                                "id": _NAME,
                            },
                            "snapshot_id",
                            "type",
                            "new_file",
                        ),
                    },
                    "volume_id",
                    "create_info",
                )
            },
            "snapshot",
        )
    }
)
ASSISTED_DELETE = queries({(2, 1): {"delete_info": values(TEXT)}}, strict=(2, 75))
