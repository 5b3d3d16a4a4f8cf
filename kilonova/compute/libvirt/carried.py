"""A guest's files when it changes hosts: which there are, where they go, and what is made for them."""

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from kilonova.compute.crossing.harbour import Expected
from kilonova.compute.crossing.wire import Make, Put
from kilonova.compute.libvirt import image_files
from kilonova.compute.libvirt.disks import Disks, overlay
from kilonova.compute.libvirt.tool import ToolFailed, run
from kilonova.core.errors import BuildFailed
from kilonova.core.ids import InstanceUuid

IMAGE = "image"
"""The name under which the image crosses that a root disk is an overlay on."""
_NAMES = re.compile(r"(?!kept-)[a-z0-9][a-z0-9-]*\.(qcow2|raw|iso|log|fd|state)")
_SOCKETS = ("virtqemud-sock", "libvirt-sock")


class Carried:
    """The files of guests that come and go; the ``Quay`` of a libvirt at ``uri``."""

    def __init__(self, disks: Disks, uri: str) -> None:
        self._disks = disks
        self._uri = uri

    def files(self, uuid: InstanceUuid) -> list[Path]:
        """Return what a guest consists of."""
        found = self._disks.directory(uuid).iterdir()
        return sorted(path for path in found if _NAMES.fullmatch(path.name) and path.is_file())

    def image(self, uuid: InstanceUuid) -> Path | None:
        """Return the image that a guest's root disk is an overlay on, or None; that is a volume's, too.

        Raises:
            BuildFailed: the disk cannot be read.
        """
        try:
            backing = image_files.backing_of(self._disks.disk(uuid))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BuildFailed("The disk of the server cannot be read.") from error
        return Path(backing) if backing else None

    @contextmanager
    def arriving(self, expected: Expected, put: Put) -> Iterator[Path]:
        """See ``Quay``."""
        self._make_room(put.filled)
        try:
            if put.file == IMAGE and expected.image is not None:
                with self._disks.cached.adopt(expected.image) as path:
                    yield path
                return
            path = self._path(expected, put.file)
            partial = path.with_name(f"{path.name}.part")
            try:
                yield partial
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise BuildFailed("A disk of the server did not arrive.") from error

    def make(self, expected: Expected, wanted: Make) -> None:
        """See ``Quay``."""
        self._make_room(wanted.filled)
        path = self._path(expected, wanted.file)
        try:
            path.unlink(missing_ok=True)
            if path.suffix != ".qcow2":
                with path.open("xb") as file:
                    file.truncate(wanted.size)
            elif expected.image is None:
                run("qemu-img", "create", "-q", "-f", "qcow2", str(path), str(wanted.size))
            else:
                with self._disks.cached.use(expected.image) as base:
                    overlay(base, path, wanted.size)
        except (OSError, ToolFailed) as error:
            raise BuildFailed("A disk cannot be made at the destination.") from error

    def hypervisor(self) -> socket.socket:
        """See ``Quay``."""
        path = socket_of(self._uri)
        if path is None:
            raise ConnectionError(f"{self._uri} is not on this host")
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(path)
        except OSError:
            connection.close()
            raise
        return connection

    def _path(self, expected: Expected, name: str) -> Path:
        directory = self._disks.directory(expected.uuid)
        if not _NAMES.fullmatch(name) or not directory.is_dir():
            raise BuildFailed("No server has such a file.")
        return directory / name

    def _make_room(self, filled: int) -> None:
        if shutil.disk_usage(self._disks.root).free < filled:
            raise BuildFailed("The destination has no room for the disks of the server.")


def socket_of(uri: str) -> str | None:
    """Return where a libvirt of this host listens, or None if a URI names none that is here."""
    parts = urlsplit(uri)
    if parts.scheme not in ("qemu", "qemu+unix") or parts.netloc:
        return None
    named = parse_qs(parts.query).get("socket")
    if named:
        return named[0]
    run_of = "/run" if parts.path == "/system" else os.environ.get("XDG_RUNTIME_DIR", "/run")
    candidates = [f"{run_of}/libvirt/{name}" for name in _SOCKETS]
    return next((path for path in candidates if os.path.exists(path)), None)


def instance_of(uri: str) -> str:
    """Return which libvirt of its host a URI names: ``/system`` or ``/session``, empty if not one here."""
    return urlsplit(uri).path if socket_of(uri) else ""
