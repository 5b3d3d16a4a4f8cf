"""What the compute service knows of a hypervisor. Every call blocks and is made from a worker thread."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

import msgspec

from kilonova.compute.attaching import Attaching
from kilonova.compute.moving import Moving
from kilonova.compute.sharing import Sharing
from kilonova.core.console import ConsoleAddress
from kilonova.core.diagnostics import Diagnostics
from kilonova.core.host import NodeReport
from kilonova.core.ids import InstanceUuid
from kilonova.core.image import Image
from kilonova.core.instance import Instance, Nic
from kilonova.core.states import PowerState
from kilonova.core.tagged_devices import Placed


class Guest(msgspec.Struct, frozen=True):
    """What a host has of a server.

    ``power`` is NOSTATE where only files are left. ``epoch`` is the build that made it, 0 where that is
    not known. ``nics`` are its network cards.
    """

    power: PowerState
    epoch: int
    nics: tuple[Nic, ...] = ()


class DiskCopy(msgspec.Struct, frozen=True):
    """The bytes of a copied disk, in an image format such as qcow2."""

    data: BinaryIO
    disk_format: str


class Watcher(Protocol):
    """Is told what guests do, from a thread that it must not keep: it only takes note."""

    def power_changed(self, uuid: InstanceUuid, power: PowerState) -> None:
        """A guest's power state changed, by itself or because it was told to."""

    def changes_missed(self) -> None:
        """Guests may have changed while nobody watched."""


class Driver(Moving, Attaching, Sharing, Protocol):
    """A hypervisor.

    Every method but ``watch`` and ``close`` raises ``HypervisorUnavailable`` when the hypervisor does not
    answer, and ``BuildFailed`` when it refuses. An error's message is fit for tenants; what the
    hypervisor said stands in its cause.
    """

    def nodes(self) -> tuple[NodeReport, ...]:
        """Return the compute nodes with what they have and what is used."""

    def prepare_networks(self, instance: Instance) -> tuple[Nic, ...]:
        """Make ready what the guest is plugged into, and return its network cards: those that it has
        already, where they are ports of a network service.

        Raises:
            BuildFailed: it cannot be made on this host.
            BuildAborted: it cannot be made anywhere.
        """

    def prepare_disks(self, instance: Instance) -> None:
        """Make the guest's disks; runs beside ``prepare_networks``. May be repeated after an error.

        Raises:
            BuildFailed: they cannot be made on this host.
            BuildAborted: they cannot be made anywhere (a broken image).
            ImageStoreUnavailable: the image cannot be fetched now.
        """

    def spawn(self, instance: Instance, until: Callable[[], None] | None = None) -> None:
        """Define and start the guest; it runs when this returns. ``destroy`` removes what an error left.

        It is there, and stands still, while ``until`` is called, whose errors are passed on.

        Raises:
            BuildFailed: it does not start, or there is such a guest already.
            HypervisorUnavailable: and whether it runs is not known.
        """

    def destroy(self, uuid: InstanceUuid) -> None:
        """Remove the guest and all that belongs to it. What is not there is no error."""

    def attach_interface(self, instance: Instance, nic: Nic) -> None:
        """Give the guest a further card, for good. One that it has is no error.

        Raises:
            NotFound: there is no such guest.
            BuildFailed: it cannot be plugged in on this host.
        """

    def detach_interface(self, uuid: InstanceUuid, port_id: str) -> None:
        """Take a card away from the guest, for good. One that it has not is no error.

        Raises:
            NotFound: there is no such guest.
            BuildFailed: the guest does not let go of it.
        """

    def stop(self, uuid: InstanceUuid, clean_seconds: float, hurry: Callable[[], bool]) -> None:
        """Ask the guest to shut down; force it after ``clean_seconds``, or as soon as ``hurry()``.

        Raises:
            NotFound: there is no such guest.
        """

    def start(self, uuid: InstanceUuid) -> None:
        """Start a guest that is shut down; one that runs stays as it is.

        Raises:
            NotFound: there is no such guest.
        """

    def reboot(self, instance: Instance) -> None:
        """Cut the guest's power, define it anew and start it, in whatever state it was.

        Raises:
            NotFound: there is no such guest, and nothing to make it from.
        """

    def pause(self, uuid: InstanceUuid) -> None:
        """Let the guest stand still. One that does is no error.

        Raises:
            NotFound: there is no such guest.
        """

    def unpause(self, uuid: InstanceUuid) -> None:
        """Let a paused guest go on. One that runs is no error.

        Raises:
            NotFound: there is no such guest.
        """

    def suspend(self, uuid: InstanceUuid) -> None:
        """Write the guest's memory to disk and end it; its power is SUSPENDED then. May be repeated.

        Raises:
            NotFound: there is no such guest.
        """

    def resume(self, uuid: InstanceUuid) -> None:
        """Let a suspended guest go on where it was. One that runs is no error.

        Raises:
            NotFound: there is no such guest.
        """

    def fetch_image(self, instance: Instance) -> None:
        """Have the server's image here, and know that it is good and fits.

        Raises:
            BuildAborted: the image is broken, or does not fit.
            ImageStoreUnavailable: it cannot be fetched now.
        """

    def cache_image(self, image: Image) -> None:
        """Have an image here that no server needs yet, and know that it is good.

        Raises:
            BuildAborted: it is broken, or of a kind that is not run.
            ImageStoreUnavailable: it cannot be fetched now.
        """

    def rescue(self, instance: Instance, image: Image) -> None:
        """Start the guest from an image, its own disk beside it, in whatever state it was.

        Raises:
            BuildAborted, ImageStoreUnavailable: the image cannot be had; the guest is as it was.
            NotFound: there is no such guest.
        """

    def unrescue(self, instance: Instance) -> None:
        """Start a rescued guest from its own disk; what the rescue wrote elsewhere is gone.

        Raises:
            NotFound: there is no such guest.
        """

    def snapshot(self, instance: Instance) -> AbstractContextManager[DiskCopy]:
        """Copy the guest's disk as it is at one moment; the guest then is as it was.

        Raises:
            NotFound: there is no such guest.
        """

    def set_password(self, instance: Instance, password: str) -> None:
        """Set the password of the administrator inside the guest.

        Raises:
            NotFound: there is no such guest.
            BuildFailed: it does not run, or nothing in it listens.
        """

    def crash_dump(self, uuid: InstanceUuid) -> None:
        """Interrupt the guest's kernel (NMI).

        Raises:
            NotFound: there is no such guest.
        """

    def diagnostics(self, uuid: InstanceUuid) -> Diagnostics:
        """Measure a guest.

        Raises:
            NotFound: there is no such guest.
        """

    def samples(self) -> Mapping[InstanceUuid, Diagnostics]:
        """Measure every guest of ours, whatever its state, in one bulk read."""

    def console(self, uuid: InstanceUuid, kind: str) -> ConsoleAddress:
        """Return where a guest's console of a type (``core.console``) is.

        Raises:
            NotFound: there is no such guest.
            Invalid: guests here have no such console.
            WrongState: the guest does not run.
        """

    def console_output(self, uuid: InstanceUuid, lines: int | None) -> str:
        """Return the last lines of the serial console (None: all that is kept), oldest first.

        Raises:
            NotFound: there is no such guest.
        """

    def devices(self, uuid: InstanceUuid) -> tuple[Placed, ...]:
        """Return where a guest's cards and disks are, of those that have a place in its machine.

        Raises:
            NotFound: there is no such guest.
        """

    def guests(self) -> Mapping[InstanceUuid, Guest]:
        """Return every guest of ours, in one bulk read."""

    def watch(self, watcher: Watcher) -> None:
        """Tell ``watcher`` of changes from now on. Never fails: it begins when the hypervisor answers."""

    def close(self) -> None:
        """Let go of the hypervisor. Guests live on."""
