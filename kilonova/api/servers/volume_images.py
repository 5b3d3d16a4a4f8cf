"""Images of servers that boot from volumes: snapshots of the volumes, and an image that names them."""

from io import BytesIO
from typing import Any

import msgspec

from kilonova.api import notices
from kilonova.api.routing import Asked
from kilonova.api.servers.tasks import placed, record_of
from kilonova.core.clock import utcnow
from kilonova.core.errors import KilonovaError
from kilonova.core.ids import ImageId
from kilonova.core.instance import Instance, Located
from kilonova.core.states import Action
from kilonova.core.volume import Volume
from kilonova.db import actions


def properties_of(asked: Asked, server: Instance, name: str) -> dict[str, str]:
    """Copy every volume of a server, and return the properties by which an image names the copies."""
    devices = [_device(asked, volume, name) for volume in server.volumes]
    return {
        "root_device_name": server.root_device_name or "/dev/vda",
        "bdm_v2": "true",
        "block_device_mapping": msgspec.json.encode(devices).decode(),
    }


def _device(asked: Asked, volume: Volume, name: str) -> dict[str, Any]:
    storage = asked.services.volumes
    snapshot = storage.snapshot(volume.volume_id, f"snapshot for {name}", asked.asker)
    return {
        "source_type": "snapshot",
        "destination_type": "volume",
        "snapshot_id": snapshot,
        "boot_index": volume.boot_index,
        "delete_on_termination": volume.delete_on_termination,
        "volume_size": volume.size_gb,
        "device_name": volume.device,
        "disk_bus": volume.bus,
        "device_type": volume.kind,
        "tag": volume.tag,
    }


def finish(asked: Asked, located: Located, image_id: ImageId) -> None:
    """Make an image active that holds nothing but names, and record the action.

    Raises:
        ImageStoreUnavailable: nobody took it. It is removed.
    """
    server, cell = placed(located, Action.CREATE_IMAGE)
    try:
        asked.services.images.upload(image_id, BytesIO(b""), "raw")
    except KilonovaError:
        asked.services.images.delete(image_id)
        raise
    record = msgspec.structs.replace(
        record_of(asked, server, Action.CREATE_IMAGE), updated_at=utcnow()
    )
    actions.record(asked.services.cells.database(cell), [record])
    notices.tell_server(asked, Action.CREATE_IMAGE, server)
