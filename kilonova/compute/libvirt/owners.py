"""Whose a guest's files are, where several hosts see the same directory.

A note in the directory names the host. While a move there is not decided on, it names its lender, too: who
has them on loan gives them back instead of removing them.
"""

import logging
import os
from pathlib import Path

import msgspec

from kilonova.core.errors import BuildFailed
from kilonova.core.ids import HostName, InstanceUuid

LOG = logging.getLogger(__name__)


class Owner(msgspec.Struct, frozen=True):
    """The host that a guest's files are of, and the one that may want them back."""

    host: str
    lender: str = ""


class Owners:
    """The notes below ``root``, as ``host`` reads and writes them. Directories without one are its own."""

    def __init__(self, root: Path, host: HostName) -> None:
        self._root = root
        self._host = host

    def _file(self, uuid: InstanceUuid) -> Path:
        return self._root / uuid / "owner.json"

    def of(self, uuid: InstanceUuid) -> Owner | None:
        """Return whose a guest's files are, or None if nobody says.

        Raises:
            BuildFailed: the note cannot be read.
        """
        try:
            return msgspec.json.decode(self._file(uuid).read_bytes(), type=Owner)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise BuildFailed("Nobody knows whose the files of the server are.") from error

    def is_mine(self, uuid: InstanceUuid) -> bool:
        """Whether a guest's files are this host's; they are not where nobody knows."""
        try:
            owner = self.of(uuid)
        except BuildFailed as error:
            LOG.warning("%s: %s", uuid, error.in_full)
            return False
        return owner is None or owner.host == self._host

    def take(self, uuid: InstanceUuid, lender: str = "") -> None:
        """Note that a guest's files, whose directory is there, are this host's.

        Raises:
            BuildFailed: that cannot be written.
        """
        self._write(uuid, Owner(self._host, lender))

    def give(self, uuid: InstanceUuid, host: HostName) -> None:
        """Note that they are another host's.

        Raises:
            BuildFailed: that cannot be written.
        """
        self._write(uuid, Owner(host))

    def _write(self, uuid: InstanceUuid, owner: Owner) -> None:
        file = self._file(uuid)
        # Two hosts may write at once; each its own, and the last counts.
        partial = file.with_name(f"owner-{self._host}.new")
        try:
            with partial.open("wb") as new:
                new.write(msgspec.json.encode(owner))
                os.fsync(new.fileno())
            partial.replace(file)
        except OSError as error:
            raise BuildFailed("Whose the files of the server are cannot be written.") from error

    def part_with(self, uuid: InstanceUuid) -> bool:
        """Let go of a guest's files; return whether they are to be removed.

        What is on loan goes back to its lender, and who lent his files does so for good.

        Raises:
            BuildFailed: the note cannot be read or written.
        """
        owner = self.of(uuid)
        if owner is None or owner == Owner(self._host):
            return True
        if owner.host == self._host:
            self._write(uuid, Owner(owner.lender))
        elif owner.lender == self._host:
            self._write(uuid, Owner(owner.host))
        return False
