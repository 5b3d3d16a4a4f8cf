"""The domain XML of a guest: a pure function. Nothing that a user typed is pasted into XML as text.

Source of the elements: libvirt's "Domain XML format".
"""

from xml.etree import ElementTree as ET

import msgspec

from kilonova.core.instance import Instance

NAMESPACE = "https://kilonova.invalid/xmlns/instance/1"
"""Marks the domains that are ours; it names nothing on any network."""

ET.register_namespace("kilonova", NAMESPACE)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a guest lives on this host. ``disk`` and ``config_drive`` are paths or None; ``virt_type`` is a
    domain type of libvirt; ``arch`` an architecture."""

    virt_type: str
    arch: str
    console_log: str
    disk: str | None = None
    config_drive: str | None = None


def domain_name(instance: Instance) -> str:
    """Return the domain's name: the same for ever, whatever the server is called."""
    return f"instance-{instance.uuid}"


def domain_xml(instance: Instance, place: Place) -> str:
    """Return the XML of a guest as text."""
    domain = ET.Element("domain", type=place.virt_type)
    _text(domain, "name", domain_name(instance))
    _text(domain, "uuid", instance.uuid)
    _metadata(domain, instance)
    _text(domain, "memory", str(instance.flavor.memory_mb), unit="MiB")
    _text(domain, "vcpu", str(instance.flavor.vcpus))
    system = ET.SubElement(domain, "os")
    machine = {} if place.virt_type == "test" else {"machine": "pc"}
    _text(system, "type", "hvm", arch=place.arch, **machine)
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
    ours = ET.SubElement(ET.SubElement(domain, "metadata"), f"{{{NAMESPACE}}}instance")
    _text(ours, f"{{{NAMESPACE}}}epoch", str(instance.epoch))
    _text(ours, f"{{{NAMESPACE}}}project", instance.project_id)
    _text(ours, f"{{{NAMESPACE}}}created", instance.created_at.isoformat())


def _devices(domain: ET.Element, instance: Instance, place: Place) -> None:
    devices = ET.SubElement(domain, "devices")
    if place.disk is not None:
        _disk(devices, place.disk, "qcow2", "vda", serial=instance.uuid)
    if place.config_drive is not None:
        drive = _disk(devices, place.config_drive, "raw", "vdz", serial="config-2")
        ET.SubElement(drive, "readonly")
    serial = ET.SubElement(devices, "serial", type="file")
    ET.SubElement(serial, "source", path=place.console_log, append="on")
    ET.SubElement(serial, "target", port="0")
    random = ET.SubElement(devices, "rng", model="virtio")
    _text(random, "backend", "/dev/urandom", model="random")
    ET.SubElement(devices, "memballoon", model="virtio")


def _disk(devices: ET.Element, path: str, form: str, target: str, *, serial: str) -> ET.Element:
    disk = ET.SubElement(devices, "disk", type="file", device="disk")
    ET.SubElement(
        disk, "driver", name="qemu", type=form, cache="none" if form == "qcow2" else "default"
    )
    ET.SubElement(disk, "source", file=path)
    ET.SubElement(disk, "target", dev=target, bus="virtio")
    _text(disk, "serial", serial[:20])
    return disk


def epoch_of(xml: str) -> int | None:
    """Return the epoch that a domain's XML carries, or None if the domain is not ours."""
    found = ET.fromstring(xml).find(f"./metadata/{{{NAMESPACE}}}instance/{{{NAMESPACE}}}epoch")  # noqa: S314
    return None if found is None or not found.text else int(found.text)
