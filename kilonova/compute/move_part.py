"""One host's part of one move while it is in hand, and what there is to say of it."""

import time
from collections.abc import Callable

import msgspec
from msgspec import UNSET, UnsetType

from kilonova.compute.reporter import Reporter
from kilonova.core.context import RequestContext
from kilonova.core.errors import KilonovaError, MemoryLost
from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Nic
from kilonova.core.migration import (
    Berth,
    Moved,
    MoveReport,
    Progress,
    Stage,
)
from kilonova.core.report import InstanceReport
from kilonova.rpc.messages import MoveInstance

_TOLD_EVERY = 0.5
"""Seconds between two words of how far a running guest has come."""


class Part:
    """One host's part of one move, in hand. It is the ``Voyage`` of a running guest, too."""

    def __init__(
        self,
        request: RequestContext,
        message: MoveInstance,
        reporter: Reporter,
        is_going: Callable[[InstanceUuid], bool],
    ) -> None:
        self.migration = message.migration
        self.instance = message.instance
        self.request_id = request.request_id
        self.forced = self.migration.wish == "force"
        self._unwanted = False
        self._is_going = is_going
        self._reporter = reporter
        self._told_at = time.monotonic() - _TOLD_EVERY
        self.nics: tuple[Nic, ...] | UnsetType = UNSET
        """What the guest is plugged into here, once that is known."""
        self.berth: Berth | None = None
        """What is ready for the guest here, once it is."""
        self.moved: Progress | None = None
        """What a guest that moved while it ran consisted of."""
        self._plain = InstanceReport(
            instance_uuid=self.instance.uuid,
            epoch=self.instance.epoch,
            request_id=request.request_id,
        )

    @property
    def key(self) -> tuple[str, Stage, int]:
        """What a repeated message has in common with the first."""
        return self.migration.uuid, self.migration.stage, self.migration.attempt

    @property
    def aborted(self) -> bool:
        """See ``Voyage``."""
        return self._unwanted or self._is_going(self.instance.uuid)

    def abort(self) -> None:
        """Note that it is wanted no more."""
        self._unwanted = True

    def said(
        self, moved: Moved, *, error: KilonovaError | None = None, how_far: Progress | None = None
    ) -> InstanceReport:
        """Return what there is to say."""
        migration = self.migration
        move = MoveReport(
            migration=migration.uuid,
            stage=migration.stage,
            attempt=migration.attempt,
            moved=moved,
            reason=error.message if error else "",
            details=f"{type(error).__name__}: {error.in_full}" if error else "",
            progress=how_far,
            berth=self.berth,
            left=isinstance(error, MemoryLost),
        )
        return msgspec.structs.replace(self._plain, move=move)

    def goes_on(self, how_far: Progress | None = None) -> None:
        """Say that it is in hand. If the cell wants it no more, it is aborted."""
        answer = self._reporter.send(self.said(Moved.GOES_ON, how_far=how_far))

        def heed() -> None:
            if not answer.cancelled() and not answer.result():
                self.abort()

        answer.add_done_callback(lambda _: heed())

    def progress(self, how_far: Progress) -> None:
        """See ``Voyage``."""
        if time.monotonic() - self._told_at >= _TOLD_EVERY:
            self._told_at = time.monotonic()
            self.goes_on(how_far)
