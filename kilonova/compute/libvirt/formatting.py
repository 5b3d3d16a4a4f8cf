"""Makes the disks that a guest finds formatted: ephemeral ones with a file system, and swap."""

from pathlib import Path

from kilonova.compute.libvirt.tool import run
from kilonova.core.local_disks import LocalDisk


def make(path: Path, disk: LocalDisk, label: str) -> None:
    """Make a raw disk that takes room only as it is filled, and format it. One that is there is replaced.

    Raises:
        OSError, ToolFailed: it cannot be made.
    """
    path.unlink(missing_ok=True)
    with path.open("xb") as file:
        file.truncate(disk.size)
    if disk.content == "swap":
        run("mkswap", "-L", label, str(path))
    elif disk.content == "vfat":
        run("mkfs.vfat", "-n", label.upper(), str(path))
    else:
        # The guest's kernel writes the rest of the tables when it first mounts it.
        lazily = "lazy_itable_init=1,lazy_journal_init=1"
        run(f"mkfs.{disk.content}", "-q", "-F", "-L", label, "-E", lazily, str(path))
