"""What ``POST /servers`` says of disks and files: block devices, ``personality``, the config drive.

Disks are local here: one from an image, to boot, and blank ones within what the flavor has.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from kilonova.api.parameters import is_true
from kilonova.core.errors import Forbidden, Invalid
from kilonova.core.flavor import Flavor
from kilonova.core.hardware import hardware_of
from kilonova.core.image import Image
from kilonova.core.instance import BlockDevice, InjectedFile, Wishes
from kilonova.core.local_disks import is_local, local_disks

Body = Mapping[str, Any]

_MOST_FILES = 5
_LARGEST_FILE = 10 << 10
_NO_VOLUMES = (
    "no block storage service is configured, so there can only be a local boot disk (boot_index 0) "
    "from an image, and blank local disks"
)


def block_devices(body: Body) -> tuple[BlockDevice, ...]:
    """Return the disks that a request names.

    Raises:
        Invalid: this deployment cannot make them.
    """
    if body.get("block_device_mapping"):
        raise Invalid(
            "block_device_mapping: no block storage service is configured, so there are no volumes"
        )
    devices = tuple(_device(one) for one in body.get("block_device_mapping_v2", ()))
    for device in devices:
        if not is_local(device) and not _boots(device):
            raise Invalid(f"block_device_mapping_v2: {_NO_VOLUMES}")
    if sum(_boots(device) for device in devices) > 1:
        raise Invalid("block_device_mapping_v2: more than one device has boot_index 0")
    return devices


def named_images(devices: tuple[BlockDevice, ...]) -> set[str]:
    """Return the images that boot disks name."""
    return {device.uuid for device in devices if _boots(device) and device.uuid}


def _boots(device: BlockDevice) -> bool:
    kind = (device.source_type, device.destination_type, device.boot_index)
    return kind == ("image", "local", 0)


def _device(device: Body) -> BlockDevice:
    index, size = device.get("boot_index"), device.get("volume_size")
    return BlockDevice(
        source_type=device.get("source_type", ""),
        destination_type=device.get("destination_type", "local"),
        boot_index=None if index is None else int(index),
        uuid=device.get("uuid"),
        volume_size=None if size is None else int(size),
        delete_on_termination=is_true(device.get("delete_on_termination")),
        disk_bus=device.get("disk_bus"),
        guest_format=device.get("guest_format"),
        tag=device.get("tag"),
    )


def files(body: Body) -> tuple[InjectedFile, ...]:
    """Return the files that go into the guest, through its config drive.

    Raises:
        Forbidden: they are more, or larger, than any server may have.
        Invalid: one is no base64.
    """
    found = tuple(
        InjectedFile(path=one["path"], contents="".join(one["contents"].split()))
        for one in body.get("personality", ())
    )
    if len(found) > _MOST_FILES:
        raise Forbidden(f"personality: at most {_MOST_FILES} files are injected")
    for file in found:
        try:
            contents = base64.b64decode(file.contents, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Invalid("personality: contents must be base64 encoded.") from error
        if len(contents) > _LARGEST_FILE:
            raise Forbidden(f"personality: a file has at most {_LARGEST_FILE} bytes")
    return found


def wants_drive(body: Body, image: Image | None) -> bool:
    """Whether a server gets a config drive: asked for, needed for files, or the image's condition."""
    mandatory = image is not None and image.properties.get("img_config_drive") == "mandatory"
    return is_true(body.get("config_drive")) or bool(body.get("personality")) or mandatory


def check(flavor: Flavor, image: Image | None, wishes: Wishes) -> None:
    """Check that the hardware and the disks can be had of any host at all.

    Raises:
        Invalid: they cannot, with a sentence.
    """
    hardware_of(flavor, image)
    local_disks(flavor, wishes.block_devices)
