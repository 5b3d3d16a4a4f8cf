"""The element of a volume, from what it is on this host: a file, a block device, or an image in a network.

A volume's ``connection`` is here what ``libvirt.volumes`` made of the block storage service's words:

    source     file, block or network
    path       of a file or a block device
    format     raw or qcow2
    protocol, name, hosts, user, secret      of an image in a network, as rbd has them
    readonly, discard                        whether it is so
    limits                                   of bytes and operations a second, by libvirt's names
"""

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from kilonova.compute.libvirt.elements.tree import add
from kilonova.core.block_devices import short
from kilonova.core.tagged_devices import SERIAL
from kilonova.core.volume import Volume

_BUSES = {"vd": "virtio", "hd": "ide", "sd": "scsi"}
_SOURCES = {"file": "file", "block": "dev"}


def alias(volume_id: str) -> str:
    """Return the name by which a volume is found in a domain."""
    return f"ua-{volume_id}"


def bus_of(volume: Volume) -> str:
    """Return the bus that a volume is on: the one asked for, or that its name is of."""
    return volume.bus or _BUSES.get(short(volume.device)[:2], "virtio")


def add_volume(devices: ET.Element, volume: Volume) -> ET.Element:
    """Add a connected volume."""
    here = volume.connection or {}
    kind = here.get("source", "block")
    device = "lun" if volume.kind == "lun" else "disk"
    element = add(devices, "disk", {"type": kind, "device": device})
    driver = {"name": "qemu", "type": here.get("format", "raw"), "cache": "none"}
    add(element, "driver", driver | ({"discard": "unmap"} if here.get("discard") else {}))
    if kind == "network":
        _add_network(element, here)
    else:
        add(element, "source", {_SOURCES[kind]: here["path"]})
    add(element, "target", {"dev": short(volume.device), "bus": bus_of(volume)})
    limits: Mapping[str, Any] = here.get("limits") or {}
    if limits:
        tuning = add(element, "iotune")
        for name, number in limits.items():
            add(tuning, name, text=str(number))
    add(element, "serial", text=volume.volume_id[:SERIAL])
    if here.get("readonly"):
        add(element, "readonly")
    if volume.multiattach:
        add(element, "shareable")
    add(element, "alias", {"name": alias(volume.volume_id)})
    return element


def _add_network(element: ET.Element, here: Mapping[str, Any]) -> None:
    source = add(element, "source", {"protocol": here["protocol"], "name": here["name"]})
    for host, port in here.get("hosts", ()):
        add(source, "host", {"name": host} | ({"port": port} if port else {}))
    if here.get("user"):
        auth = add(element, "auth", {"username": here["user"]})
        add(auth, "secret", {"type": "ceph", "uuid": here["secret"]})


def volume_xml(volume: Volume) -> str:
    """Return the element of a volume by itself."""
    devices = ET.Element("devices")
    return ET.tostring(add_volume(devices, volume), encoding="unicode")
