"""A guest's disks: the root disk, those beside it, and the config drive."""

from collections.abc import Iterator
from xml.etree import ElementTree as ET

import msgspec

from kilonova.compute.libvirt.elements.place import Place
from kilonova.compute.libvirt.elements.tree import add
from kilonova.compute.libvirt.elements.volumes import add_volume, bus_of
from kilonova.core.block_devices import free_name, short
from kilonova.core.hardware import DISK_BUSES, Hardware
from kilonova.core.instance import Instance
from kilonova.core.tagged_devices import SERIAL

_CDROMS = ("ide", "sata", "scsi")
"""The buses on which there are drives that cannot be written."""


class _Disk(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    bus: str
    serial: str
    driver: dict[str, str]
    is_readonly: bool = False


def add_disks(devices: ET.Element, instance: Instance, place: Place, hardware: Hardware) -> None:
    """Add every disk, and the controllers that they need."""
    # Volumes keep their names, whatever comes and goes beside them.
    taken = {short(volume.device) for volume in instance.volumes}
    buses = {bus_of(volume) for volume in instance.volumes}
    for volume in instance.volumes:
        add_volume(devices, volume)
    for disk in _disks(instance, place, hardware):
        target = free_name(DISK_BUSES[disk.bus], taken)
        taken.add(target)
        buses.add(disk.bus)
        _add(devices, disk, target, hardware)
    if "scsi" in buses:
        controller = {"type": "scsi", "index": "0", "model": hardware.scsi_model}
        add(devices, "controller", controller)


def _disks(instance: Instance, place: Place, hardware: Hardware) -> Iterator[_Disk]:
    cache = "none" if place.direct else "writeback"
    driver = {"type": "qcow2", "cache": cache}
    if place.rescue is not None:
        yield _Disk(path=place.rescue, bus=hardware.disk_bus, serial="rescue", driver=driver)
    if place.disk is not None:
        yield _Disk(path=place.disk, bus=hardware.disk_bus, serial=instance.uuid, driver=driver)
    numbers = {"ephemeral": 0, "swap": 0}
    for file in place.local:
        kind = file.disk.kind
        serial = file.disk.name(numbers[kind])
        numbers[kind] += 1
        bus = file.disk.bus or hardware.disk_bus
        yield _Disk(path=file.path, bus=bus, serial=serial, driver={"type": "raw", "cache": cache})
    if place.config_drive is not None:
        yield _Disk(
            path=place.config_drive,
            bus=hardware.disk_bus,
            serial="config-2",
            driver={"type": "raw"},
            is_readonly=True,
        )


def _add(devices: ET.Element, disk: _Disk, target: str, hardware: Hardware) -> None:
    """Add a disk; guests know it by the first characters of its serial number."""
    cdrom = disk.is_readonly and disk.bus in _CDROMS
    element = add(devices, "disk", {"type": "file", "device": "cdrom" if cdrom else "disk"})
    add(element, "driver", {"name": "qemu", **disk.driver})
    add(element, "source", {"file": disk.path})
    add(element, "target", {"dev": target, "bus": disk.bus})
    if not disk.is_readonly and hardware.limits.disk:
        tuning = add(element, "iotune")
        for name, number in hardware.limits.disk.items():
            add(tuning, name, text=str(number))
    add(element, "serial", text=disk.serial[:SERIAL])
    if disk.is_readonly:
        add(element, "readonly")
