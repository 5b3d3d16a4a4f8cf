"""The shares of a guest: file systems that are mounted on its host, and served to it by virtiofs.

Who serves them reads the guest's memory, so that is in a file of both. Source: libvirt's documentation,
"Sharing files with Virtiofs".
"""

from collections.abc import Sequence
from pathlib import PurePath
from xml.etree import ElementTree as ET

from kilonova.compute.libvirt.elements.tree import add, reach
from kilonova.core.share import Share

_ALIAS = "ua-share-"


def add_shares(devices: ET.Element, shares: Sequence[Share], mounts: PurePath) -> None:
    """Add shares, each of which is mounted in ``mounts`` under its id."""
    for share in shares:
        kind = {"type": "mount", "accessmode": "passthrough"}
        element = add(devices, "filesystem", kind)
        add(element, "driver", {"type": "virtiofs"})
        add(element, "source", {"dir": str(mounts / share.share_id)})
        add(element, "target", {"dir": share.tag})
        add(element, "alias", {"name": f"{_ALIAS}{share.share_id}"})


def add_shared_memory(domain: ET.Element) -> None:
    """Add that the guest's memory is in a file, which others may have open."""
    backing = reach(domain, "memoryBacking")
    add(backing, "source", {"type": "memfd"})
    add(backing, "access", {"mode": "shared"})


def with_shares(xml: str, shares: Sequence[Share], mounts: PurePath) -> str:
    """Return a domain as it is with exactly these shares."""
    domain = ET.fromstring(xml)  # noqa: S314 - libvirt wrote it
    devices = reach(domain, "devices")
    for element in devices.findall("filesystem"):
        alias = element.find("alias")
        if alias is not None and alias.get("name", "").startswith(_ALIAS):
            devices.remove(element)
    backing = domain.find("memoryBacking")
    if backing is not None:
        for name in ("source", "access"):
            for element in backing.findall(name):
                backing.remove(element)
        if not len(backing):
            domain.remove(backing)
    if shares:
        add_shared_memory(domain)
        add_shares(devices, shares, mounts)
    return ET.tostring(domain, encoding="unicode")
