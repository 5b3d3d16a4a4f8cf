"""What a host does when it starts, before anything else: compare what it should have with what it has.

A guest belongs to a server only if the build that made it is the one that counts: a guest of an earlier
epoch is removed, wherever the server is now, so that a server runs at most once.
"""

import logging
from collections.abc import Mapping
from enum import Enum, auto

from kilonova.compute import image_acts
from kilonova.compute.builder import built
from kilonova.compute.driver import Driver, Guest
from kilonova.compute.handlers import ComputeHandlers
from kilonova.compute.reporter import Reporter, Told
from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext, service_context
from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Fault, Instance
from kilonova.core.report import BuildFailure, InstanceReport
from kilonova.core.states import BREAKS, FOLLOWS_POWER, PowerState, TaskState, VmState, state_of
from kilonova.http.images import ImageStore
from kilonova.rpc.messages import HostInstances

LOG = logging.getLogger(__name__)

_BUILDING = (TaskState.NETWORKING, TaskState.BLOCK_DEVICE_MAPPING, TaskState.SPAWNING)


class Step(Enum):
    """What to do about one server, or about one guest without a server."""

    AWAIT_BUILD = auto()
    """Its build was sent and not begun: nothing of it may be here yet."""
    FINISH_BUILD = auto()
    """Its build was done, but for the report."""
    END_BUILD = auto()
    """Its build was interrupted: remove what there is of it, and say so."""
    DELETE = auto()
    """It was being deleted: go on."""
    AWAIT_TASK = auto()
    """Its task was not begun: the order may still come, and who waits for it too long is told."""
    END_TASK = auto()
    """Its task was interrupted: say so, and what the guest is now."""
    COMPARE = auto()
    """Nothing was under way that is still to be done: the guest is as it is."""
    REPLACE = auto()
    """The guest is an earlier build's: remove it; the server has none."""
    LEAVE = auto()
    """The cell knows nothing of it: it is not ours to touch."""
    REMOVE = auto()
    """Its server is deleted, or elsewhere."""
    STAND_STILL = auto()
    """Its server is being made elsewhere, of which nobody knows yet whether it can be."""


def step_for(instance: Instance, guest: Guest | None) -> Step:
    """Return what to do about a server of this host, whose guest is this or None."""
    task = instance.task_state
    if task == TaskState.DELETING:
        return Step.DELETE
    if task == TaskState.SCHEDULING:
        return Step.AWAIT_BUILD
    if task in _BUILDING:
        mine = guest is not None and guest.epoch == instance.epoch
        done = guest is not None and mine and guest.power == PowerState.RUNNING
        return Step.FINISH_BUILD if done else Step.END_BUILD
    if guest is not None and 0 < guest.epoch < instance.begun_epoch:
        return Step.REPLACE
    if task is not None and instance.task_request is not None:
        return Step.END_TASK if instance.task_worker else Step.AWAIT_TASK
    return Step.COMPARE


def step_for_stranger(uuid: InstanceUuid, expected: HostInstances) -> Step:
    """Return what to do about a guest whose server is not among this host's."""
    if uuid in expected.kept:
        return Step.STAND_STILL
    return Step.REMOVE if uuid in expected.disowned else Step.LEAVE


def _settled(state: VmState, power: PowerState) -> VmState:
    """Return what a server is whose guest's power is this and with which nothing is under way."""
    return state_of(power) if state in FOLLOWS_POWER or state == VmState.BUILDING else state


class Adoption:
    """Takes over the guests that this host finds, and settles what its last run left undone."""

    def __init__(
        self, driver: Driver, images: ImageStore, reporter: Reporter, handlers: ComputeHandlers
    ) -> None:
        self._driver = driver
        self._images = images
        self._reporter = reporter
        self._handlers = handlers
        self.is_undecided = False
        """Whether there were guests, at the last look, that are kept until their servers are elsewhere."""

    def adopt(self, guests: Mapping[InstanceUuid, Guest], expected: HostInstances) -> None:
        """Make of ``guests`` what the cell says they should be, and report where it is wrong.

        Raises:
            HypervisorUnavailable: the hypervisor does not answer. It may be done again from the start.
        """
        context = service_context()
        self.is_undecided = bool(expected.kept)
        moving = frozenset(expected.moving)
        self._handlers.shares.adopt(expected.instances, guests)
        for instance in expected.instances:
            if instance.uuid in moving and instance.task_state != TaskState.DELETING:
                LOG.info("%s is on the move, which goes on", instance.uuid)
                continue
            self._take(context, instance, guests.get(instance.uuid))
        known = {instance.uuid for instance in expected.instances}
        for stranger in sorted(set(guests) - known - moving):
            step = step_for_stranger(stranger, expected)
            if step is not Step.LEAVE:
                self._put_away(stranger, guests[stranger], step)
            else:
                LOG.warning("Guest %s is no server of this cell; it is left alone", stranger)
        LOG.info("Adopted %d guests of %d servers", len(known & set(guests)), len(known))

    def look_again(
        self, guests: Mapping[InstanceUuid, Guest], expected: HostInstances
    ) -> dict[InstanceUuid, PowerState]:
        """Remove guests whose servers were deleted, or moved away, while this host did not hear of it.

        What is under way here is left alone: only a guest that is still the one of ``guests`` is removed.
        Returns the power of those guests of which the cell believes something else.

        Raises:
            HypervisorUnavailable: the hypervisor does not answer. The rest is for the next look.
        """
        self.is_undecided = bool(expected.kept)
        for uuid in sorted(frozenset(expected.disowned) & guests.keys()):
            with self._handlers.turns.turn_if_free(uuid) as free:
                now = self._driver.guests().get(uuid) if free and guests[uuid].epoch else None
                if now is not None and now.epoch == guests[uuid].epoch:
                    self._put_away(uuid, now, step_for_stranger(uuid, expected))
        differing = {}
        for instance in expected.instances:
            if instance.uuid in expected.moving:
                continue
            if instance.task_state in _BUILDING:
                self._end_if_nobody_builds(instance)
            guest = guests.get(instance.uuid)
            power = guest.power if guest else PowerState.NOSTATE
            if instance.task_state is None and instance.power_state != power:
                self._reporter.believes(instance.uuid, Told(instance.epoch, instance.power_state))
                differing[instance.uuid] = power
        return differing

    def _put_away(self, uuid: InstanceUuid, guest: Guest, step: Step) -> None:
        """See to it that a guest whose server is elsewhere does not run."""
        if step is Step.REMOVE:
            LOG.warning("Guest %s is deleted or elsewhere; it is removed", uuid)
            self._driver.destroy(uuid)
            self._handlers.shares.forget(uuid)
        elif guest.power in (PowerState.RUNNING, PowerState.PAUSED):
            LOG.warning("Guest %s is being evacuated; it is stopped", uuid)
            self._driver.stop(uuid, 0, lambda: True)

    def _end_if_nobody_builds(self, instance: Instance) -> None:
        with self._handlers.turns.turn_if_free(instance.uuid) as free:
            if free and instance.uuid not in self._driver.guests():
                LOG.warning("%s is built by nobody", instance.uuid)
                self._end_build(service_context(), instance)

    def _take(self, context: RequestContext, instance: Instance, guest: Guest | None) -> None:
        step = step_for(instance, guest)
        if step is Step.DELETE:
            self._handlers.delete(context, instance)
        elif step is Step.AWAIT_BUILD:
            if guest is not None:
                self._remove_earlier(instance, guest)
        elif step is Step.END_BUILD:
            self._end_build(context, instance)
        elif step is Step.FINISH_BUILD:
            LOG.info("%s was built before the host was restarted", instance.uuid)
            nics = guest.nics if guest else ()
            self._reporter.send(built(instance, context.request_id, nics))
        elif step is Step.REPLACE and guest is not None:
            self._remove_earlier(instance, guest)
            self._compare(context, instance, PowerState.NOSTATE)
        elif step is Step.AWAIT_TASK:
            power = guest.power if guest else PowerState.NOSTATE
            self._reporter.believes(instance.uuid, Told(instance.epoch, power))
        elif step is Step.END_TASK:
            self._end_task(instance, guest.power if guest else PowerState.NOSTATE)
        else:
            self._compare(context, instance, guest.power if guest else PowerState.NOSTATE)

    def _remove_earlier(self, instance: Instance, guest: Guest) -> None:
        LOG.warning(
            "Guest %s is of build %d and its server of build %d; it is removed",
            *(instance.uuid, guest.epoch, instance.epoch),
        )
        self._driver.destroy(instance.uuid)

    def _end_build(self, context: RequestContext, instance: Instance) -> None:
        self._driver.destroy(instance.uuid)
        self._handlers.wiring.release(instance.uuid)
        if instance.volumes:
            self._handlers.volumes.try_to_let_go(instance, context.request_id)
        failure = BuildFailure(reason="the host was restarted during the build", interrupted=True)
        self._reporter.send(
            InstanceReport(
                instance_uuid=instance.uuid,
                epoch=instance.epoch,
                request_id=context.request_id,
                failure=failure,
            )
        )

    def _end_task(self, instance: Instance, power: PowerState) -> None:
        image_acts.abandon(self._images, instance)
        breaks = instance.task_state in BREAKS
        reason = "The host was restarted before it was done."
        self._reporter.send(
            InstanceReport(
                instance_uuid=instance.uuid,
                epoch=instance.epoch,
                request_id=instance.task_request or service_context().request_id,
                worker=instance.task_worker,
                over=True,
                interrupted=reason,
                vm_state=VmState.ERROR if breaks else _settled(instance.vm_state, power),
                task_state=None,
                power_state=power,
                fault=Fault(code=500, message=reason, created_at=utcnow()) if breaks else None,
            )
        )

    def _compare(self, context: RequestContext, instance: Instance, power: PowerState) -> None:
        state = _settled(instance.vm_state, power)
        same = (instance.vm_state, instance.task_state, instance.power_state)
        if same == (state, None, power):
            self._reporter.believes(instance.uuid, Told(instance.epoch, power))
            return
        if power == PowerState.NOSTATE:
            LOG.warning("%s has no guest any more", instance.uuid)
        self._reporter.send(
            InstanceReport(
                instance_uuid=instance.uuid,
                epoch=instance.epoch,
                request_id=context.request_id,
                vm_state=state,
                task_state=None,
                power_state=power,
            )
        )
