"""The domain XML of a guest: a pure function. Nothing that a user typed is pasted into XML as text.

Source of the elements: libvirt's "Domain XML format".
"""

from xml.etree import ElementTree as ET

import msgspec

from kilonova.core import flavor
from kilonova.core.ids import domain_name
from kilonova.core.instance import Instance

NAMESPACE = "https://kilonova.invalid/xmlns/instance/1"
"""Marks what we say of a domain; it names nothing on any network."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a guest lives on this host.

    ``virt_type`` is a domain type of libvirt; ``arch`` an architecture; ``disk`` and ``config_drive`` are
    paths or None; ``rescue`` is the disk that a rescued guest starts from instead; ``direct`` tells whether
    disks can do without the host's page cache.
    """

    virt_type: str
    arch: str
    console_log: str
    disk: str | None = None
    config_drive: str | None = None
    rescue: str | None = None
    direct: bool = True


LISTEN = "127.0.0.1"
"""Where guests show their screens: a proxy on the host decides who sees them."""
_YES = ("yes", "true", "True", "1")


class Record(msgspec.Struct, frozen=True):
    """What a domain's metadata tells: the build that made it (0: not told), and what it was given."""

    epoch: int = 0
    resources: dict[str, int] = {}


def record_for(instance: Instance) -> Record:
    """Return what the metadata of a server's domain will tell."""
    return Record(instance.epoch, flavor.resources(instance.flavor))


def domain_xml(instance: Instance, place: Place) -> str:
    """Return the XML of a guest as text."""
    domain = ET.Element("domain", type=place.virt_type)
    _text(domain, "name", domain_name(instance.uuid))
    _text(domain, "uuid", instance.uuid)
    _metadata(domain, instance)
    _text(domain, "memory", str(instance.flavor.memory_mb), unit="MiB")
    _text(domain, "vcpu", str(instance.flavor.vcpus))
    system = ET.SubElement(domain, "os")
    machine = {} if place.virt_type == "test" else {"machine": "pc"}
    _text(system, "type", "hvm", arch=place.arch, **machine)
    if instance.image and instance.image.properties.get("hw_firmware_type") == "uefi":
        system.set("firmware", "efi")
    if place.virt_type == "test":
        return ET.tostring(domain, encoding="unicode")
    ET.SubElement(system, "boot", dev="hd")
    features = ET.SubElement(domain, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    if place.virt_type == "kvm":
        ET.SubElement(domain, "cpu", mode="host-model")
    _text(domain, "on_poweroff", "destroy")
    _text(domain, "on_reboot", "restart")
    _text(domain, "on_crash", "destroy")
    _devices(domain, instance, place)
    return ET.tostring(domain, encoding="unicode")


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element


def _metadata(domain: ET.Element, instance: Instance) -> None:
    parent = ET.SubElement(domain, "metadata")
    ours = ET.SubElement(parent, "kilonova:instance", {"xmlns:kilonova": NAMESPACE})
    _text(ours, "kilonova:epoch", str(instance.epoch))
    for name, amount in flavor.resources(instance.flavor).items():
        _text(ours, "kilonova:resource", str(amount), name=name)
    _text(ours, "kilonova:project", instance.project_id)
    _text(ours, "kilonova:created", instance.created_at.isoformat())


def _devices(domain: ET.Element, instance: Instance, place: Place) -> None:
    devices = ET.SubElement(domain, "devices")
    if place.disk is not None:
        driver = {"type": "qcow2", "cache": "none" if place.direct else "writeback"}
        if place.rescue is not None:
            _disk(devices, place.rescue, "vda", "rescue", driver)
        target = "vda" if place.rescue is None else "vdb"
        _disk(devices, place.disk, target, instance.uuid, driver)
    if place.config_drive is not None:
        drive = _disk(devices, place.config_drive, "vdz", "config-2", {"type": "raw"})
        ET.SubElement(drive, "readonly")
    serial = ET.SubElement(devices, "serial", type="file")
    ET.SubElement(serial, "source", path=place.console_log, append="on")
    ET.SubElement(serial, "target", port="0")
    graphics = ET.SubElement(devices, "graphics", type="vnc", autoport="yes")
    ET.SubElement(graphics, "listen", type="address", address=LISTEN)
    video = ET.SubElement(devices, "video")
    ET.SubElement(video, "model", type="vga")
    if instance.image and instance.image.properties.get("hw_qemu_guest_agent") in _YES:
        channel = ET.SubElement(devices, "channel", type="unix")
        ET.SubElement(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    random = ET.SubElement(devices, "rng", model="virtio")
    _text(random, "backend", "/dev/urandom", model="random")
    ET.SubElement(devices, "memballoon", model="virtio")


def _disk(
    devices: ET.Element, path: str, target: str, serial: str, driver: dict[str, str]
) -> ET.Element:
    """Add a disk; guests know it by the first 20 characters of ``serial``."""
    disk = ET.SubElement(devices, "disk", type="file", device="disk")
    ET.SubElement(disk, "driver", {"name": "qemu", **driver})
    ET.SubElement(disk, "source", file=path)
    ET.SubElement(disk, "target", dev=target, bus="virtio")
    _text(disk, "serial", serial[:20])
    return disk


def vnc_port(xml: str) -> int | None:
    """Return the port on which the guest of a live domain shows its screen, or None if it does not run."""
    graphics = ET.fromstring(xml).find("devices/graphics[@type='vnc']")  # noqa: S314 - libvirt wrote it
    port = -1 if graphics is None else int(graphics.get("port", "-1"))
    return port if port > 0 else None


def record_of(metadata: str) -> Record:
    """Return what our element of a domain's metadata tells. libvirt hands it out without its namespace."""
    ours = ET.fromstring(metadata)  # noqa: S314 - libvirt wrote it
    resources = {
        found.get("name", ""): int(found.text or 0) for found in ours.iterfind("{*}resource")
    }
    return Record(int(ours.findtext("{*}epoch") or 0), resources)
