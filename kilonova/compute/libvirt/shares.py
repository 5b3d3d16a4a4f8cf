"""Shares on a libvirt host: their exports, mounted below its state directory, and guests that see them.

Where an export is mounted is a matter of its share's id alone. What is on it is a tenant's: nothing there
makes a program of this host's run as somebody else, or is a device of it.
"""

import os
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import libvirt
from oslo_config import cfg

from kilonova.compute.libvirt.connection import Connection
from kilonova.compute.libvirt.elements.shares import with_shares
from kilonova.compute.libvirt.tool import ToolFailed, run
from kilonova.core.errors import BuildFailed
from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.share import CEPHFS, Share

_OPTIONS = "nosuid,nodev"
_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")
_DEFINED = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE


class SharesHere(ABC):
    """The part of the driver that has to do with shares."""

    _conf: cfg.ConfigOpts
    _libvirt: Connection

    @abstractmethod
    def _on(self, uuid: InstanceUuid, work: Callable[[Any], None]) -> None: ...

    @property
    def _mounts(self) -> Path:
        """Where shares are mounted, each under its id."""
        return Path(self._conf.state_path).absolute() / "shares"

    def mount_share(self, share: Share, identity: str = "", key: str = "") -> None:
        """See ``Sharing``."""
        where = self._mounts / str(UUID(share.share_id))
        if share.share_id in self.mounted_shares():
            return
        try:
            where.mkdir(parents=True, exist_ok=True)
            if share.protocol == CEPHFS:
                with _secret(key) as file:
                    options = f"{_OPTIONS},name={identity},secretfile={file}"
                    run("mount", "-t", "ceph", "-o", options, "--", share.export, str(where))
            else:
                run("mount", "-t", "nfs", "-o", _OPTIONS, "--", share.export, str(where))
        except (OSError, ToolFailed) as error:
            raise BuildFailed("An export cannot be mounted on this host.") from error

    def unmount_share(self, share_id: str) -> None:
        """See ``Sharing``."""
        where = self._mounts / str(UUID(share_id))
        try:
            if share_id in self.mounted_shares():
                run("umount", "--", str(where))
            where.rmdir()
        except FileNotFoundError:
            return
        except (OSError, ToolFailed) as error:
            raise BuildFailed("An export is not let go on this host.") from error

    def mounted_shares(self) -> frozenset[str]:
        """See ``Sharing``."""
        return mounted_in(self._mounts, _MOUNTS.read_text(errors="surrogateescape"))

    def give_shares(self, instance: Instance) -> None:
        """See ``Sharing``."""

        def give(domain: Any) -> None:
            xml = domain.XMLDesc(_DEFINED)
            after = with_shares(xml, instance.shares, self._mounts)
            domain.connect().defineXML(after)

        self._on(instance.uuid, give)


def mounted_in(directory: Path, table: str) -> frozenset[str]:
    """Return what is mounted in a directory, by the kernel's table (proc(5), ``mountinfo``): to look at the
    places themselves would be to wait for a storage that does not answer."""
    places = (_ESCAPED.sub(_plain, line.split()[4]) for line in table.splitlines())
    found = (Path(place) for place in places)
    return frozenset(place.name for place in found if place.parent == directory)


def _plain(escaped: re.Match[str]) -> str:
    return chr(int(escaped[1], 8))


@contextmanager
def _secret(key: str) -> Iterator[str]:
    """Give a file with a key in it, which nobody else reads: what stands on a command line all can see."""
    handle, name = tempfile.mkstemp(prefix="kilonova-share-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(key)
        yield name
    finally:
        os.unlink(name)
