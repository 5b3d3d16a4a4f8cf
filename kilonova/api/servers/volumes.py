"""Volumes that a request for servers names: looked at with the user's token, made, reserved, given back.

Volumes that are made for servers are made when these are accepted, as only the user's token can make them
in the user's project; hosts wait until they are ready.
"""

import logging
from collections.abc import Sequence

import msgspec

from kilonova.api.microversions import Since
from kilonova.api.routing import Asked
from kilonova.core import block_devices
from kilonova.core.errors import Invalid, KilonovaError, NotFound
from kilonova.core.ids import ImageId
from kilonova.core.image import Image
from kilonova.core.instance import BlockDevice, Instance
from kilonova.core.volume import NOBODY, Volume, VolumeStage
from kilonova.http.volumes import NewVolume, StoredVolume, Volumes, check_free

LOG = logging.getLogger(__name__)

_OF_IMAGES = frozenset(
    {
        "container_format", "min_ram", "min_disk", "disk_format", "image_id", "image_name", "checksum",
        "size", "signature_verified",
    }
)  # fmt: skip
"""What a volume says of the image it was made of that is no property of the image."""


def _invalid(details: str) -> Invalid:
    return Invalid(f"Block Device Mapping is Invalid: {details}")


def volume_of(asked: Asked, volume_id: str) -> StoredVolume:
    """Return a volume of the asker's that another server may have.

    Raises:
        NotFound: the asker has no such volume.
        Invalid: it is not to be shared at this microversion.
    """
    found = asked.services.volumes.get(volume_id, asked.asker)
    if found.multiattach and asked.version not in Since.MULTIATTACH:
        raise Invalid(
            "Multiattach volumes are only supported starting with compute API version 2.60."
        )
    return found


def checked(
    asked: Asked, devices: Sequence[BlockDevice], most: int
) -> tuple[tuple[BlockDevice, ...], Image]:
    """Look at every volume and snapshot that devices name, for at most ``most`` servers.

    Returns the devices with their sizes, and what is known of the image on the root volume.

    Raises:
        Invalid: one is not there, or not to be had.
        NotSupported, VolumesUnavailable: nobody knows.
    """
    found: list[BlockDevice] = []
    image = Image(image_id=ImageId(""))
    for device in devices:
        sized, on_it = _checked(asked, device, most)
        found.append(sized)
        if block_devices.is_root(device) and on_it is not None:
            image = on_it
    return tuple(found), image


def _checked(asked: Asked, device: BlockDevice, most: int) -> tuple[BlockDevice, Image | None]:
    if device.source_type == "volume":
        volume = _existing(asked, device, most)
        sized = msgspec.structs.replace(device, volume_size=volume.size_gb)
        return sized, _image_on(volume)
    if device.source_type == "snapshot":
        try:
            size = asked.services.volumes.snapshot_size(device.uuid or "", asked.asker)
        except NotFound as error:
            raise _invalid(f"failed to get snapshot {device.uuid}.") from error
        wanted = device.volume_size or size
        if wanted < size:
            raise _invalid("The volume is smaller than the snapshot that it is made of.")
        return msgspec.structs.replace(device, volume_size=wanted), None
    if device.source_type == "image" and block_devices.on_volume(device):
        return device, _image_for(asked, device)
    return device, None


def _existing(asked: Asked, device: BlockDevice, most: int) -> StoredVolume:
    try:
        volume = volume_of(asked, device.uuid or "")
    except NotFound as error:
        raise _invalid(f"failed to get volume {device.uuid}.") from error
    if most > 1 and not volume.multiattach:
        raise Invalid("Cannot attach one or more volumes to multiple instances")
    check_free(volume, to_be_shared=True)
    if block_devices.is_root(device) and not volume.bootable:
        raise Invalid(f"Block Device {volume.volume_id} is not bootable.")
    return volume


def _image_on(volume: StoredVolume) -> Image:
    """Return what a volume says of the image it was made of. It has no id: nothing is fetched."""
    properties = {k: v for k, v in volume.image.items() if k not in _OF_IMAGES}
    ram = volume.image.get("min_ram", "0")
    return Image(
        image_id=ImageId(""),
        min_ram=int(ram) if ram.isdecimal() else 0,
        properties=properties,
    )


def _image_for(asked: Asked, device: BlockDevice) -> Image:
    image_id = ImageId(device.uuid or "")
    try:
        image = asked.services.images.get(asked.context, image_id)
    except NotFound as error:
        raise _invalid(f"failed to get image {image_id}.") from error
    if image.status != "active":
        raise Invalid(f"imageRef: Image {image_id} is not active.")
    needed = max(image.min_disk, -(-max(image.size, image.virtual_size) // 2**30))
    if (device.volume_size or 0) < needed:
        raise _invalid(
            f"Volume is smaller than the minimum size specified in image metadata: it has "
            f"{device.volume_size} GB, the image needs {needed} GB."
        )
    return msgspec.structs.replace(image, image_id=ImageId(""), name="")


def with_volumes(asked: Asked, instance: Instance) -> Instance:
    """Make and reserve the volumes that a new server needs, and return it with them.

    Raises:
        KilonovaError: it cannot have one. None of them is kept.
    """
    server = instance
    try:
        for device in block_devices.volumes_of(instance.wishes.block_devices):
            server = block_devices.with_volume(server, _taken(asked, instance, device))
    except BaseException:
        give_back(asked.services.volumes, server, created=True)
        raise
    return server


def _taken(asked: Asked, instance: Instance, device: BlockDevice) -> Volume:
    storage = asked.services.volumes
    volume = Volume(
        volume_id=device.uuid or "",
        boot_index=device.boot_index,
        bus=device.disk_bus,
        kind=device.device_type or "disk",
        tag=device.tag,
        delete_on_termination=device.delete_on_termination,
        size_gb=device.volume_size or 0,
        stage=VolumeStage.ATTACHED,
    )
    if device.source_type == "volume":
        reserved = storage.reserve(volume.volume_id, instance.uuid, asked.asker)
        return msgspec.structs.replace(volume, attachments={NOBODY: reserved})
    wanted = NewVolume(
        size_gb=volume.size_gb,
        image_id=device.uuid if device.source_type == "image" else None,
        snapshot_id=device.uuid if device.source_type == "snapshot" else None,
        volume_type=device.volume_type,
    )
    return msgspec.structs.replace(volume, volume_id=storage.create(wanted, asked.asker))


def give_back(storage: Volumes, instance: Instance, *, created: bool = False) -> None:
    """Free the volumes of a server that no host has, and delete those that end with it.

    With ``created`` those are deleted, too, that were made for it: it never was. What cannot be freed is
    left, and that is said.
    """
    if not instance.volumes:
        return
    made = {
        device.uuid for device in instance.wishes.block_devices if device.source_type == "volume"
    }
    try:
        for attachment in storage.attachments_of(instance.uuid):
            storage.release(attachment.attachment_id)
        for volume in instance.volumes:
            if volume.delete_on_termination or (created and volume.volume_id not in made):
                storage.delete(volume.volume_id)
    except KilonovaError as error:
        LOG.warning("Volumes of %s are left: %s", instance.uuid, error.in_full)
