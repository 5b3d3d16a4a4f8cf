"""What a host does when it starts, before anything else: compare what it should have with what it has."""

import logging
from collections.abc import Mapping

import msgspec

from kilonova.compute.driver import Driver
from kilonova.compute.handlers import ComputeHandlers
from kilonova.compute.reporter import Reporter
from kilonova.core.context import RequestContext, service_context
from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.report import BuildFailure, InstanceReport
from kilonova.core.states import PowerState, TaskState, VmState

LOG = logging.getLogger(__name__)

_STATE_OF = {
    PowerState.RUNNING: VmState.ACTIVE,
    PowerState.PAUSED: VmState.PAUSED,
    PowerState.SHUTDOWN: VmState.STOPPED,
    PowerState.CRASHED: VmState.STOPPED,
}
_BUILDING = (TaskState.NETWORKING, TaskState.BLOCK_DEVICE_MAPPING, TaskState.SPAWNING)


class Adoption:
    """Takes over the guests that this host finds, and settles what its last run left undone."""

    def __init__(self, driver: Driver, reporter: Reporter, handlers: ComputeHandlers) -> None:
        self._driver = driver
        self._reporter = reporter
        self._handlers = handlers

    def adopt(self, expected: tuple[Instance, ...]) -> None:
        """Report every server whose guest is not as the cell believes.

        Raises:
            HypervisorUnavailable: the hypervisor does not answer.
        """
        guests = self._driver.guests()
        context = service_context()
        for instance in expected:
            if instance.task_state in _BUILDING:
                self._interrupted(context, instance)
            elif instance.task_state == TaskState.DELETING:
                self._handlers.delete(context, instance)
            elif instance.task_state != TaskState.SCHEDULING:
                self._compare(context, instance, guests)
        known = {instance.uuid for instance in expected}
        for stranger in sorted(set(guests) - known):
            LOG.warning("Guest %s is no server of this host; it is left alone", stranger)
        LOG.info("Adopted %d guests of %d servers", len(known & set(guests)), len(known))

    def _interrupted(self, context: RequestContext, instance: Instance) -> None:
        self._driver.destroy(instance.uuid)
        failure = BuildFailure(reason="the host was restarted during the build")
        self._reporter.send(
            InstanceReport(
                instance_uuid=instance.uuid,
                epoch=instance.epoch,
                request_id=context.request_id,
                failure=failure,
            )
        )

    def _compare(
        self,
        context: RequestContext,
        instance: Instance,
        guests: Mapping[InstanceUuid, PowerState],
    ) -> None:
        power = guests.get(instance.uuid, PowerState.NOSTATE)
        state = _STATE_OF.get(power, VmState.STOPPED)
        if instance.vm_state == VmState.ERROR:
            state = instance.vm_state
        after = msgspec.structs.replace(
            instance, vm_state=state, power_state=power, task_state=None
        )
        if after == instance:
            return
        if instance.uuid not in guests:
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
