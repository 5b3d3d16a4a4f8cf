"""What a hypervisor does when servers move. Every call may be repeated: a host that was restarted in the
middle of one is told again."""

from collections.abc import Callable
from typing import Protocol

from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.migration import Berth, Migration, Progress

Until = Callable[[], None] | None
"""What waits until a guest that was started may run, None where it may at once."""


class Voyage(Protocol):
    """What a live migration in progress is told, and tells. Never blocks."""

    def progress(self, how_far: Progress) -> None:
        """Say how much of the guest is moved; a few times a second at most."""

    @property
    def aborted(self) -> bool:
        """Whether the guest is to stay where it is."""

    @property
    def forced(self) -> bool:
        """Whether the guest may be paused, so that the rest of it can be moved."""


class Moving(Protocol):
    """The part of ``driver.Driver`` that moves guests between hosts.

    Every method raises ``HypervisorUnavailable`` when the hypervisor does not answer, ``BuildFailed`` when
    it refuses, and ``NotSupported`` where it cannot do such a thing at all. The guest of a server that only
    changes its size stays on its host: then both sides of the move are the same one (``Migration.stays``).
    """

    def prepare_move(self, instance: Instance, migration: Migration) -> Berth | None:
        """At the destination: see that the guest can come, make ready for it, and say where it is awaited.

        ``instance`` is the server as it will be. ``destroy`` removes what this made. The source finds what
        this returns in ``migration``. None says that it needs to know nothing.
        """

    def send(self, instance: Instance, migration: Migration) -> None:
        """At the source: bring what a guest that is shut down consists of to the destination.

        The source keeps all of it, so that ``restore`` can make the guest that it was.
        """

    def receive(
        self, instance: Instance, migration: Migration, *, power_on: bool, until: Until = None
    ) -> None:
        """At the destination: make the guest of what was sent, in its new size, and let it run or not.

        One that is to run stands still before its first instruction as long as ``until`` waits.
        """

    def restore(
        self, instance: Instance, migration: Migration, *, power_on: bool, until: Until = None
    ) -> None:
        """At the source: have the guest as it was, and let it run or not, as ``receive`` does. One that
        runs is left alone.

        Raises:
            NotFound: there is nothing to make it of.
        """

    def recover_disks(self, instance: Instance) -> None:
        """At the destination of an evacuation: have the guest's disks, those of the source where they are
        shared, or new ones.

        Raises:
            BuildFailed, BuildAborted, ImageStoreUnavailable: as ``Driver.prepare_disks``.
        """

    def forget(self, uuid: InstanceUuid) -> None:
        """Remove what was kept of a guest that stayed on its host and changed its size."""

    def live_migrate(self, instance: Instance, migration: Migration, voyage: Voyage) -> Progress:
        """At the source: move a guest to the destination while it runs; it is there when this returns what
        was moved.

        A guest that is here no more was moved before, and is no error.

        Raises:
            MoveCancelled: ``voyage`` wanted it; the guest is here, and runs.
            BuildFailed: the guest is here, and runs.
        """

    def arrive(self, instance: Instance, migration: Migration) -> None:
        """At the destination: take over a guest that came while it ran.

        Raises:
            NotFound: it is not here.
        """
