"""What fake guests have of shares."""

import threading
from abc import ABC, abstractmethod

from kilonova.compute.fake_guests import FakeGuest
from kilonova.compute.script import Script
from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.share import Share


class FakeShares(ABC):
    """The part of a fake host that has to do with shares."""

    _host: HostName
    _script: Script
    _lock: threading.Lock
    _mounts: dict[str, str]
    """By share, who this host is to the storage where that is mounted, empty where it is not asked."""

    @abstractmethod
    def _guest(self, uuid: InstanceUuid) -> FakeGuest: ...

    def mount_share(self, share: Share, identity: str = "", key: str = "") -> None:
        """See ``Sharing``."""
        self._script.play("mount-share", self._host, share.share_id)
        with self._lock:
            self._mounts.setdefault(share.share_id, identity)

    def unmount_share(self, share_id: str) -> None:
        """See ``Sharing``."""
        self._script.play("unmount-share", self._host, share_id)
        with self._lock:
            self._mounts.pop(share_id, None)

    def mounted_shares(self) -> frozenset[str]:
        """See ``Sharing``."""
        with self._lock:
            return frozenset(self._mounts)

    def give_shares(self, instance: Instance) -> None:
        """See ``Sharing``."""
        guest = self._guest(instance.uuid)
        self._script.play("give-shares", self._host, instance.name)
        guest.shares = instance.shares
