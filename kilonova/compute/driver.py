"""What the compute service knows of a hypervisor. Every call blocks and is made from a worker thread."""

from collections.abc import Callable, Mapping
from typing import Protocol

from kilonova.core.host import NodeReport
from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.states import PowerState

Changed = Callable[[InstanceUuid, PowerState], None]
"""Called when a guest's power state changed by itself."""


class Driver(Protocol):
    """A hypervisor.

    Every method raises ``HypervisorUnavailable`` when the hypervisor does not answer.
    """

    def nodes(self) -> tuple[NodeReport, ...]:
        """Return the compute nodes with what they have and what is used."""

    def prepare_networks(self, instance: Instance) -> None:
        """Make ready what the guest is plugged into.

        Raises:
            BuildFailed: it cannot be made on this host.
        """

    def prepare_disks(self, instance: Instance) -> None:
        """Make the guest's disks; runs beside ``prepare_networks``.

        Raises:
            BuildFailed: they cannot be made on this host.
            BuildAborted: they cannot be made anywhere (a broken image).
        """

    def spawn(self, instance: Instance) -> None:
        """Define and start the guest; it runs when this returns.

        Raises:
            BuildFailed: it does not start.
        """

    def destroy(self, uuid: InstanceUuid) -> None:
        """Remove the guest and all that belongs to it. What is not there is no error."""

    def stop(self, uuid: InstanceUuid, clean_seconds: float) -> None:
        """Ask the guest to shut down; force it after ``clean_seconds``.

        Raises:
            NotFound: there is no such guest.
        """

    def start(self, uuid: InstanceUuid) -> None:
        """Start a guest that is shut down; one that runs stays as it is.

        Raises:
            NotFound: there is no such guest.
        """

    def reboot(self, instance: Instance, *, hard: bool) -> None:
        """Restart the guest; ``hard`` defines it anew and cuts its power.

        Raises:
            NotFound: there is no such guest.
        """

    def console_output(self, uuid: InstanceUuid, lines: int | None) -> str:
        """Return the last lines of the serial console (all for None), oldest first.

        Raises:
            NotFound: there is no such guest.
        """

    def guests(self) -> Mapping[InstanceUuid, PowerState]:
        """Return every guest of ours with its power state, in one bulk read."""

    def watch(self, changed: Changed) -> None:
        """Call ``changed`` whenever a guest's power state changes."""

    def close(self) -> None:
        """Let go of the hypervisor. Guests live on."""
