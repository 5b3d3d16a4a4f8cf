"""A host's part of servers' moves: begin, do, report. Which part that is, the migration's stage says.

Nothing is done before the cell has taken the word that it begins: what comes late, or twice, does nothing.
"""

import logging
import threading
import time

import msgspec

from kilonova.compute.collaborators import Collaborators
from kilonova.compute.guests import Turns
from kilonova.compute.in_hand import InHand
from kilonova.compute.move_events import event_of
from kilonova.compute.move_part import Part
from kilonova.compute.move_work import MoveWork
from kilonova.compute.reporter import Reporter
from kilonova.compute.stages import Stages
from kilonova.core.context import RequestContext
from kilonova.core.errors import (
    BuildFailed,
    HypervisorUnavailable,
    KilonovaError,
    MoveCancelled,
)
from kilonova.core.ids import HostName
from kilonova.core.migration import (
    Kind,
    Moved,
    Stage,
)
from kilonova.core.report import InstanceReport
from kilonova.rpc.messages import GuideMove, MoveInstance

LOG = logging.getLogger(__name__)

_GOES_ON = 10.0
"""Seconds between two words that a part is still in hand."""
_PAUSE = 1.0
_PATIENCE = 60.0
"""Seconds for which a hypervisor that does not answer is waited for, where a server has only this host."""


class Mover:
    """Does a host's parts of moves, one at a time for each server."""

    def __init__(
        self,
        host: HostName,
        collaborators: Collaborators,
        reporter: Reporter,
        turns: Turns,
    ) -> None:
        self._host = host
        self._work = MoveWork(collaborators)
        self._reporter = reporter
        self._turns = turns
        self._stopped = threading.Event()
        self._in_hand = InHand[tuple[str, Stage, int], Part](_GOES_ON, Part.goes_on)

    def move(self, context: RequestContext, message: MoveInstance) -> None:
        """Do this host's part of a move, or nothing if it is done, over, or in hand."""
        part = Part(context, message, self._reporter, self._turns.is_going)
        with self._in_hand.hold(part.key, part) as is_first:
            if is_first:
                with self._turns.turn(part.instance.uuid):
                    self._do(part)

    def guide(self, message: GuideMove) -> None:
        """Abort a move in hand, or let it come to an end at any price."""
        for part in self._in_hand.works():
            if part.migration.uuid == message.migration:
                if message.wish == "abort":
                    part.abort()
                else:
                    part.forced = True

    def renew(self) -> None:
        """Say now and then of every part in hand that it is."""
        self._in_hand.renew()

    def stop(self) -> None:
        """Begin nothing any more."""
        self._stopped.set()

    def _do(self, part: Part) -> None:
        migration, uuid = part.migration, part.instance.uuid
        if not self._reporter.ask(part.said(Moved.BEGUN), self._stopped):
            LOG.info("%s: %s of its move is over", uuid, migration.stage)
            return
        stages = Stages(self._host)
        error: KilonovaError | None = None
        try:
            with stages.stage(event_of(migration)):
                self._work_patiently(part)
        except KilonovaError as failure:
            error = failure
        except Exception as failure:
            LOG.exception("%s of %s failed", migration.stage, uuid)
            error = BuildFailed.unexpected(failure)
        if isinstance(error, HypervisorUnavailable) and self._stopped.is_set():
            # Nothing is known of it. Whoever is started next is told again.
            return
        if error is None:
            report = part.said(Moved.DONE, how_far=part.moved)
        else:
            LOG.warning("%s: %s failed: %s", uuid, migration.stage, error.in_full)
            if not self._clean(part):
                return
            if (migration.kind, migration.stage) == (Kind.SHELVE, Stage.SENDING):
                self._work.remove_image(migration)
            cancelled = isinstance(error, MoveCancelled)
            report = part.said(Moved.CANCELLED if cancelled else Moved.FAILED, error=error)
        report = self._with_power(part, report, stages)
        if migration.kind is not Kind.UNSHELVE or error is not None:
            self._reporter.send(report)
        elif self._reporter.ask(report, self._stopped):
            self._work.remove_image(migration)

    def _with_power(self, part: Part, report: InstanceReport, stages: Stages) -> InstanceReport:
        """Add how the guest is now, where it is this host's server."""
        report = msgspec.structs.replace(report, events=tuple(stages.events))
        if part.migration.stage not in (Stage.FINISHING, Stage.RESTORING):
            return report
        try:
            power = self._work.power_of(part)
        except KilonovaError:
            return report
        return msgspec.structs.replace(report, power_state=power, nics=part.nics)

    def _clean(self, part: Part) -> bool:
        """Remove what a failed part left, where another host is told next; False if that is not sure.

        A guest that may run must be gone before anybody hears that it does not.
        """
        migration = part.migration
        runs = migration.builds and migration.stage is Stage.FINISHING
        if migration.stays or not (runs or migration.stage is Stage.PREPARING):
            return True
        while True:
            try:
                self._work.clean(part)
            except KilonovaError as error:
                LOG.warning("What came of %s stays: %s", part.instance.uuid, error.in_full)
                if not runs:
                    self._work.disown(part)
                    return True
            else:
                return True
            if self._stopped.wait(_PAUSE):
                return False

    def _work_patiently(self, part: Part) -> None:
        """Do a part. Where nobody else can, a hypervisor that is restarted is no reason to give up."""
        migration = part.migration
        alone = migration.stage is Stage.RESTORING
        alone |= migration.is_live and migration.stage is Stage.FINISHING
        ends = time.monotonic() + _PATIENCE
        while True:
            try:
                self._work.do(part)
            except HypervisorUnavailable:
                if not alone or time.monotonic() > ends or self._stopped.wait(_PAUSE):
                    raise
            else:
                return
