"""What ``POST /servers`` says of disks and files: block devices, ``personality``, the config drive."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from kilonova.api.parameters import is_true
from kilonova.core.block_devices import check as check_together
from kilonova.core.block_devices import is_root, of_image, on_volume, over, requested
from kilonova.core.errors import Invalid, QuotaExceeded
from kilonova.core.flavor import Flavor
from kilonova.core.hardware import hardware_of
from kilonova.core.image import Image
from kilonova.core.instance import BlockDevice, InjectedFile, Wishes
from kilonova.core.local_disks import local_disks
from kilonova.core.quota import UNLIMITED, Limits

Body = Mapping[str, Any]

_NO_VOLUMES = (
    "no block storage service is configured, so there can only be a local boot disk (boot_index 0) "
    "from an image, and blank local disks"
)


def block_devices(body: Body, image: Image | None, *, volumes: bool) -> tuple[BlockDevice, ...]:
    """Return the disks that a request, and the ``image`` in it, names; ``volumes``: they may be such.

    Raises:
        Invalid: they mean nothing together, or this deployment cannot make them.
    """
    devices = requested(body)
    of_the_image = of_image(image) if image is not None else ()
    if of_the_image:
        devices = over(of_the_image, devices)
    if not volumes and any(on_volume(device) for device in devices):
        raise Invalid(f"block_device_mapping_v2: {_NO_VOLUMES}")
    check_together(devices, has_image=bool(body.get("imageRef")) and not of_the_image)
    return devices


def named_images(devices: tuple[BlockDevice, ...]) -> set[str]:
    """Return the images that boot disks name."""
    return {d.uuid for d in devices if d.source_type == "image" and is_root(d) and d.uuid}


def files(body: Body, limits: Limits) -> tuple[InjectedFile, ...]:
    """Return the files that go into the guest, through its config drive.

    Raises:
        QuotaExceeded: they are more, larger, or of longer paths than a server of the project may have.
        Invalid: one is no base64.
    """
    found = tuple(
        InjectedFile(path=one["path"], contents="".join(one["contents"].split()))
        for one in body.get("personality", ())
    )
    _check_file("files are injected", len(found), limits.injected_files)
    for file in found:
        try:
            contents = base64.b64decode(file.contents, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Invalid("personality: contents must be base64 encoded.") from error
        _check_file("bytes in a file", len(contents), limits.injected_file_content_bytes)
        _check_file("bytes in a path", len(file.path.encode()), limits.injected_file_path_bytes)
    return found


def _check_file(what: str, count: int, limit: int) -> None:
    if limit != UNLIMITED and count > limit:
        raise QuotaExceeded(f"personality: Quota exceeded: at most {limit} {what}")


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
