"""``/os-assisted-volume-snapshots``: the block storage service has a host snapshot a volume that is a file.

Only the hypervisor knows the file while a guest has it open. How it goes is told to that service.
"""

from typing import Any

import msgspec

from kilonova.api.microversions import Since
from kilonova.api.parameters import TEXT, Schema, closed, queries, values
from kilonova.api.routing import BODY, Answer, Asked, Route, Schemas
from kilonova.api.schemas.servers import UUID
from kilonova.api.servers.tasks import check_state
from kilonova.core.errors import Invalid
from kilonova.core.ids import CELL0, CellUuid
from kilonova.core.instance import Instance
from kilonova.core.orders import MergeSnapshot, SnapshotVolume
from kilonova.core.states import Action
from kilonova.db import volumes
from kilonova.rpc.messages import ActOnInstance

_RULE = "os_compute_api:os-assisted-volume-snapshots"
_PATH = "/os-assisted-volume-snapshots"
_FILE: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "pattern": r"^(?!\.{1,2}\Z)[^/\x00]+\Z",
    "description": "the name of a file, without a directory",
}
_CREATE_INFO = closed(
    {"snapshot_id": UUID, "type": {"enum": ["qcow2"]}, "new_file": _FILE, "id": TEXT},
    *("snapshot_id", "type", "new_file"),
)
CREATE = Schemas(
    {
        Since.FIRST: closed(
            {
                "snapshot": closed(
                    {"volume_id": UUID, "create_info": _CREATE_INFO}, "volume_id", "create_info"
                )
            },
            "snapshot",
        )
    }
)
DELETE = queries({Since.FIRST: {"delete_info": values(TEXT)}}, strict=Since.STRICT_LISTS)
_MERGE = Schemas(
    {
        Since.FIRST: {
            "type": "object",
            "required": ["volume_id"],
            "properties": {
                "volume_id": UUID,
                "file_to_merge": {"anyOf": [_FILE, {"type": "null"}]},
                "merge_target_file": {"anyOf": [_FILE, {"type": "null"}]},
            },
        }
    }
)


def create(asked: Asked) -> Answer:
    """Have the host of the server that has a volume go on with a new file."""
    wanted = asked.body["snapshot"]
    info, volume_id = wanted["create_info"], wanted["volume_id"]
    order = SnapshotVolume(
        volume_id=volume_id, snapshot_id=info["snapshot_id"], new_file=info["new_file"]
    )
    _tell(asked, volume_id, Action.SNAPSHOT_VOLUME, order)
    return Answer(
        {"snapshot": {"id": info.get("id") or info["snapshot_id"], "volumeId": volume_id}}
    )


def delete(asked: Asked, snapshot_id: str) -> Answer:
    """Have it merge a file into another, so that neither is needed any more."""
    info = _delete_info(asked)
    order = MergeSnapshot(
        volume_id=info["volume_id"],
        snapshot_id=snapshot_id,
        file_to_merge=info.get("file_to_merge"),
        target_file=info.get("merge_target_file"),
    )
    _tell(asked, info["volume_id"], Action.MERGE_SNAPSHOT, order)
    return Answer(status=204)


def _delete_info(asked: Asked) -> dict[str, Any]:
    try:
        info = msgspec.json.decode(asked.one("delete_info") or "", type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Invalid("delete_info: it must be a JSON object") from error
    _MERGE.check(info, asked.version, BODY)
    return info


def _tell(
    asked: Asked, volume_id: str, action: Action, order: SnapshotVolume | MergeSnapshot
) -> None:
    server, cell = _holder(asked, volume_id)
    check_state(server, action)
    message = ActOnInstance(instance=server, order=order)
    asked.services.cell_bus(cell).cast(asked.context, message, host=server.host)


def _holder(asked: Asked, volume_id: str) -> tuple[Instance, CellUuid]:
    """Return the server that has a volume, and its cell."""
    for cell in asked.services.cells.all():
        if cell.uuid == CELL0:
            continue
        found = volumes.servers_with(asked.services.cells.database(cell.uuid), volume_id)
        for server in found:
            if server.host is not None:
                return server, cell.uuid
    raise Invalid(f"Volume {volume_id} is attached to no server.")


ROUTES = (
    Route("POST", _PATH, f"{_RULE}:create", create, body=CREATE),
    Route("DELETE", f"{_PATH}/{{snapshot_id}}", f"{_RULE}:delete", delete, query=DELETE),
)
