"""What the routes of servers' volumes answer."""

from tests.functional.api.answers.shapes import (
    BOOLEAN,
    NAME,
    UUID,
    Field,
    Shape,
    Successive,
    array,
    optional,
    or_null,
)
from tests.functional.api.answers.told import Told

_DEVICE = {"type": "string", "pattern": "^/dev/[a-z]+$"}
_ATTACHED = Shape(
    Field("volumeId", UUID),
    Field("serverId", UUID),
    optional("device", _DEVICE),
    Field("tag", or_null(NAME), since=(2, 70)),
    Field("delete_on_termination", BOOLEAN, since=(2, 79)),
)
_SHOWN = Successive(
    {
        (2, 1): _ATTACHED.but(Field("id", UUID)),
        (2, 89): _ATTACHED.but(Field("attachment_id", or_null(UUID)), Field("bdm_uuid", UUID)),
    }
)
_MADE = Shape(
    Field("id", UUID),
    Field("volumeId", UUID),
    Field("serverId", UUID),
    Field("device", or_null(_DEVICE)),
    Field("tag", or_null(NAME), since=(2, 70)),
    Field("delete_on_termination", BOOLEAN, since=(2, 79)),
)
_ALL = "/servers/{server_id}/os-volume_attachments"
_ONE = _ALL + "/{volume_id}"

ANSWERS = {
    f"GET {_ALL}": Told(200, Shape(Field("volumeAttachments", array(_SHOWN)))),
    f"POST {_ALL}": Told(
        200,
        Successive({(2, 1): Shape(Field("volumeAttachment", _MADE)), (2, 101): None}),
        statuses={(2, 101): 202},
    ),
    f"GET {_ONE}": Told(200, Shape(Field("volumeAttachment", _SHOWN))),
    f"PUT {_ONE}": Told(202),
    f"DELETE {_ONE}": Told(202),
    "POST /os-assisted-volume-snapshots": Told(
        200,
        Shape(Field("snapshot", Shape(Field("id", NAME), Field("volumeId", UUID)))),
    ),
    "DELETE /os-assisted-volume-snapshots/{snapshot_id}": Told(204),
}
