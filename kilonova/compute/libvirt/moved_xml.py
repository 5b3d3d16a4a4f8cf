"""The XML of a guest that comes while it runs: its source's, with files where they are here. Pure."""

from collections.abc import Iterator
from pathlib import PurePath
from xml.etree import ElementTree as ET

import msgspec

from kilonova.compute.libvirt.elements.nics import add_plug
from kilonova.compute.libvirt.elements.tree import reach
from kilonova.compute.libvirt.elements.volumes import alias
from kilonova.core.instance import Nic
from kilonova.core.migration import Berth


class MovedDisk(msgspec.Struct, frozen=True):
    """A disk whose bytes move with its guest: how libvirt calls it, and its file."""

    target: str
    path: str


def moved(xml: str, old: str, berth: Berth) -> str:
    """Return a domain as it is to be where ``berth`` is, with its files there instead of in ``old``.

    Its volumes are where the berth has them, its cards that are ports are plugged in as the berth's are,
    and it has of the new host's CPUs, cells and pages what the berth's ``place`` says
    (``domain_xml.place_xml``).
    """
    new = berth.directory
    paths = {alias(volume_id): path for volume_id, path in berth.volumes.items()}
    domain = ET.fromstring(xml)  # noqa: S314 - libvirt wrote it
    for disk in domain.iterfind("devices/disk"):
        # Which image a disk is an overlay on, the other libvirt finds in the disk.
        for part in (*disk.findall("backingStore"), *disk.findall("mirror")):
            disk.remove(part)
        named, source = disk.find("alias"), disk.find("source")
        path = None if named is None else paths.get(named.get("name", ""))
        if source is not None and path is not None:
            source.set("dev" if disk.get("type") == "block" else "file", path)
    _settle(domain, ET.fromstring(berth.place or "<domain/>"))  # noqa: S314 - the other host's own
    plugs = {nic.mac: nic for nic in berth.nics}
    for card in domain.iterfind("devices/interface"):
        mac = card.find("mac")
        nic = None if mac is None else plugs.get(mac.get("address", ""))
        if nic is not None:
            _plug_elsewhere(card, nic)
    for element in domain.iter():
        for name, value in element.attrib.items():
            if value.startswith(f"{old}/"):
                element.set(name, new + value.removeprefix(old))
    variables = domain.find("os/nvram")
    if variables is not None and (variables.text or "").startswith(f"{old}/"):
        variables.text = new + (variables.text or "").removeprefix(old)
    return ET.tostring(domain, encoding="unicode")


def _plug_elsewhere(card: ET.Element, nic: Nic) -> None:
    """Say what a card's other end is on the new host; what the guest sees of it stays."""
    if nic.plug is None:
        return
    for name in ("source", "virtualport", "target", "mtu"):
        for part in card.findall(name):
            card.remove(part)
    add_plug(card, nic, nic.plug)


def _settle(domain: ET.Element, there: ET.Element) -> None:
    """Replace what a domain had of its old host by what it gets of the new one."""
    number, wanted = domain.find("vcpu"), there.find("vcpu")
    if number is not None:
        number.attrib.pop("cpuset", None)
        if wanted is not None:
            number.attrib.update(wanted.attrib)
    for parent, names in _OF_HOST.items():
        had, gets = domain.find(parent), there.find(parent)
        for name in names:
            if had is not None:
                for part in had.findall(name):
                    had.remove(part)
            if gets is not None:
                reach(domain, parent).extend(gets.findall(name))
        if had is not None and not len(had):
            domain.remove(had)


_OF_HOST = {
    "cputune": ("vcpupin", "emulatorpin"),
    "numatune": ("memory", "memnode"),
    "memoryBacking": ("hugepages",),
}
"""The elements that name parts of a host, by where they stand."""


def moving_disks(xml: str, directory: str) -> tuple[MovedDisk, ...]:
    """Return a domain's disks that can be written and lie in a directory."""
    return tuple(disk for disk, readonly in _disks(xml, directory) if not readonly)


def fixed_files(xml: str, directory: str) -> tuple[str, ...]:
    """Return the names of a domain's disks in a directory that nobody writes."""
    return tuple(PurePath(disk.path).name for disk, readonly in _disks(xml, directory) if readonly)


def _disks(xml: str, directory: str) -> Iterator[tuple[MovedDisk, bool]]:
    domain = ET.fromstring(xml)  # noqa: S314 - libvirt wrote it
    for disk in domain.iterfind("devices/disk"):
        source, target = disk.find("source"), disk.find("target")
        path = "" if source is None else source.get("file", "")
        if target is not None and str(PurePath(path).parent) == directory:
            yield MovedDisk(target.get("dev", ""), path), disk.find("readonly") is not None


def cpu_of(xml: str) -> str | None:
    """Return a domain's processors, as libvirt compares them with a host's; None if any will do."""
    cpu = ET.fromstring(xml).find("cpu")  # noqa: S314 - libvirt wrote it
    if cpu is None or cpu.find("model") is None:
        return None
    for part in ("topology", "numa"):
        for found in cpu.findall(part):
            cpu.remove(found)
    return ET.tostring(cpu, encoding="unicode")
