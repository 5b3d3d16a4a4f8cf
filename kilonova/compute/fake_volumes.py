"""What fake guests have of volumes."""

import threading
from abc import ABC, abstractmethod
from typing import Any

from kilonova.compute.fake_guests import FakeGuest
from kilonova.compute.script import Script
from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.volume import Volume


class FakeVolumes(ABC):
    """The part of a fake host that has to do with volumes. Its console tells of what comes and goes."""

    _host: HostName
    _script: Script
    _lock: threading.Lock
    _here: set[str]
    """The ids of volumes that are connected."""

    @abstractmethod
    def _guest(self, uuid: InstanceUuid) -> FakeGuest: ...

    def connector(self) -> dict[str, Any]:
        """See ``Attaching``."""
        return {
            "host": self._host,
            "ip": "127.0.0.1",
            "initiator": f"iqn.2026-01.invalid.kilonova:{self._host}",
            "multipath": False,
            "platform": "x86_64",
            "os_type": "linux",
        }

    def connect_volume(self, volume: Volume) -> Volume:
        """See ``Attaching``."""
        self._script.play("connect-volume", self._host, volume.volume_id)
        with self._lock:
            self._here.add(volume.volume_id)
        return volume

    def disconnect_volume(self, volume: Volume) -> None:
        """See ``Attaching``."""
        self._script.play("disconnect-volume", self._host, volume.volume_id)
        with self._lock:
            self._here.discard(volume.volume_id)

    def attach_volume(self, instance: Instance, volume: Volume) -> None:
        """See ``Attaching``."""
        guest = self._guest(instance.uuid)
        self._script.play("attach-volume", self._host, instance.name)
        if volume.volume_id not in guest.volumes:
            guest.volumes[volume.volume_id] = volume
            guest.console.append(f"{volume.device} came: {volume.volume_id}")

    def detach_volume(self, instance: Instance, volume: Volume) -> None:
        """See ``Attaching``."""
        guest = self._guest(instance.uuid)
        self._script.play("detach-volume", self._host, instance.name)
        if guest.volumes.pop(volume.volume_id, None) is not None:
            guest.console.append(f"{volume.device} went: {volume.volume_id}")

    def swap_volume(self, instance: Instance, volume: Volume, replacement: Volume) -> None:
        """See ``Attaching``."""
        guest = self._guest(instance.uuid)
        self._script.play("swap-volume", self._host, instance.name)
        guest.volumes.pop(volume.volume_id, None)
        guest.volumes[replacement.volume_id] = replacement

    def extend_volume(self, instance: Instance, volume: Volume) -> None:
        """See ``Attaching``."""
        guest = self._guest(instance.uuid)
        self._script.play("extend-volume", self._host, instance.name)
        guest.volumes[volume.volume_id] = volume
        guest.console.append(f"{volume.device} has {volume.size_gb} GiB")

    def snapshot_volume(self, instance: Instance, volume: Volume, new_file: str) -> None:
        """See ``Attaching``."""
        guest = self._guest(instance.uuid)
        self._script.play("snapshot-volume", self._host, instance.name)
        guest.console.append(f"{volume.device} goes on with {new_file}")

    def merge_snapshot(
        self, instance: Instance, volume: Volume, files: tuple[str | None, str | None]
    ) -> None:
        """See ``Attaching``."""
        guest = self._guest(instance.uuid)
        self._script.play("snapshot-volume", self._host, instance.name)
        guest.console.append(f"{volume.device} has merged {files[0]}")
