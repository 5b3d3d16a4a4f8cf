"""The block devices that a request names: read, checked, put in order and given names. Pure.

A device has a source (image, snapshot, volume or blank) and a destination: a disk of the host, or a volume
of the block storage service. Source of the rules: Compute API reference, "Create Server"; the older form,
``block_device_mapping``, names its devices and means the same.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from string import ascii_lowercase
from typing import Any

import msgspec

from kilonova.core import flavor as flavors
from kilonova.core import hardware
from kilonova.core.errors import Invalid
from kilonova.core.hardware import DISK_BUSES, hardware_of
from kilonova.core.image import Image
from kilonova.core.instance import BlockDevice, Instance, Wishes
from kilonova.core.local_disks import local_disks
from kilonova.core.volume import Volume

Body = Mapping[str, Any]

_POSSIBLE = frozenset(
    {
        ("image", "local"),
        ("image", "volume"),
        ("snapshot", "volume"),
        ("volume", "volume"),
        ("blank", "local"),
        ("blank", "volume"),
    }
)
_ROOT_NAMES = ("vda", "sda", "hda", "xvda")
_YES = frozenset({"true", "1", "t", "on", "y", "yes"})


def _invalid(details: str) -> Invalid:
    return Invalid(f"Block Device Mapping is Invalid: {details}")


def requested(body: Body) -> tuple[BlockDevice, ...]:
    """Return the devices that ``server`` of a request names, in either form, in their order.

    Raises:
        Invalid: one means nothing, or both forms are used.
    """
    old, new = body.get("block_device_mapping"), body.get("block_device_mapping_v2")
    if old and new:
        raise Invalid(
            "Using different block_device_mapping syntaxes is not allowed in the same request."
        )
    if old:
        found = [_of_v1(one) for one in old if not _is_true(one.get("no_device"))]
    else:
        found = [_of_v2(one) for one in new or () if not _is_true(one.get("no_device"))]
    return tuple(found)


def _is_true(value: object) -> bool:
    return value is True or str(value).strip().lower() in _YES


def _of_v2(one: Body) -> BlockDevice:
    source = one.get("source_type") or ""
    size = one.get("volume_size")
    device = BlockDevice(
        source_type=source,
        destination_type=one.get("destination_type") or _usual_destination(source),
        boot_index=_boot_index(one.get("boot_index")),
        uuid=one.get("uuid"),
        volume_size=None if size is None else int(size),
        delete_on_termination=_is_true(one.get("delete_on_termination")),
        device_name=one.get("device_name") or None,
        disk_bus=one.get("disk_bus"),
        device_type=one.get("device_type"),
        guest_format=one.get("guest_format"),
        tag=one.get("tag"),
        volume_type=one.get("volume_type"),
    )
    if (device.source_type, device.destination_type) not in _POSSIBLE:
        raise _invalid(
            f"Mapping {device.source_type or 'nothing'} to {device.destination_type} is not supported."
        )
    if device.source_type != "blank" and not device.uuid:
        raise _invalid("Missing device UUID.")
    if device.volume_type is not None and (
        device.source_type == "volume" or device.destination_type == "local"
    ):
        raise _invalid("Specifying a volume_type is only for volumes that are made.")
    return device


def _usual_destination(source: str) -> str:
    return "volume" if source in ("volume", "snapshot") else "local"


def _boot_index(value: int | str | None) -> int | None:
    """Return the place in the boot order; a negative one is none."""
    if value is None or value == "":
        return None
    number = int(value)
    return number if number >= 0 else None


def _of_v1(one: Body) -> BlockDevice:
    """Return a device of the older form, in which the name of a device says whether it is the root."""
    name = str(one.get("device_name") or "").removeprefix("/dev/")
    size = one.get("volume_size")
    virtual = str(one.get("virtual_name") or "")
    plain = BlockDevice(
        source_type="blank",
        destination_type="volume",
        boot_index=0 if name in _ROOT_NAMES else None,
        volume_size=int(str(size)) if str(size or "").isdecimal() else None,
        delete_on_termination=_is_true(one.get("delete_on_termination")),
        device_name=f"/dev/{name}" if name else None,
    )
    if one.get("snapshot_id"):
        return msgspec.structs.replace(plain, source_type="snapshot", uuid=one["snapshot_id"])
    if one.get("volume_id"):
        return msgspec.structs.replace(plain, source_type="volume", uuid=one["volume_id"])
    if virtual == "swap" or virtual.startswith("ephemeral"):
        swap = "swap" if virtual == "swap" else None
        return msgspec.structs.replace(
            plain, destination_type="local", guest_format=swap, boot_index=None
        )
    raise _invalid("Missing device UUID.")


def of_image(image: Image) -> tuple[BlockDevice, ...]:
    """Return the devices that an image made of a volume-backed server names.

    Raises:
        Invalid: it names them in a way that cannot be read.
    """
    text = image.properties.get("block_device_mapping")
    if not text or not _is_true(image.properties.get("bdm_v2")):
        return ()
    try:
        named = msgspec.json.decode(text, type=list[dict[str, Any]])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise _invalid("the image names its devices in a way that cannot be read.") from error
    return tuple(
        _of_v2(one | {"uuid": one.get("uuid") or one.get(f"{one.get('source_type')}_id")})
        for one in named
        if not _is_true(one.get("no_device"))
    )


def over(
    of_the_image: Sequence[BlockDevice], of_the_request: Sequence[BlockDevice]
) -> tuple[BlockDevice, ...]:
    """Return an image's devices with those of the request, which stand in the place of others of their
    name. That the request boots the image means then that it boots what the image names."""
    asked = [d for d in of_the_request if not (d.source_type == "image" and is_root(d))]
    replaced = {device.device_name for device in asked if device.device_name}
    return (*(d for d in of_the_image if d.device_name not in replaced), *asked)


def is_root(device: BlockDevice) -> bool:
    """Whether a server starts from this device first."""
    return device.boot_index == 0


def on_volume(device: BlockDevice) -> bool:
    """Whether a device is a volume of the block storage service."""
    return device.destination_type == "volume"


def root_of(devices: Sequence[BlockDevice]) -> BlockDevice | None:
    """Return the device that a server starts from first, where one is named."""
    return next((device for device in devices if is_root(device)), None)


def boots_from_volume(wishes: Wishes) -> bool:
    """Whether a server's root disk is a volume."""
    root = root_of(wishes.block_devices)
    return root is not None and on_volume(root)


def check(devices: Sequence[BlockDevice], *, has_image: bool) -> None:
    """Check what devices are together; ``has_image``: the request names an image beside them.

    Raises:
        Invalid: they cannot be had of any host.
    """
    for device in devices:
        _check_one(device)
    order = sorted(device.boot_index for device in devices if device.boot_index is not None)
    if has_image and (not order or order[0] != 0):
        # The image stands before them, and is a disk of the host.
        order = [0, *order]
    if not order or order != list(range(len(order))):
        raise _invalid(
            "Boot sequence for the instance and image/block device mapping combination is not valid."
        )
    volumes = [device.uuid for device in devices if device.source_type == "volume"]
    if len(set(volumes)) != len(volumes):
        raise _invalid("A volume is named more than once.")


def _check_one(device: BlockDevice) -> None:
    local = not on_volume(device)
    if local and device.source_type == "image" and not is_root(device):
        raise _invalid("Mapping image to local is not supported but with boot_index 0.")
    if device.source_type in ("image", "blank") and not local and not device.volume_size:
        what = "Images" if device.source_type == "image" else "Blank volumes"
        raise _invalid(
            f"{what} with destination_type 'volume' need to have a non-zero size specified"
        )
    if device.disk_bus is not None and device.disk_bus not in DISK_BUSES:
        raise _invalid(f"disk_bus is none of {', '.join(DISK_BUSES)}")


def amounts(instance: Instance) -> dict[str, int]:
    """Return what a server takes of its host, by resource class: volumes take none of its disk."""
    return flavors.resources(instance.flavor, boots_from_volume=boots_from_volume(instance.wishes))


def _letters() -> Iterator[str]:
    yield from ascii_lowercase
    for first in ascii_lowercase:
        yield from (first + second for second in ascii_lowercase)


def free_name(prefix: str, taken: Collection[str]) -> str:
    """Return the first name of a disk, such as ``vdb``, that is not taken.

    Raises:
        Invalid: there is none.
    """
    for letters in _letters():
        if prefix + letters not in taken:
            return prefix + letters
    raise Invalid("There is no device name left for another disk.")


def short(device: str) -> str:
    """Return a device's name without its directory."""
    return device.removeprefix("/dev/")


def local_names(instance: Instance) -> dict[str, str]:
    """Return the name of each disk that is the host's: ``root``, ``ephemeral0`` ..., ``swap``,
    ``config-2``. They take what volumes leave, so that a volume keeps its name."""
    taken = {short(volume.device) for volume in instance.volumes}
    bus = hardware_of(instance.flavor, instance.image).disk_bus
    named: dict[str, str] = {}

    def name(what: str, on: str) -> None:
        named[what] = free_name(DISK_BUSES[on], taken)
        taken.add(named[what])

    if not boots_from_volume(instance.wishes):
        name("root", bus)
    numbers = {"ephemeral": 0, "swap": 0}
    for disk in local_disks(instance.flavor, instance.wishes.block_devices):
        name(disk.name(numbers[disk.kind]), disk.bus or bus)
        numbers[disk.kind] += 1
    if instance.wishes.config_drive:
        name("config-2", bus)
    return named


def with_volume(instance: Instance, volume: Volume) -> Instance:
    """Return a server with another volume, which gets a name of its own.

    Raises:
        Invalid: it has no name left.
    """
    bus = volume.bus or hardware_of(instance.flavor, instance.image).disk_bus
    taken = {short(one.device) for one in instance.volumes}
    if volume.boot_index != 0:
        taken |= set(local_names(instance).values())
    named = msgspec.structs.replace(volume, device=f"/dev/{free_name(DISK_BUSES[bus], taken)}")
    return msgspec.structs.replace(instance, volumes=(*instance.volumes, named))


def volumes_of(devices: Sequence[BlockDevice]) -> tuple[BlockDevice, ...]:
    """Return the devices on volumes as they get their names: in the boot order, then the others."""
    last = len(devices)
    wanted = [device for device in devices if on_volume(device)]
    return tuple(sorted(wanted, key=lambda d: last if d.boot_index is None else d.boot_index))


def root_device(instance: Instance) -> str:
    """Return the name that a server's root disk goes by."""
    for volume in instance.volumes:
        if volume.boot_index == 0:
            return volume.device
    return hardware.root_device(instance.flavor, instance.image)
