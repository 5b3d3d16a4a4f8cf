"""Builds one server on this host: begin, networks beside disks, spawn, report; all of it or nothing."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

from kilonova.compute.collaborators import Collaborators
from kilonova.compute.guests import Turns
from kilonova.compute.reporter import Reporter
from kilonova.compute.stages import Stages
from kilonova.core.block_devices import root_device
from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext
from kilonova.core.errors import BuildAborted, BuildFailed, ImageStoreUnavailable, KilonovaError
from kilonova.core.ids import HostName, InstanceUuid, RequestId
from kilonova.core.instance import BUILD_EVENT, ActionEvent, Instance, Nic
from kilonova.core.report import BuildFailure, InstanceReport
from kilonova.core.states import PowerState, TaskState, VmState
from kilonova.rpc.messages import BuildInstance

LOG = logging.getLogger(__name__)

_PAUSE = 1.0
_LONGEST_PAUSE = 10.0
_IMAGE_SECONDS = 120.0
"""How long a build waits for an image store that does not answer, before another host tries."""

FIRST_EPOCH = 1


def built(
    instance: Instance,
    request_id: RequestId,
    nics: tuple[Nic, ...],
    events: Sequence[ActionEvent] = (),
) -> InstanceReport:
    """Return the report that a server's build is done."""
    return InstanceReport(
        instance_uuid=instance.uuid,
        epoch=instance.epoch,
        request_id=request_id,
        vm_state=VmState.ACTIVE,
        task_state=None,
        power_state=PowerState.RUNNING,
        launched_at=utcnow(),
        root_device_name=root_device(instance),
        nics=nics,
        events=tuple(events),
    )


class Builder:
    """Runs builds.

    Nothing is made before the cell has taken the report that the build begins, and a build that failed is
    reported only once nothing of it runs here: the next host may begin at once.
    """

    def __init__(
        self, host: HostName, collaborators: Collaborators, reporter: Reporter, turns: Turns
    ) -> None:
        self._host = host
        self._driver = collaborators.driver
        self._volumes, self._wiring = collaborators.volumes, collaborators.wiring
        self._reporter = reporter
        self._turns = turns
        self._stopped = threading.Event()
        self._beside = ThreadPoolExecutor(4, thread_name_prefix=f"beside-{host}")
        self.failed_in_a_row = 0
        """Builds that failed here since the last that went well; those that no host can do do not count."""

    def build(self, context: RequestContext, message: BuildInstance) -> None:
        """Build a server, or do nothing if its epoch no longer counts."""
        instance = message.instance
        with self._turns.turn(instance.uuid):
            stages = Stages(self._host)
            whole = stages.begin(BUILD_EVENT)
            made: tuple[Nic, ...] | KilonovaError
            try:
                if not self._begins(context, instance, whole):
                    return
                made = self._attempt(context, instance, stages)
            except BuildFailed as unfit:
                LOG.info("%s must not be built here: %s", instance.uuid, unfit)
                made = unfit
            except _Abandoned:
                LOG.warning("%s is left to the next start of this host", instance.uuid)
                return
            self._count(made if isinstance(made, KilonovaError) else None)
            if isinstance(made, KilonovaError):
                stages.finish(whole, made)
                self._report_failure(context, message, stages, made)
            else:
                stages.finish(whole)
                self._report_success(context, instance, stages, made)

    def _count(self, error: KilonovaError | None) -> None:
        if error is None:
            self.failed_in_a_row = 0
        elif not isinstance(error, BuildAborted):
            self.failed_in_a_row += 1

    def _begins(self, context: RequestContext, instance: Instance, event: ActionEvent) -> bool:
        """Tell the cell that the build begins; False if it must not.

        Raises:
            BuildFailed: it must not begin on this host, but may on another.
        """
        report = InstanceReport(
            instance_uuid=instance.uuid,
            epoch=instance.epoch,
            request_id=context.request_id,
            builder=str(uuid.uuid4()),
            task_state=TaskState.SPAWNING,
            group=instance.wishes.group,
            events=(event,),
        )
        # Refused, too, if the service ends and the cell does not know of it: then the build is sent again.
        taken = self._reporter.ask(report, self._stopped)
        if not taken:
            LOG.info("%s: epoch %d no longer counts", instance.uuid, instance.epoch)
        return taken

    def _attempt(
        self, context: RequestContext, instance: Instance, stages: Stages
    ) -> tuple[Nic, ...] | KilonovaError:
        """Make the guest and return its network cards, or return why there is none.

        Raises:
            _Abandoned: the service ended before that was sure; nothing may be reported.
        """
        try:
            return self._make(context, instance, stages)
        except KilonovaError as error:
            LOG.warning("%s could not be built: %s", instance.uuid, error.in_full)
            return error
        except _Abandoned:
            raise
        except Exception as error:
            LOG.exception("%s could not be built", instance.uuid)
            return BuildFailed.unexpected(error)

    def _make(self, context: RequestContext, instance: Instance, stages: Stages) -> tuple[Nic, ...]:
        """Make the guest and return its network cards.

        After an error nothing of it runs, and nothing is left if that can be had.
        """
        with ExitStack() as undo:
            if instance.epoch > FIRST_EPOCH:
                # An earlier build of it may have been here, and its guest is nobody's any more.
                self._driver.destroy(instance.uuid)
            if instance.volumes:
                # After the guest that had them is gone.
                undo.callback(self._volumes.try_to_let_go, instance, context.request_id)
            # Last of all: a port is let go of when no guest has it.
            undo.callback(self._let_go, instance.uuid)
            undo.callback(self._remove, instance.uuid)
            nics, whole = self._prepare(context, instance, stages)
            self._end_if_going(instance)
            undo.callback(self._insist, instance.uuid, self._driver.destroy)
            with (
                stages.stage("compute_spawn"),
                self._wiring.plugging(instance, nics) as until_plugged,
            ):
                self._driver.spawn(whole, until_plugged)
                self._volumes.complete(whole)
            self._end_if_going(instance)
            undo.pop_all()
        LOG.info("%s runs", instance.uuid)
        return nics

    def _prepare(
        self, context: RequestContext, instance: Instance, stages: Stages
    ) -> tuple[tuple[Nic, ...], Instance]:
        """Prepare networks beside disks; in turn where there is no network, and nothing to wait for.

        Returns the network cards, and the server with its volumes as this host has them.
        """
        if instance.wishes.networks == "none":
            nics = self._prepare_networks(instance, stages)
            return nics, self._prepare_disks(context, instance, stages)
        plugged = self._beside.submit(self._prepare_networks, instance, stages)
        try:
            whole = self._prepare_disks(context, instance, stages)
        finally:
            plugged.exception()
        return plugged.result(), whole

    def _prepare_networks(self, instance: Instance, stages: Stages) -> tuple[Nic, ...]:
        with stages.stage("compute_networks"):
            return self._wiring.plug(instance)

    def _prepare_disks(
        self, context: RequestContext, instance: Instance, stages: Stages
    ) -> Instance:
        with stages.stage("compute_block_devices"):
            self._await_disks(instance)
            uuid_ = instance.uuid
            return self._volumes.connect(
                instance, context.request_id, lambda: self._turns.is_going(uuid_)
            )

    def _await_disks(self, instance: Instance) -> None:
        """Make the disks; an image store that is away may come back."""
        deadline = time.monotonic() + _IMAGE_SECONDS
        pause = _PAUSE
        while True:
            try:
                self._driver.prepare_disks(instance)
                return
            except ImageStoreUnavailable as error:
                if time.monotonic() + pause > deadline or self._stopped.is_set():
                    raise
                LOG.warning("%s waits for its image: %s", instance.uuid, error.in_full)
            self._stopped.wait(pause)
            self._end_if_going(instance)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _end_if_going(self, instance: Instance) -> None:
        if self._turns.is_going(instance.uuid):
            raise BuildAborted("The server was deleted while it was being built.")

    def _remove(self, uuid: InstanceUuid) -> None:
        """Remove what was prepared. What cannot be removed now is when this host starts the next time."""
        try:
            self._driver.destroy(uuid)
        except KilonovaError as error:
            LOG.warning("Files of %s are left: %s", uuid, error.in_full)

    def _let_go(self, uuid: InstanceUuid) -> None:
        """Let go of the network cards. What is left then is taken up by the next build, or goes with the
        server."""
        try:
            self._wiring.release(uuid)
        except KilonovaError as error:
            LOG.warning("Network cards of %s are left: %s", uuid, error.in_full)

    def _insist(self, uuid: InstanceUuid, remove: Callable[[InstanceUuid], None]) -> None:
        """Remove what may run, however long that takes: before, nobody may hear that it does not run."""
        pause = _PAUSE
        while True:
            try:
                remove(uuid)
                return
            except KilonovaError as error:
                LOG.warning("Guest %s must be removed: %s", uuid, error.in_full)
            if self._stopped.wait(pause):
                raise _Abandoned(uuid)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _report_success(
        self, context: RequestContext, instance: Instance, stages: Stages, nics: tuple[Nic, ...]
    ) -> None:
        def taken(answer: "Future[bool]") -> None:
            if not self._stopped.is_set() and not answer.cancelled() and not answer.result():
                LOG.info("%s: its build was no longer wanted", instance.uuid)
                self._beside.submit(self._remove_unwanted, instance)

        report = built(instance, context.request_id, nics, stages.events)
        self._reporter.send(report).add_done_callback(taken)

    def _remove_unwanted(self, instance: Instance) -> None:
        """Remove a guest whose server is deleted, or given up, or built under a later epoch."""

        def remove(uuid: InstanceUuid) -> None:
            guest = self._driver.guests().get(uuid)
            if guest is not None and guest.epoch <= instance.epoch:
                self._driver.destroy(uuid)

        with self._turns.turn(instance.uuid):
            self._insist(instance.uuid, remove)

    def _report_failure(
        self,
        context: RequestContext,
        message: BuildInstance,
        stages: Stages,
        error: KilonovaError,
    ) -> None:
        failure = BuildFailure(
            reason=error.message,
            details=f"{self._host}: {type(error).__name__}: {error.in_full}",
            retry=not isinstance(error, BuildAborted),
            alternates=message.alternates,
        )
        self._reporter.send(
            InstanceReport(
                instance_uuid=message.instance.uuid,
                epoch=message.instance.epoch,
                request_id=context.request_id,
                failure=failure,
                events=tuple(stages.events),
            )
        )

    def stop(self) -> None:
        """Wait for nothing any more: what is in hand goes on only as far as it can."""
        self._stopped.set()

    def close(self) -> None:
        """End the threads."""
        self._beside.shutdown(wait=False)


class _Abandoned(Exception):
    """The service ends, and a guest that should be removed may run: the next start sees to it."""
