"""The XML of a guest that comes while it runs: its source's, with files where they are here. Pure."""

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from xml.etree import ElementTree as ET

import msgspec

from kilonova.compute.libvirt.elements.volumes import alias


class MovedDisk(msgspec.Struct, frozen=True):
    """A disk whose bytes move with its guest: how libvirt calls it, and its file."""

    target: str
    path: str


def moved(xml: str, directories: tuple[str, str], volumes: Mapping[str, str]) -> str:
    """Return a domain whose files are in the second of two directories, on the new host's images.

    ``volumes`` are paths on the new host, by the ids of volumes.
    """
    old, new = directories
    paths = {alias(volume_id): path for volume_id, path in volumes.items()}
    domain = ET.fromstring(xml)  # noqa: S314 - libvirt wrote it
    for disk in domain.iterfind("devices/disk"):
        # Which image a disk is an overlay on, the other libvirt finds in the disk.
        for part in (*disk.findall("backingStore"), *disk.findall("mirror")):
            disk.remove(part)
        named, source = disk.find("alias"), disk.find("source")
        path = None if named is None else paths.get(named.get("name", ""))
        if source is not None and path is not None:
            source.set("dev" if disk.get("type") == "block" else "file", path)
    tuning = domain.find("cputune")
    if tuning is not None:
        # Which of the host's CPUs it runs on is the new host's to say.
        for pin in (*tuning.findall("vcpupin"), *tuning.findall("emulatorpin")):
            tuning.remove(pin)
    for element in domain.iter():
        for name, value in element.attrib.items():
            if value.startswith(f"{old}/"):
                element.set(name, new + value.removeprefix(old))
    return ET.tostring(domain, encoding="unicode")


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


def pins_of(xml: str) -> dict[int, frozenset[int]]:
    """Return the host's CPUs on which each VCPU of a domain is to run, of those that are pinned."""
    domain = ET.fromstring(xml)  # noqa: S314 - we wrote it
    found = {}
    for pin in domain.iterfind("cputune/vcpupin"):
        cpus: set[int] = set()
        for part in pin.get("cpuset", "").split(","):
            first, _, last = part.partition("-")
            cpus.update(range(int(first), int(last or first) + 1))
        found[int(pin.get("vcpu", "0"))] = frozenset(cpus)
    return found


def cpu_of(xml: str) -> str | None:
    """Return a domain's processors, as libvirt compares them with a host's; None if any will do."""
    cpu = ET.fromstring(xml).find("cpu")  # noqa: S314 - libvirt wrote it
    if cpu is None or cpu.find("model") is None:
        return None
    for part in ("topology", "numa"):
        for found in cpu.findall(part):
            cpu.remove(found)
    return ET.tostring(cpu, encoding="unicode")
