"""A guest's files: its root disk, an overlay on the cached image; other disks; its console."""

import json
import logging
import os
import shutil
import uuid as uuids
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import msgspec

from kilonova.compute.libvirt import formatting
from kilonova.compute.libvirt.config_drive import config_drive
from kilonova.compute.libvirt.elements.place import LocalFile, Place
from kilonova.compute.libvirt.image_cache import Base, ImageCache
from kilonova.compute.libvirt.kept import Kept
from kilonova.compute.libvirt.owners import Owners
from kilonova.compute.libvirt.tool import run, written
from kilonova.core.block_devices import boots_from_volume
from kilonova.core.errors import BuildAborted, BuildFailed, Invalid
from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.image import Image
from kilonova.core.instance import Instance, Nic
from kilonova.core.local_disks import local_disks
from kilonova.core.tagged_devices import Placed
from kilonova.http.images import ImageStore

LOG = logging.getLogger(__name__)

ROOT_DISK = "disk.qcow2"
_CONFIG_DRIVE, _RESCUE_DISK, _COPY = "config-drive.iso", "rescue.qcow2", "copy.part"
_VARIABLES = "variables.fd"
TPM_STATE = "tpm.state"
"""What a guest's TPM remembers, where it is carried or kept: libvirt has it in a place of its own."""
NO_DISKS = (_CONFIG_DRIVE, _RESCUE_DISK)
"""Files that guests have as disks, and that are no disk of their servers."""
EARLIER_LOG = "earlier.log"
"""What a guest said on the host from which it came while it ran."""
_CONSOLE_BYTES = 100 << 10
"""What is shown of a console log at most: a guest may write as much as it likes."""

_LONGEST_SOCKET = 107
"""Bytes of a socket's path that the kernel takes."""


class Disks:
    """Everything below ``[DEFAULT] instances_path``: a directory for each guest, and the image cache.

    ``direct`` tells whether disks there can do without the host's page cache.
    """

    def __init__(self, root: Path, images: ImageStore, host: HostName) -> None:
        self.root = root
        self.owners = Owners(root, host)
        self.kept = Kept(root, host, (ROOT_DISK, _VARIABLES, TPM_STATE))
        root.mkdir(parents=True, exist_ok=True)
        self.direct = _takes_direct_io(root)
        self.cached = ImageCache(root, images)

    def console_log(self, uuid: InstanceUuid) -> Path:
        """Return where a guest's serial console is written."""
        return self.directory(uuid) / "console.log"

    def console_socket(self, uuid: InstanceUuid) -> Path | None:
        """Return where a guest's serial console can be spoken to, None where the path is too long."""
        path = self.directory(uuid) / "console.sock"
        return path if len(os.fsencode(path)) <= _LONGEST_SOCKET else None

    def disk(self, uuid: InstanceUuid) -> Path:
        """Return where a guest's root disk is."""
        return self.directory(uuid) / ROOT_DISK

    def config_drive(self, uuid: InstanceUuid) -> Path:
        """Return where a guest's config drive is."""
        return self.directory(uuid) / _CONFIG_DRIVE

    def directory(self, uuid: InstanceUuid) -> Path:
        """Return where a guest's files are."""
        return self.root / uuid

    def uuids(self) -> tuple[InstanceUuid, ...]:
        """Return the guests of this host of which there are files."""
        found = (InstanceUuid(path.name) for path in self.root.iterdir() if _is_uuid(path.name))
        return tuple(uuid for uuid in found if self.owners.is_mine(uuid))

    def has(self, uuid: InstanceUuid) -> bool:
        """Whether there are files of a guest."""
        return self.directory(uuid).is_dir()

    def make_directory(self, uuid: InstanceUuid) -> None:
        """Make room for a guest's files, which are this host's then.

        Raises:
            BuildFailed: it cannot be made.
        """
        with written():
            self.directory(uuid).mkdir(parents=True, exist_ok=True)
        if self.owners.of(uuid) is None or not self.owners.is_mine(uuid):
            self.owners.take(uuid)

    def tpm_state(self, uuid: InstanceUuid) -> Path:
        """Return where it is put down what a guest's TPM remembers."""
        return self.directory(uuid) / TPM_STATE

    def rescue_disk(self, uuid: InstanceUuid) -> Path:
        """Return where the disk is that a rescued guest starts from."""
        return self.directory(uuid) / _RESCUE_DISK

    def fetch(self, instance: Instance) -> None:
        """Have the server's image in the cache.

        Raises:
            BuildAborted, BuildFailed, ImageStoreUnavailable: as ``prepare``.
        """
        if not boots_from_volume(instance.wishes):
            with self._base(instance):
                pass

    def cache(self, image: Image) -> None:
        """Have an image in the cache, for as long as there is room.

        Raises:
            BuildAborted, BuildFailed, ImageStoreUnavailable: as ``prepare``.
        """
        with self.cached.use(image):
            pass

    def bases(self) -> set[str]:
        """Return the names of the images in the cache that guests' disks are overlays on.

        Raises:
            OSError: a disk cannot be read, so that nobody knows.
        """
        return self.cached.in_use()

    @contextmanager
    def _base(self, instance: Instance) -> Iterator[tuple[Base, int]]:
        """Give the image that a guest starts from, and how large its root disk is (bytes)."""
        image = instance.image
        if image is None:
            raise BuildAborted("A server without image needs a volume to boot from.")
        with self.cached.use(image) as base:
            size = instance.flavor.root_gb << 30 or base.virtual_size
            if base.virtual_size > size:
                raise BuildAborted(
                    f"Image {image.image_id} is a disk of {base.virtual_size} bytes, "
                    f"and the flavor's has {size}."
                )
            yield base, size

    def prepare(self, instance: Instance) -> None:
        """Make a guest's root disk, and the ephemeral and swap disks beside it.

        Raises:
            BuildAborted: the image is broken, or of a kind that is not run, or larger than the disk.
            BuildFailed: a disk could not be made here.
            ImageStoreUnavailable: the image cannot be fetched now.
        """
        if boots_from_volume(instance.wishes):
            self.make_directory(instance.uuid)
        else:
            with self._base(instance) as (base, size), written():
                self.make_directory(instance.uuid)
                overlay(base, self.disk(instance.uuid), size)
        with written():
            for file, label in self._local(instance):
                formatting.make(Path(file.path), file.disk, label)

    def local(self, instance: Instance) -> tuple[LocalFile, ...]:
        """Return a guest's ephemeral and swap disks.

        Raises:
            BuildAborted: they are not what its flavor allows.
        """
        return tuple(file for file, _ in self._local(instance))

    def _local(self, instance: Instance) -> Iterator[tuple[LocalFile, str]]:
        """Yield each ephemeral and swap disk with its label."""
        try:
            disks = local_disks(instance.flavor, instance.wishes.block_devices)
        except Invalid as error:
            raise BuildAborted(error.message) from error
        for number, disk in enumerate(disks):
            # Swap comes last, so ephemeral disks count from 0.
            name = disk.name(number)
            path = self.directory(instance.uuid) / f"{name}.raw"
            yield LocalFile(disk=disk, path=str(path)), name

    def write_config_drive(
        self, instance: Instance, nics: Sequence[Nic], placed: Sequence[Placed] | None = None
    ) -> None:
        """Make a guest's config drive, if it asked for one; ``placed`` is where its devices are, once that
        is known.

        Raises:
            BuildFailed: it cannot be written.
        """
        if instance.wishes.config_drive:
            with written():
                self.config_drive(instance.uuid).write_bytes(config_drive(instance, nics, placed))

    def place(self, instance: Instance, place: Place) -> Place:
        """Return where a guest lives, with where its disks and its console are."""
        uuid = instance.uuid
        drive, socket = self.config_drive(uuid), self.console_socket(uuid)
        return msgspec.structs.replace(
            place,
            disk=None if boots_from_volume(instance.wishes) else str(self.disk(uuid)),
            local=self.local(instance),
            config_drive=str(drive) if drive.exists() else None,
            console_socket=str(socket) if socket else None,
            direct=self.direct,
            variables=str(self.directory(uuid) / _VARIABLES),
        )

    def check_size(self, instance: Instance) -> None:
        """See that a guest's disk can become as large as its server's flavor says.

        Raises:
            BuildAborted: it would have to become smaller.
        """
        disk = self.disk(instance.uuid)
        if disk.exists() and instance.flavor.root_gb << 30 < self.size_of(disk):
            raise BuildAborted("The disk of the server cannot become smaller.")

    def size_of(self, disk: Path) -> int:
        """Return how many bytes a disk has.

        Raises:
            BuildFailed: it cannot be read.
        """
        with written():
            told = run("qemu-img", "info", "--output=json", "-U", str(disk))
        return int(json.loads(told)["virtual-size"])

    def grow(self, instance: Instance) -> None:
        """Make a guest's disk as large as its server's flavor says.

        Raises:
            BuildFailed: it cannot be made so.
        """
        disk = self.disk(instance.uuid)
        size = instance.flavor.root_gb << 30
        if disk.exists() and size > self.size_of(disk):
            with written():
                run("qemu-img", "resize", "-q", "-f", "qcow2", str(disk), str(size))

    def rebase(self, instance: Instance) -> None:
        """Let a guest's disk, which came from elsewhere, be an overlay on its image here.

        Raises:
            BuildAborted, BuildFailed, ImageStoreUnavailable: as ``prepare``.
        """
        disk = self.disk(instance.uuid)
        if instance.image is not None and disk.exists():
            with self.cached.use(instance.image) as base, written():
                what = ("-b", str(base.path), "-F", base.disk_format)
                run("qemu-img", "rebase", "-q", "-u", "-f", "qcow2", *what, str(disk))

    def prepare_rescue(self, uuid: InstanceUuid, image: Image) -> None:
        """Make the disk from which a guest is rescued.

        Raises:
            BuildAborted, BuildFailed, ImageStoreUnavailable: as ``fetch``.
        """
        with self.cached.use(image) as base, written():
            self.rescue_disk(uuid).unlink(missing_ok=True)
            overlay(base, self.rescue_disk(uuid), base.virtual_size)

    def end_rescue(self, uuid: InstanceUuid) -> None:
        """Remove that disk. What is not there is no error."""
        with written():
            self.rescue_disk(uuid).unlink(missing_ok=True)

    @contextmanager
    def room_for_copy(self, uuid: InstanceUuid) -> Iterator[Path]:
        """Give where a copy of a guest's root disk can be, until it is not needed any more."""
        copy = self.directory(uuid) / _COPY
        try:
            yield copy
        finally:
            copy.unlink(missing_ok=True)

    def copy(self, uuid: InstanceUuid, into: Path) -> None:
        """Make a whole copy (qcow2) of the root disk of a guest that does not run.

        Raises:
            BuildFailed: there is no room for it.
        """
        with written():
            # At most what the disk holds, however often it is copied.
            run("qemu-img", "convert", "-q", "-O", "qcow2", str(self.disk(uuid)), str(into))

    def remove(self, uuid: InstanceUuid) -> None:
        """Remove a guest's files, unless they are another host's. What is not there is no error.

        Raises:
            BuildFailed: something stays.
        """
        try:
            if self.owners.part_with(uuid):
                shutil.rmtree(self.directory(uuid))
            else:
                self.kept.forget(uuid)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise BuildFailed("The files of the server cannot be removed.") from error

    def console_tail(self, uuid: InstanceUuid, lines: int | None) -> str:
        """Return the last lines of a guest's console log, or as many of them as are kept."""
        kept = BytesIO(self.console_end(uuid)).readlines()
        first = 0 if lines is None else max(0, len(kept) - lines)
        return b"".join(kept[first:]).decode(errors="replace")

    def console_end(self, uuid: InstanceUuid) -> bytes:
        """Return the end of a guest's console log, before which goes what it said on another host."""
        found = (self.directory(uuid) / EARLIER_LOG, self.console_log(uuid))
        return b"".join(_end_of(path) for path in found)[-_CONSOLE_BYTES:]


def _end_of(path: Path) -> bytes:
    try:
        with path.open("rb") as log:
            end = log.seek(0, 2)
            log.seek(max(0, end - _CONSOLE_BYTES))
            return log.read(_CONSOLE_BYTES)
    except FileNotFoundError:
        return b""


def overlay(base: Base, path: Path, size: int) -> None:
    """Make a disk that is an image until it is written. Raises ``ToolFailed``."""
    run(
        *("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base.path)),
        *("-F", base.disk_format, str(path), str(size)),
    )


def _takes_direct_io(directory: Path) -> bool:
    """Whether files can be read and written past the host's page cache: some file systems refuse."""
    probe = directory / ".direct-io"
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_RDWR | os.O_DIRECT))
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True


def _is_uuid(name: str) -> bool:
    try:
        return str(uuids.UUID(name)) == name
    except ValueError:
        return False
