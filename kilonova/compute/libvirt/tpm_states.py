"""What the TPMs of guests remember: libvirt has it in a place of its own, from where it is brought along.

libvirt gives what lies there to whom its TPMs run as whenever it starts one, so nobody else's rights are
touched here.
"""

import logging
import os
import re
import shutil
import socket
import struct
from pathlib import Path

import msgspec

from kilonova.compute.libvirt.carried import instance_of, socket_of
from kilonova.core.errors import BuildFailed, HypervisorUnavailable, KilonovaError
from kilonova.core.ids import InstanceUuid

LOG = logging.getLogger(__name__)

_NAME = re.compile(r"tpm(1\.2|2)/[a-z0-9][a-z0-9.-]*")
_LARGEST = 16 << 20
_CREDENTIALS = struct.Struct("3i")
_WAITS = 10.0


class _State(msgspec.Struct, frozen=True):
    """The files of one TPM, by their path."""

    files: dict[str, bytes]


class TpmStates:
    """The states of TPMs that the libvirt at ``uri``, which is on this host, has of its guests."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def pack(self, uuid: InstanceUuid, into: Path) -> None:
        """Put down in a file what a guest's TPM, which does not run, remembers: nothing if it never ran.

        Raises:
            BuildFailed: it cannot be read or written here.
        """
        partial = into.with_name(f"{into.name}.part")
        try:
            found = self._read(self._directory(uuid))
            partial.unlink(missing_ok=True)
            with os.fdopen(
                os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "wb"
            ) as new:
                new.write(msgspec.json.encode(_State(found)))
                os.fsync(new.fileno())
            partial.replace(into)
        except OSError as error:
            raise BuildFailed("What the TPM of the server remembers cannot be read.") from error

    def _read(self, directory: Path) -> dict[str, bytes]:
        """Raises ``OSError``."""
        found: dict[str, bytes] = {}
        if not directory.exists():
            return found
        for path in sorted(directory.glob("*/*")):
            name = str(path.relative_to(directory))
            if _NAME.fullmatch(name) and path.is_file():
                found[name] = path.read_bytes()
        return found

    def unpack(self, uuid: InstanceUuid, packed: Path) -> None:
        """Let a guest's TPM, which does not run, remember what is in a file.

        Raises:
            BuildFailed: it cannot be read or written here.
        """
        try:
            if packed.stat().st_size > _LARGEST:
                raise BuildFailed("What the TPM of the server remembers is too much.")
            files = msgspec.json.decode(packed.read_bytes(), type=_State).files
            directory = self._directory(uuid)
            if directory.exists():
                shutil.rmtree(directory)
            if files:
                _write(directory, files)
        except (OSError, msgspec.MsgspecError) as error:
            raise BuildFailed("The TPM of the server cannot be made to remember.") from error

    def remove(self, uuid: InstanceUuid) -> None:
        """Remove what a guest's TPM remembers. What is not there, or cannot be, is no error."""
        try:
            shutil.rmtree(self._directory(uuid))
        except FileNotFoundError:
            pass
        except (KilonovaError, OSError) as error:
            LOG.warning("What the TPM of %s remembers is left: %s", uuid, error)

    def _directory(self, uuid: InstanceUuid) -> Path:
        """Return where libvirt has it, as it is seen from here: libvirt may run in a container.

        Raises:
            HypervisorUnavailable: libvirt does not answer.
            BuildFailed: it is not on this host.
        """
        path = socket_of(self._uri)
        if path is None:
            raise BuildFailed("The hypervisor is not on this host.")
        if instance_of(self._uri) == "/session":
            config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
            where = Path(config) / "libvirt" / "qemu" / "swtpm"
        else:
            where = Path(f"/proc/{_listener_of(path)}/root/var/lib/libvirt/swtpm")
        return where / uuid


def _write(directory: Path, files: dict[str, bytes]) -> None:
    """Raises ``OSError``."""
    if not all(map(_NAME.fullmatch, files)):
        raise BuildFailed("No TPM remembers in such files.")
    fresh = directory.with_name(f"{directory.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True, mode=0o711)
    for name, data in files.items():
        path = fresh / name
        path.parent.mkdir(exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "wb") as new:
            new.write(data)
            os.fsync(new.fileno())
    fresh.rename(directory)


def _listener_of(path: str) -> int:
    """Return the process that listens at a socket.

    Raises:
        HypervisorUnavailable: none does.
    """
    with socket.socket(socket.AF_UNIX) as plain:
        plain.settimeout(_WAITS)
        try:
            plain.connect(path)
        except OSError as error:
            raise HypervisorUnavailable("The hypervisor does not answer.") from error
        told = plain.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process: int = _CREDENTIALS.unpack(told)[0]
    return process
