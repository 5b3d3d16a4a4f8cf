"""The disks of containers: a raw file with one ext4 file system each, which libvirt mounts through a loop
device, and a config drive that is a directory.
"""

import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from kilonova.compute.libvirt.config_drive import files
from kilonova.compute.libvirt.disks import Disks
from kilonova.compute.libvirt.tool import ToolFailed, run, written
from kilonova.core.block_devices import boots_from_volume
from kilonova.core.errors import BuildAborted, BuildFailed
from kilonova.core.ids import InstanceUuid
from kilonova.core.image import Image
from kilonova.core.instance import Instance, Nic
from kilonova.core.tagged_devices import Placed
from kilonova.http.metadata.openstack import Told

_SEED = 512
_LONGEST = 63
"""Characters that libvirt takes of the name of a file behind a loop device."""
_DIGITS = 12
"""Of a UUID, in a name that is short: they are random, and enough for one host."""


class ContainerDisks(Disks):
    """``Disks`` of which the host's kernel mounts what an image's owner made: so it is checked first."""

    def disk(self, uuid: InstanceUuid) -> Path:
        """See ``Disks``."""
        return self.directory(uuid) / "disk.raw"

    def config_drive(self, uuid: InstanceUuid) -> Path:
        """See ``Disks``. It is a directory."""
        return self.directory(uuid) / "config-drive"

    def short_name(self, uuid: InstanceUuid) -> Path:
        """Return a link to a container's disk with a name that is short enough for libvirt.

        Raises:
            BuildFailed: ``instances_path`` is too long, or the link cannot be made.
        """
        link = self._link(uuid)
        if len(os.fsencode(link)) > _LONGEST:
            raise BuildFailed("This host keeps its containers where libvirt cannot mount them.")
        disk = Path("..", uuid, self.disk(uuid).name)
        with written():
            link.parent.mkdir(exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(disk)
            if link.readlink() != disk:
                raise FileExistsError(link)
        return link

    def remove(self, uuid: InstanceUuid) -> None:
        """See ``Disks``."""
        super().remove(uuid)
        if not self.has(uuid):
            self._link(uuid).unlink(missing_ok=True)

    def _link(self, uuid: InstanceUuid) -> Path:
        return self.root / "_c" / uuid.replace("-", "")[:_DIGITS]

    def prepare(self, instance: Instance) -> None:
        """See ``Disks``.

        Raises:
            BuildAborted: also, the image is no file system, or the server wants what containers have not.
        """
        if boots_from_volume(instance.wishes):
            raise BuildAborted("Containers have no volumes.")
        if self.local(instance):
            raise BuildAborted("Containers have no ephemeral or swap disks.")
        self.make_directory(instance.uuid)
        disk = self.disk(instance.uuid)
        partial = disk.with_suffix(".part")
        with self._base(instance) as (base, size), written():
            run(
                "qemu-img", "convert", "-q", *("-f", base.disk_format), str(base.path), str(partial)
            )
            _check(partial, instance.image)
            _grow(partial, size)
            partial.replace(disk)

    def write_config_drive(
        self, instance: Instance, nics: Sequence[Nic], placed: Sequence[Placed] | None = None
    ) -> None:
        """See ``Disks``."""
        if not instance.wishes.config_drive:
            return
        told = Told(instance=instance, nics=tuple(nics), seed=secrets.token_bytes(_SEED))
        drive = self.config_drive(instance.uuid)
        with written():
            shutil.rmtree(drive, ignore_errors=True)
            for name, data in files(told).items():
                file = drive / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
            # Only its owner reads what a server was told.
            drive.chmod(0o700)

    def grow(self, instance: Instance) -> None:
        """See ``Disks``."""
        disk = self.disk(instance.uuid)
        size = instance.flavor.root_gb << 30
        if disk.exists() and size > disk.stat().st_size:
            with written():
                _check(disk, instance.image)
                _grow(disk, size)

    def rebase(self, instance: Instance) -> None:
        """See ``Disks``. A container's disk is no overlay on anything."""

    def copy(self, uuid: InstanceUuid, into: Path) -> None:
        """See ``Disks``. Of a container that stands still, too, once all that it wrote is in the file."""
        os.sync()
        with written():
            disk = str(self.disk(uuid))
            run("qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", disk, str(into))


def _check(disk: Path, image: Image | None) -> None:
    """See that a disk is an ext4 file system, and repair what a sudden end left of it.

    Raises:
        BuildAborted: it is none, or beyond repair.
    """
    command = ("e2fsck", "-f", "-y", str(disk))
    try:
        try:
            run(*command, is_limited=True)
        except ToolFailed:
            # That something was repaired is told like an error; then there is nothing the second time.
            run(*command, is_limited=True)
    except ToolFailed as error:
        name = "the disk" if image is None else f"image {image.image_id}"
        raise BuildAborted(
            f"A container starts from one ext4 file system, and {name} is no sound one."
        ) from error


def _grow(disk: Path, size: int) -> None:
    """Make a file system as large as ``size`` (bytes), and its file with it. Raises ``ToolFailed``."""
    os.truncate(disk, size)
    run("resize2fs", str(disk), is_limited=True)
