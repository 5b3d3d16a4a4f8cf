"""What a hypervisor does with shares: file systems that a share service keeps.

A share reaches a guest in two steps: its export is mounted on the host, once for all guests that have it,
and each of these is told where. Every call may be repeated.
"""

from typing import Protocol

from kilonova.core.instance import Instance
from kilonova.core.share import Share


class Sharing(Protocol):
    """The part of ``driver.Driver`` that has to do with shares.

    Every method raises ``HypervisorUnavailable`` when the hypervisor does not answer. Guests that are made
    (``spawn``, ``reboot`` ...) get the shares of their server from the start; these must be mounted.
    """

    def mount_share(self, share: Share, identity: str = "", key: str = "") -> None:
        """Have a share's export mounted on this host; one that is stays so.

        ``identity`` is who this host is to the storage, and ``key`` the secret that proves it, where it is
        asked for them.

        Raises:
            BuildFailed: this host cannot have it.
        """

    def unmount_share(self, share_id: str) -> None:
        """Let a share go that no guest has any more. One that is not mounted is no error.

        Raises:
            BuildFailed: it is not let go.
        """

    def mounted_shares(self) -> frozenset[str]:
        """Return the ids of the shares that are mounted on this host."""

    def give_shares(self, instance: Instance) -> None:
        """Let a guest that is shut down have exactly the shares of its server, from its next start on.

        Raises:
            NotFound: there is no such guest.
            BuildFailed: guests here have no shares.
        """
