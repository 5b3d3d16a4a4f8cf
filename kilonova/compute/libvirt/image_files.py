"""What a disk image is, told from its own first bytes before anything else opens it.

Source of the layout: QEMU's "qcow2 Image File Format".
"""

import json
import struct
from pathlib import Path

import msgspec

from kilonova.compute.libvirt.tool import ToolFailed, run
from kilonova.core.errors import BuildAborted
from kilonova.core.image import Image

FORMATS = frozenset({"raw", "qcow2"})

_QCOW2 = b"QFI\xfb"
_MAGICS = {
    _QCOW2: "qcow2",
    b"QED\0": "qed",
    b"KDMV": "vmdk",
    b"COWD": "vmdk",
    b"# Disk DescriptorFile": "vmdk",
    b"conectix": "vpc",
    b"vhdxfile": "vhdx",
    b"LUKS\xba\xbe": "luks",
    b"WithoutFreeSpace": "parallels",
    b"WithouFreSpacExt": "parallels",
}
_VDI = (0x40, b"\x7f\x10\xda\xbe")
_HEAD = 4096
_DATA_FILE = 1 << 2
"""The feature of an image whose data is in another file."""
_LONGEST_NAME = 1023


class _Header(msgspec.Struct, frozen=True):
    """What counts of a qcow2 header."""

    backing: str
    is_encrypted: bool
    has_data_file: bool


def check(path: Path, image: Image) -> int:
    """Return how many bytes the disk has that an image file is.

    Raises:
        BuildAborted: it is not what the image says, or reaches outside itself.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    found = _format_of(head)
    if found != image.disk_format:
        raise BuildAborted(f"Image {image.image_id} says {image.disk_format} and is {found}.")
    if found == "raw":
        return path.stat().st_size
    header = _header_of(head)
    if header is None:
        raise BuildAborted(f"Image {image.image_id} is no {image.disk_format}.")
    if header.backing or header.has_data_file:
        raise BuildAborted(f"Image {image.image_id} refers to another file.")
    if header.is_encrypted:
        raise BuildAborted(f"Image {image.image_id} is encrypted.")
    return _opened(path, image)


def _opened(path: Path, image: Image) -> int:
    """Let QEMU read its tables, under limits: it may be crafted to cost without end. Return its size."""
    command = ("qemu-img", "info", "--output=json", "-f", "qcow2", str(path))
    try:
        found = json.loads(run(*command, is_limited=True))
    except ToolFailed as error:
        raise BuildAborted(f"Image {image.image_id} is no {image.disk_format}.") from error
    return int(found["virtual-size"])


def backing_of(path: Path) -> str:
    """Return the name of the file that a disk is an overlay on; empty if it is on none, or is no overlay.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    header = _header_of(head) if head.startswith(_QCOW2) else None
    return header.backing if header else ""


def _format_of(head: bytes) -> str:
    for magic, name in _MAGICS.items():
        if head.startswith(magic):
            return name
    offset, magic = _VDI
    return "vdi" if head[offset:].startswith(magic) else "raw"


def _header_of(head: bytes) -> _Header | None:
    """Return what a qcow2 header says, None if it is none that makes sense."""
    try:
        version, at, length, _, _, crypt = struct.unpack_from(">IQIIQI", head, 4)
        features = struct.unpack_from(">Q", head, 72)[0] if version >= 3 else 0
    except struct.error:
        return None
    if version not in (2, 3) or length > _LONGEST_NAME:
        return None
    name = head[at : at + length].decode(errors="surrogateescape") if at else ""
    if at and not name:
        # Its name is not where names are: it has one nevertheless.
        name = "?"
    return _Header(name, bool(crypt), bool(features & _DATA_FILE))
