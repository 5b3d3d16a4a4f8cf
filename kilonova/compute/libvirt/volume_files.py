"""Volumes that are files: a guest goes on with another file of one, and what lies behind it is merged.

A file names the one behind it by its name alone: all are in one directory, which may be mounted elsewhere
on another host. While a guest runs, its QEMU does this; the files of one that is off are qemu-img's.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from kilonova.compute.libvirt.elements.tree import add
from kilonova.compute.libvirt.elements.volumes import alias
from kilonova.compute.libvirt.tool import ToolFailed, run
from kilonova.core.block_devices import short
from kilonova.core.errors import BuildFailed
from kilonova.core.volume import Volume

_LOOKS = 0.25
_GROWS = "qcow2"
"""The format of a file that has another behind it."""

Files = tuple[str | None, str | None]


def go_on_with(domain: Any, volume: Volume, new_file: str) -> None:
    """Let a guest have ``new_file``, whose content is that of the file it has."""
    disk, path = _disk(domain, volume)
    new = path.with_name(new_file)
    if domain.isActive():
        flags = (
            libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
            | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
            | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT
        )
        domain.snapshotCreateXML(snapshot_xml(_names(domain), short(volume.device), new), flags)
        return
    set_file(disk, new)
    xml = ET.tostring(disk, encoding="unicode")
    domain.updateDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_CONFIG)


def merge(domain: Any, volume: Volume, files: Files) -> None:
    """Merge files of a volume, as ``Attaching.merge_snapshot`` has them."""
    disk, path = _disk(domain, volume)
    if not domain.isActive():
        try:
            _merge_at_rest(disk, path, files)
        except ToolFailed as error:
            raise BuildFailed(f"The files of volume {volume.volume_id} were not merged.") from error
        return
    device, (top, base) = short(volume.device), files
    if base is not None and top is not None:
        flags = libvirt.VIR_DOMAIN_BLOCK_COMMIT_RELATIVE
        target, merged = str(path.with_name(base)), str(path.with_name(top))
        domain.blockCommit(device, target, merged, 0, flags)
    elif top is not None:
        flags = libvirt.VIR_DOMAIN_BLOCK_REBASE_RELATIVE
        domain.blockRebase(device, str(path.with_name(top)), 0, flags)
    else:
        domain.blockRebase(device, None, 0, 0)
    while domain.blockJobInfo(device, 0):
        time.sleep(_LOOKS)
    # A job that failed is gone, too.
    if not is_merged(_chain(domain, volume), files):
        raise BuildFailed(f"The files of volume {volume.volume_id} were not merged.")


def _merge_at_rest(disk: ET.Element, path: Path, files: Files) -> None:
    """Merge files that no guest has open.

    Raises:
        ToolFailed: they cannot be read, or written.
        BuildFailed: they are not what lies behind the file in use.
    """
    top, base = files
    formats = _formats(disk, path)
    behind = list(formats)
    wanted = [name for name in files if name is not None]
    if [name for name in behind[1:] if name in wanted] != wanted:
        raise BuildFailed(f"{', '.join(behind)} do not have {', '.join(wanted)} behind the first.")
    if top is None:
        run("qemu-img", "rebase", "-q", "-f", _GROWS, "-b", "", str(path))
        return
    if base is None:
        run("qemu-img", "rebase", "-q", "-f", _GROWS, *_onto(top, formats), str(path))
        return
    merged, target = path.with_name(top), path.with_name(base)
    run("qemu-img", "commit", "-q", "-f", _GROWS, "-b", str(target), str(merged))
    above = path.with_name(behind[behind.index(top) - 1])
    run("qemu-img", "rebase", "-q", "-u", "-f", _GROWS, *_onto(base, formats), str(above))


def _onto(name: str, formats: dict[str, str]) -> tuple[str, ...]:
    return "-b", name, "-F", formats[name]


def _formats(disk: ET.Element, path: Path) -> dict[str, str]:
    """Return the format of each file of a disk by its name: of the one in use, and of those behind it.

    The one in use has what its guest is told, the others what the file before says: what is in a file may
    be its guest's own words.
    """
    driver = disk.find("driver")
    shape = driver.get("type", "") if driver is not None else ""
    formats: dict[str, str] = {}
    while path.name not in formats:
        formats[path.name] = shape
        if shape != _GROWS:
            break
        told = json.loads(run("qemu-img", "info", "--output=json", "-f", shape, str(path)))
        behind, shape = told.get("backing-filename"), told.get("backing-filename-format")
        if behind is None:
            break
        if shape is None or Path(behind).name != behind:
            raise BuildFailed(f"What lies behind {path.name} is not said well enough.")
        path = path.with_name(behind)
    return formats


def snapshot_xml(names: Sequence[str], chosen: str, file: Path) -> str:
    """Return the XML of a snapshot of one disk, with its new file; the others are left out."""
    root = ET.Element("domainsnapshot")
    disks = add(root, "disks")
    for name in names:
        if name == chosen:
            disk = add(disks, "disk", {"name": name, "snapshot": "external", "type": "file"})
            add(disk, "source", {"file": str(file)})
        else:
            add(disks, "disk", {"name": name, "snapshot": "no"})
    return ET.tostring(root, encoding="unicode")


def set_file(disk: ET.Element, file: Path) -> None:
    """Let a disk's element name a file that has the one it names behind it."""
    for name, attributes in (("driver", {"type": _GROWS}), ("source", {"file": str(file)})):
        found = disk.find(name)
        if found is not None:
            found.attrib.update(attributes)
    for left in disk.findall("backingStore"):
        disk.remove(left)


def is_merged(chain: Sequence[str], files: Files) -> bool:
    """Whether files are merged as ``Attaching.merge_snapshot`` has them, by what a disk's chain is now."""
    top, base = files
    if base is not None:
        return top not in chain
    return list(chain[1:2]) == ([] if top is None else [top])


def _chain(domain: Any, volume: Volume) -> list[str]:
    """Return the names of a disk's files: the one in use, and what lies behind it in turn."""
    text = element_of(domain, volume)
    place = ET.fromstring(text) if text else None  # noqa: S314 - libvirt's
    names: list[str] = []
    while place is not None:
        source = place.find("source")
        path = source.get("file") if source is not None else None
        if path is not None:
            names.append(Path(path).name)
        place = place.find("backingStore")
    return names


def _names(domain: Any) -> list[str]:
    found = ET.fromstring(domain.XMLDesc(0)).iterfind("devices/disk/target")  # noqa: S314 - libvirt's
    return [target.get("dev", "") for target in found]


def _disk(domain: Any, volume: Volume) -> tuple[ET.Element, Path]:
    """Return the element and the file of a volume that a guest has."""
    text = element_of(domain, volume)
    disk = ET.fromstring(text) if text else None  # noqa: S314 - libvirt's
    source = disk.find("source") if disk is not None else None
    path = source.get("file") if source is not None else None
    if disk is None or path is None:
        raise BuildFailed(f"Volume {volume.volume_id} is no file that the guest has.")
    return disk, Path(path)


def element_of(domain: Any, volume: Volume, flags: int = 0) -> str | None:
    """Return the element of a volume in a domain, or None if it has none."""
    for found in ET.fromstring(domain.XMLDesc(flags)).iterfind("devices/disk"):  # noqa: S314 - libvirt's
        target = found.find("target")
        name = found.find("alias")
        # A copy takes the place of a volume, but not its alias: the device is the same.
        same = name is not None and name.get("name") == alias(volume.volume_id)
        serial = found.findtext("serial") == volume.volume_id[:20]
        if same or (serial and target is not None and target.get("dev") == short(volume.device)):
            return ET.tostring(found, encoding="unicode")
    return None
