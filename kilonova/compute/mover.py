"""A host's part of servers' moves: begin, do, report. Which part that is, the migration's stage says.

Nothing is done before the cell has taken the word that it begins: what comes late, or twice, does nothing.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

import msgspec

from kilonova.compute.acts import CLEAN_SECONDS
from kilonova.compute.collaborators import Collaborators
from kilonova.compute.guests import Turns
from kilonova.compute.in_hand import InHand
from kilonova.compute.move_events import event_of
from kilonova.compute.move_part import Part
from kilonova.compute.reporter import Reporter
from kilonova.compute.stages import Stages
from kilonova.core.block_devices import boots_from_volume
from kilonova.core.context import RequestContext, service_context
from kilonova.core.errors import (
    BuildFailed,
    HypervisorUnavailable,
    KilonovaError,
    MoveCancelled,
)
from kilonova.core.ids import HostName
from kilonova.core.instance import Instance
from kilonova.core.migration import (
    Kind,
    Migration,
    Moved,
    Stage,
)
from kilonova.core.report import InstanceReport
from kilonova.core.states import PowerState, VmState
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
        self._driver, self._images = collaborators.driver, collaborators.images
        self._volumes, self._wiring = collaborators.volumes, collaborators.wiring
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
                self._remove_image(migration)
            cancelled = isinstance(error, MoveCancelled)
            report = part.said(Moved.CANCELLED if cancelled else Moved.FAILED, error=error)
        report = self._with_power(part, report, stages)
        if migration.kind is not Kind.UNSHELVE or error is not None:
            self._reporter.send(report)
        elif self._reporter.ask(report, self._stopped):
            self._remove_image(migration)

    def _with_power(self, part: Part, report: InstanceReport, stages: Stages) -> InstanceReport:
        """Add how the guest is now, where it is this host's server."""
        report = msgspec.structs.replace(report, events=tuple(stages.events))
        if part.migration.stage not in (Stage.FINISHING, Stage.RESTORING):
            return report
        try:
            guest = self._driver.guests().get(part.instance.uuid)
        except KilonovaError:
            return report
        power = guest.power if guest is not None else PowerState.NOSTATE
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
                self._driver.destroy(part.instance.uuid)
            except KilonovaError as error:
                LOG.warning("What came of %s stays: %s", part.instance.uuid, error.in_full)
                if not runs:
                    self._disown(part)
                    return True
            else:
                self._disown(part)
                if part.instance.volumes:
                    self._volumes.try_to_let_go(part.instance, part.request_id)
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
                self._work(part)
            except HypervisorUnavailable:
                if not alone or time.monotonic() > ends or self._stopped.wait(_PAUSE):
                    raise
            else:
                return

    def _work(self, part: Part) -> None:
        work: dict[Stage, Callable[[Part], None]] = {
            Stage.PREPARING: self._prepare,
            Stage.SENDING: self._send,
            Stage.FINISHING: self._finish,
            Stage.CLEARING: self._clear,
            Stage.UNDOING: self._remove,
            Stage.RESTORING: self._restore,
            Stage.ABANDONING: self._remove,
        }
        work[part.migration.stage](part)

    def _prepare(self, part: Part) -> None:
        # A guest that comes while it runs has its ports and volumes here before it comes.
        instance = part.instance
        if part.migration.is_live:
            nics = self._wiring.reserve(instance)
            instance = msgspec.structs.replace(self._connected(part), nics=nics)
        part.berth = self._driver.prepare_move(instance, part.migration)

    def _connected(self, part: Part) -> Instance:
        return self._volumes.connect(part.instance, part.request_id, lambda: part.aborted)

    def _send(self, part: Part) -> None:
        instance, migration = part.instance, part.migration
        if migration.is_live:
            part.moved = self._driver.live_migrate(self._connected(part), migration, part)
            return
        if migration.vm_state is not VmState.STOPPED:
            # Whatever else it was: what stands still, or is saved, has nothing to wait for.
            self._driver.stop(instance.uuid, CLEAN_SECONDS, lambda: part.aborted)
        if migration.kind is Kind.SHELVE:
            if not boots_from_volume(instance.wishes):
                self._save(part)
        else:
            self._driver.send(instance, migration)

    def _save(self, part: Part) -> None:
        """Make of a guest the image that it is shelved as. Done before, it stays done."""
        image = part.migration.image
        if image is None:
            raise BuildFailed("There is no image to shelve the server as.")
        if self._images.get(service_context(), image.image_id).status == "active":
            return
        with self._driver.snapshot(part.instance) as copy:
            if part.aborted:
                raise BuildFailed("The server was deleted while it was being shelved.")
            self._images.upload(image.image_id, copy.data, copy.disk_format)

    def _disown(self, part: Part) -> None:
        """Let go of the ports of a server that does not come, and has them elsewhere, or nowhere."""
        uuid = part.instance.uuid
        try:
            if part.migration.is_live:
                self._wiring.drop(uuid)
            elif part.migration.builds:
                # What is evacuated in vain is its old host's; a shelved server has none.
                self._wiring.unbind(uuid, back_to=part.migration.source_host)
        except KilonovaError as error:
            LOG.warning("Ports of %s stay bound to this host: %s", uuid, error.in_full)

    def _remove_image(self, migration: Migration) -> None:
        """Remove the image of a server that is not shelved, or not any more."""
        if migration.image is None:
            return
        try:
            self._images.delete(migration.image.image_id)
        except KilonovaError as error:
            LOG.warning("Image %s is left: %s", migration.image.image_id, error.in_full)

    def _finish(self, part: Part) -> None:
        instance, migration = part.instance, part.migration
        if migration.builds:
            self._rebuild(part)
            return
        part.nics = nics = self._wiring.bring(instance, live=migration.is_live)
        instance = self._connected(part)
        if migration.is_live:
            self._driver.arrive(instance, migration)
        else:
            with self._wiring.plugging(instance, nics) as until:
                self._driver.receive(instance, migration, power_on=migration.power_on, until=until)
        self._volumes.complete(instance)

    def _rebuild(self, part: Part) -> None:
        """Make the guest of a server of an image, as there is nothing else."""
        instance = part.instance
        self._driver.destroy(instance.uuid)
        part.nics = nics = self._wiring.bring(instance)
        if part.migration.kind is Kind.EVACUATION:
            self._driver.recover_disks(instance)
        else:
            self._driver.prepare_disks(instance)
        instance = self._connected(part)
        with self._wiring.plugging(instance, nics) as until_plugged:
            self._driver.spawn(instance, until_plugged)
        self._volumes.complete(instance)
        if not part.migration.power_on:
            self._driver.stop(instance.uuid, 0, lambda: True)

    def _clear(self, part: Part) -> None:
        if part.migration.stays:
            self._driver.forget(part.instance.uuid)
            return
        self._driver.destroy(part.instance.uuid)
        # A server that is shelved has no host, and keeps its ports and volumes.
        shelved = part.migration.kind is Kind.SHELVE
        if shelved:
            self._wiring.unbind(part.instance.uuid)
        elif part.migration.is_live:
            self._wiring.drop(part.instance.uuid)
        self._volumes.let_go(part.instance, part.request_id, keep=shelved)

    def _remove(self, part: Part) -> None:
        # Of a guest that stayed, restoring makes what it was.
        if not part.migration.stays:
            self._driver.destroy(part.instance.uuid)
            self._volumes.let_go(part.instance, part.request_id)
        if part.migration.is_live:
            self._wiring.drop(part.instance.uuid)

    def _restore(self, part: Part) -> None:
        instance, migration = part.instance, part.migration
        if migration.is_live:
            # It never stopped.
            return
        part.nics = nics = self._wiring.bring(instance)
        instance = self._connected(part)
        with self._wiring.plugging(instance, nics) as until_plugged:
            until = partial(_or_go_on, instance, until_plugged) if until_plugged else None
            self._driver.restore(instance, migration, power_on=migration.power_on, until=until)
        self._volumes.complete(instance)


def _or_go_on(instance: Instance, until_plugged: Callable[[], None]) -> None:
    """Wait for a server's cards where it ran before: it has nowhere else to go."""
    try:
        until_plugged()
    except BuildFailed as error:
        LOG.warning("%s runs all the same: %s", instance.uuid, error.in_full)
