"""Copies the disk of a guest that runs, as it is at one moment, while the guest goes on."""

import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from kilonova.compute.libvirt import domains
from kilonova.compute.libvirt.elements.tree import add

LOG = logging.getLogger(__name__)

_LOOKS = 0.1
_NOT_LIKE_THIS = (
    libvirt.VIR_ERR_NO_SUPPORT,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
    libvirt.VIR_ERR_OPERATION_INVALID,
)


def copy(domain: Any, disk: Path, into: Path) -> bool:
    """Copy a disk of a domain into a file (qcow2), all of it; False if the domain or QEMU is not for that.

    Raises:
        libvirt.libvirtError: libvirt refused.
    """
    target = target_of(domain.XMLDesc(0), str(disk)) if domain.isActive() else None
    if target is None:
        return False
    end_left(domain)
    into.unlink(missing_ok=True)
    way = _mirror if domains.is_stuck(domain) else _back_up
    try:
        return way(domain, target, into)
    except libvirt.libvirtError as error:
        if error.get_error_code() not in _NOT_LIKE_THIS:
            raise
        LOG.info("The disk of %s cannot be copied while it runs: %s", domain.name(), error)
        return False


def end_left(domain: Any) -> None:
    """End what an earlier run of this service, or of libvirt, left undone with a domain that runs."""
    with suppress(libvirt.libvirtError):
        domain.abortJob()
    for target in mirrored(domain.XMLDesc(0)):
        with suppress(libvirt.libvirtError):
            domain.blockJobAbort(target, 0)


def _back_up(domain: Any, target: str, into: Path) -> bool:
    """Copy what is on a disk now."""
    domain.backupBegin(backup_xml(domain.XMLDesc(0), target, str(into)), None, 0)
    while domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE:
        time.sleep(_LOOKS)
    if not domain.isActive():
        # It ended on the way: its disk can be copied as it lies there.
        return False
    ended = domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
    return bool(ended.get("type") == libvirt.VIR_DOMAIN_JOB_COMPLETED)


def _mirror(domain: Any, target: str, into: Path) -> bool:
    """Copy what is on a disk as its copy has caught up with it: what libvirt can do beside other things."""
    domain.blockCopy(target, mirror_xml(str(into)), {}, libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB)
    while True:
        how_far = domain.blockJobInfo(target)
        if not domain.isActive() or not how_far:
            return False
        # libvirt sees to it that these are equal only once all that is written goes to both.
        if how_far["cur"] == how_far["end"]:
            domain.blockJobAbort(target, 0)
            return True
        time.sleep(_LOOKS)


def target_of(xml: str, path: str) -> str | None:
    """Return how a domain calls the disk that is a file, or None. Pure."""
    for disk in ET.fromstring(xml).iterfind("devices/disk"):  # noqa: S314 - libvirt wrote it
        source, target = disk.find("source"), disk.find("target")
        if source is not None and target is not None and source.get("file") == path:
            return target.get("dev")
    return None


def backup_xml(xml: str, target: str, into: str) -> str:
    """Return what asks libvirt for a copy of one of a domain's disks. Pure.

    Source of the elements: libvirt's "Backup XML format".
    """
    backup = ET.Element("domainbackup", mode="push")
    disks = add(backup, "disks")
    for found in ET.fromstring(xml).iterfind("devices/disk/target"):  # noqa: S314 - libvirt wrote it
        name = found.get("dev", "")
        if name != target:
            add(disks, "disk", {"name": name, "backup": "no"})
            continue
        disk = add(disks, "disk", {"name": name, "backup": "yes", "type": "file"})
        add(disk, "target", {"file": into})
        add(disk, "driver", {"type": "qcow2"})
    return ET.tostring(backup, encoding="unicode")


def mirror_xml(into: str) -> str:
    """Return where libvirt is to mirror a disk. Pure."""
    disk = ET.Element("disk", type="file")
    add(disk, "source", {"file": into})
    add(disk, "driver", {"type": "qcow2"})
    return ET.tostring(disk, encoding="unicode")


def mirrored(xml: str) -> tuple[str, ...]:
    """Return how a domain calls its disks that are being mirrored. Pure."""
    disks = ET.fromstring(xml).iterfind("devices/disk[mirror]/target")  # noqa: S314 - libvirt wrote it
    return tuple(target.get("dev", "") for target in disks)
