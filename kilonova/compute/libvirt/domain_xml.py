"""The domain XML of a guest: a pure function. Nothing that a user typed is pasted into XML as text.

Its parts are in ``elements``; here stands their order, and what we note in it of the guest.
"""

from pathlib import PurePath
from xml.etree import ElementTree as ET

import msgspec

from kilonova.compute.libvirt.elements import boot, cpu, devices, disks, memory, nics, shares
from kilonova.compute.libvirt.elements.place import Place
from kilonova.compute.libvirt.elements.tree import add
from kilonova.core.block_devices import amounts
from kilonova.core.errors import BuildFailed
from kilonova.core.hardware import Hardware, hardware_of
from kilonova.core.ids import domain_name
from kilonova.core.instance import Instance, Nic

NAMESPACE = "https://kilonova.invalid/xmlns/instance/1"
"""Marks what we say of a domain; it names nothing on any network."""


class Record(msgspec.Struct, frozen=True):
    """What a domain's metadata tells: the build that made it (0: not told), and what it was given."""

    epoch: int = 0
    resources: dict[str, int] = {}


def record_for(instance: Instance) -> Record:
    """Return what the metadata of a server's domain will tell."""
    return Record(instance.epoch, amounts(instance))


def domain_xml(instance: Instance, place: Place) -> str:
    """Return the XML of a guest as text.

    Raises:
        Malformed: its flavor or its image asks for hardware that cannot be.
        BuildFailed: it asks for CPUs of its own, and the host picked none.
    """
    hardware = _hardware_at(instance, place)
    domain = ET.Element("domain", type=place.virt_type)
    add_identity(domain, instance)
    memory.add_memory(domain, instance.flavor)
    cpu.add_vcpus(domain, instance.flavor, place)
    boot.add_system(domain, place, hardware)
    if place.virt_type == "test":
        return ET.tostring(domain, encoding="unicode")
    memory.add_backing(domain, place, hardware)
    if instance.shares:
        shares.add_shared_memory(domain)
    memory.add_placement(domain, place)
    cpu.add_tuning(domain, place, hardware)
    boot.add_sysinfo(domain, instance, place)
    boot.add_features(domain, place, hardware)
    cpu.add_cpu(domain, place, instance.flavor, hardware)
    boot.add_endings(domain)
    parts = add(domain, "devices")
    disks.add_disks(parts, instance, place, hardware)
    devices.add_controllers(parts, hardware)
    shares.add_shares(parts, instance.shares, PurePath(place.mounts))
    nics.add_nics(parts, place, hardware)
    devices.add_serial(parts, place, hardware)
    devices.add_screen(parts, place, hardware)
    devices.add_passed_through(parts, place)
    devices.add_others(parts, hardware)
    return ET.tostring(domain, encoding="unicode")


def place_xml(instance: Instance, place: Place) -> str:
    """Return a domain with nothing but which CPUs, cells and pages of its host are the guest's.

    Raises:
        Malformed, BuildFailed: as ``domain_xml``.
    """
    hardware = _hardware_at(instance, place)
    domain = ET.Element("domain")
    cpu.add_vcpus(domain, instance.flavor, place)
    memory.add_backing(domain, place, hardware)
    memory.add_placement(domain, place)
    cpu.add_tuning(domain, place, hardware)
    return ET.tostring(domain, encoding="unicode")


def _hardware_at(instance: Instance, place: Place) -> Hardware:
    """Return a guest's hardware, and see that the host picked what it is to have for itself."""
    hardware = hardware_of(instance.flavor, instance.image)
    pinned = hardware.cells is not None and bool(hardware.cells.pinned)
    if pinned and not (place.pins and place.pins.cpus):
        raise BuildFailed("This host has no CPUs that a server could have for itself.")
    return hardware


def interface_xml(instance: Instance, nic: Nic, place: Place) -> str:
    """Return the XML of a card that a guest gets while it is there.

    Raises:
        Malformed: its flavor or its image asks for hardware that cannot be.
    """
    hardware = hardware_of(instance.flavor, instance.image)
    card = nics.add_nic(ET.Element("devices"), nic, place, hardware)
    return ET.tostring(card, encoding="unicode")


def add_identity(domain: ET.Element, instance: Instance) -> None:
    """Add whose domain it is, and what is noted of it."""
    add(domain, "name", text=domain_name(instance.uuid))
    add(domain, "uuid", text=instance.uuid)
    parent = add(domain, "metadata")
    ours = add(parent, "kilonova:instance", {"xmlns:kilonova": NAMESPACE})
    _describe(ours, instance, "kilonova:")


def _describe(ours: ET.Element, instance: Instance, prefix: str) -> None:
    add(ours, f"{prefix}epoch", text=str(instance.epoch))
    for name, amount in amounts(instance).items():
        add(ours, f"{prefix}resource", {"name": name}, str(amount))
    add(ours, f"{prefix}project", text=instance.project_id)
    add(ours, f"{prefix}created", text=instance.created_at.isoformat())


def metadata_of(instance: Instance) -> str:
    """Return what is noted of a guest, as the element by which libvirt replaces what was."""
    ours = ET.Element("instance")
    _describe(ours, instance, "")
    return ET.tostring(ours, encoding="unicode")


def record_of(metadata: str) -> Record:
    """Return what our element of a domain's metadata tells. libvirt hands it out without its namespace."""
    ours = ET.fromstring(metadata)  # noqa: S314 - libvirt wrote it
    resources = {
        found.get("name", ""): int(found.text or 0) for found in ours.iterfind("{*}resource")
    }
    return Record(int(ours.findtext("{*}epoch") or 0), resources)
