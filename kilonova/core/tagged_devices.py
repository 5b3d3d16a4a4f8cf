"""The devices of a guest that their owner gave a tag, and where the guest finds them. Pure.

Source of the words: Compute documentation, "Device tagging" and "Metadata service".
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from kilonova.core.errors import Invalid
from kilonova.core.instance import Instance, Nic
from kilonova.core.local_disks import local_disks

SERIAL = 20
"""Characters of a disk's serial number that a guest sees."""


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """Where a device is in its guest's machine.

    ``key`` is a card's MAC address, or the serial number that a guest sees of a disk; ``bus`` is ``pci``,
    ``scsi``, ``ide``, ``sata`` or ``usb``; ``path`` what a disk is expected to be called, such as
    ``/dev/vdb``.
    """

    key: str
    bus: str
    address: str
    path: str = ""


class Tagged(msgspec.Struct, frozen=True, kw_only=True):
    """One device with a tag. ``placed`` is None where nobody knows where it is."""

    kind: Literal["nic", "disk"]
    tag: str
    mac: str = ""
    serial: str = ""
    placed: Placed | None = None

    @property
    def key(self) -> str:
        """By what it is found in a machine."""
        return self.mac.lower() if self.kind == "nic" else self.serial[:SERIAL]


def tagged(
    instance: Instance, nics: Sequence[Nic], placed: Sequence[Placed] | None
) -> tuple[Tagged, ...]:
    """Return a server's devices with tags that are in its machine, or all where that is not known."""
    found = tuple(_all(instance, nics))
    if placed is None:
        return found
    where = {one.key: one for one in placed}
    return tuple(
        msgspec.structs.replace(one, placed=where[one.key]) for one in found if one.key in where
    )


def has_tags(instance: Instance, nics: Sequence[Nic]) -> bool:
    """Whether any device of a server has a tag."""
    return any(True for _ in _all(instance, nics))


def _all(instance: Instance, nics: Sequence[Nic]) -> Iterator[Tagged]:
    for nic in nics:
        if nic.tag is not None:
            yield Tagged(kind="nic", tag=nic.tag, mac=nic.mac)
    for volume in instance.volumes:
        if volume.tag is not None:
            yield Tagged(kind="disk", tag=volume.tag, serial=volume.volume_id)
    devices = instance.wishes.block_devices
    if not any(device.tag for device in devices):
        return
    for device in devices:
        is_root = device.source_type == "image" and device.destination_type == "local"
        if is_root and device.tag is not None:
            yield Tagged(kind="disk", tag=device.tag, serial=instance.uuid[:SERIAL])
    try:
        disks = local_disks(instance.flavor, devices)
    except Invalid:
        # It is refused where its disks are made.
        return
    for number, disk in enumerate(disks):
        if disk.tag is not None:
            yield Tagged(kind="disk", tag=disk.tag, serial=disk.name(number))
