"""The disks beside the root disk that a host makes for a server: ephemeral ones and swap. Pure.

A request names them as blank local devices; without any, the flavor says which there are.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from kilonova.core.errors import Invalid
from kilonova.core.flavor import Flavor
from kilonova.core.hardware import DISK_BUSES
from kilonova.core.instance import BlockDevice

FILE_SYSTEMS = ("ext2", "ext3", "ext4", "vfat")
_SWAP = "swap"
_MOST = 8


class LocalDisk(msgspec.Struct, frozen=True, kw_only=True):
    """One disk. ``size`` is bytes; ``content`` is its format, ``bus`` None for the usual one."""

    kind: Literal["ephemeral", "swap"]
    size: int
    content: str
    bus: str | None = None
    tag: str | None = None

    def name(self, number: int) -> str:
        """Return how the ``number``-th of its kind is called, on the host and by its label."""
        return self.kind if self.kind == "swap" else f"{self.kind}{number}"


def is_local(device: BlockDevice) -> bool:
    """Whether a device is a disk of this kind."""
    return device.source_type == "blank" and device.destination_type == "local"


def local_disks(flavor: Flavor, devices: Sequence[BlockDevice] = ()) -> tuple[LocalDisk, ...]:
    """Return a server's disks, ephemeral ones before swap.

    Raises:
        Invalid: they are more than the flavor has.
    """
    wanted = [device for device in devices if is_local(device)]
    for device in wanted:
        if device.disk_bus is not None and device.disk_bus not in DISK_BUSES:
            raise Invalid(f"block_device_mapping_v2: disk_bus is none of {', '.join(DISK_BUSES)}")
    ephemeral = [one for one in wanted if one.guest_format != _SWAP]
    swap = [one for one in wanted if one.guest_format == _SWAP]
    if not ephemeral and flavor.ephemeral_gb:
        ephemeral = [_BLANK]
    if not swap and flavor.swap_mb:
        swap = [_BLANK]
    _check_number(ephemeral, swap)
    disks = tuple(_ephemeral(flavor, one) for one in ephemeral)
    if sum(one.size for one in disks) > flavor.ephemeral_gb << 30:
        raise Invalid(
            "block_device_mapping_v2: Ephemeral disks requested are larger than the instance type "
            f"allows: it has {flavor.ephemeral_gb} GB."
        )
    return disks + tuple(_swap(flavor, one) for one in swap)


_BLANK = BlockDevice(source_type="blank", destination_type="local")


def _check_number(ephemeral: Sequence[BlockDevice], swap: Sequence[BlockDevice]) -> None:
    if len(swap) > 1:
        raise Invalid("block_device_mapping_v2: One swap disk is the most that a server has.")
    if len(ephemeral) > _MOST:
        raise Invalid(f"block_device_mapping_v2: {_MOST} ephemeral disks are the most.")


def _ephemeral(flavor: Flavor, device: BlockDevice) -> LocalDisk:
    content = device.guest_format or "ext4"
    if content not in FILE_SYSTEMS:
        raise Invalid(
            f"block_device_mapping_v2: guest_format is none of {', '.join((*FILE_SYSTEMS, _SWAP))}"
        )
    size = flavor.ephemeral_gb if device.volume_size is None else device.volume_size
    if size < 1:
        raise Invalid("block_device_mapping_v2: an ephemeral disk has at least 1 GB")
    return LocalDisk(
        kind="ephemeral", size=size << 30, content=content, bus=device.disk_bus, tag=device.tag
    )


def _swap(flavor: Flavor, device: BlockDevice) -> LocalDisk:
    size = flavor.swap_mb if device.volume_size is None else device.volume_size
    if size > flavor.swap_mb:
        raise Invalid(
            "block_device_mapping_v2: Swap drive requested is larger than instance type allows: "
            f"it has {flavor.swap_mb} MB."
        )
    if size < 1:
        raise Invalid("block_device_mapping_v2: a swap disk has at least 1 MB")
    return LocalDisk(
        kind="swap", size=size << 20, content=_SWAP, bus=device.disk_bus, tag=device.tag
    )
