"""What a hypervisor does with volumes: disks that a block storage service keeps.

A volume reaches a host in two steps. The service lets the host, which its ``connector`` describes, have it
and says how (``Volume.connection``); ``connect_volume`` then makes of that what a guest can be given. Every
call may be repeated: an order is sent again when nothing was heard of it.
"""

from typing import Any, Protocol

from kilonova.core.instance import Instance
from kilonova.core.volume import Volume


class Attaching(Protocol):
    """The part of ``driver.Driver`` that has to do with volumes.

    Every method raises ``HypervisorUnavailable`` when the hypervisor does not answer, and ``BuildFailed``
    when it refuses. Guests that are made (``spawn``, ``reboot``, ``receive`` ...) get the volumes of their
    server from the start; these must be connected.
    """

    def connector(self) -> dict[str, Any]:
        """Return what the block storage service has to know of this host."""

    def connect_volume(self, volume: Volume) -> Volume:
        """Have a volume on this host, and return it with what it is here. One that is here is no error.

        Raises:
            BuildFailed: this host cannot have it.
        """

    def disconnect_volume(self, volume: Volume) -> None:
        """Let a volume go. One that is not here is no error."""

    def attach_volume(self, instance: Instance, volume: Volume) -> None:
        """Give a connected volume to a guest, whether it runs or not. One that it has is no error.

        Raises:
            NotFound: there is no such guest.
        """

    def detach_volume(self, instance: Instance, volume: Volume) -> None:
        """Take a volume from a guest, whether it runs or not. One that it has not is no error.

        Raises:
            BuildFailed: the guest does not let it go. It has it still.
            NotFound: there is no such guest.
        """

    def swap_volume(self, instance: Instance, volume: Volume, replacement: Volume) -> None:
        """Copy a guest's volume to another that is connected, and let the guest go on with that, under the
        same id if both have one. Done before, it is no error.

        Raises:
            NotFound: there is no such guest.
            NotSupported: guests here cannot do that.
        """

    def extend_volume(self, instance: Instance, volume: Volume) -> None:
        """Let a guest see the present size of a volume.

        Raises:
            NotFound: there is no such guest.
        """

    def snapshot_volume(self, instance: Instance, volume: Volume, new_file: str) -> None:
        """Let a guest go on with ``new_file``, which lies beside a volume's file and names that as the one
        behind it, whether it runs or not.

        Raises:
            BuildFailed: the volume is no file.
            NotFound: there is no such guest.
        """

    def merge_snapshot(
        self, instance: Instance, volume: Volume, files: tuple[str | None, str | None]
    ) -> None:
        """Merge the first of two files of a volume into the second, which lies behind it.

        Without a second, what lies in front of the first is merged into the file in use; without either,
        all that lies behind that is.

        Raises:
            BuildFailed: the volume is no file, or these are none of its files.
            NotFound: there is no such guest.
        """
