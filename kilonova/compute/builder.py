"""Builds one server on this host: begin, networks beside disks, spawn, report; all of it or nothing."""

import logging
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

from kilonova.compute.driver import Driver
from kilonova.compute.guests import Turns
from kilonova.compute.reporter import Reporter
from kilonova.compute.stages import Stages
from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext
from kilonova.core.errors import BuildAborted, BuildFailed, KilonovaError
from kilonova.core.ids import HostName
from kilonova.core.instance import Instance
from kilonova.core.report import BuildFailure, InstanceReport
from kilonova.core.states import PowerState, TaskState, VmState
from kilonova.rpc.messages import BuildInstance

LOG = logging.getLogger(__name__)

BUILD = "compute__do_build_and_run_instance"


class Builder:
    """Runs builds. Nothing is spawned before the cell has taken the report that the build begins."""

    def __init__(self, host: HostName, driver: Driver, reporter: Reporter, turns: Turns) -> None:
        self._host = host
        self._driver = driver
        self._reporter = reporter
        self._turns = turns
        self._networks = ThreadPoolExecutor(4, thread_name_prefix=f"networks-{host}")

    def build(self, context: RequestContext, message: BuildInstance) -> None:
        """Build a server, or do nothing if its epoch no longer counts."""
        instance = message.instance
        with self._turns.turn(instance.uuid):
            stages = Stages(self._host)
            whole = stages.begin(BUILD)
            begins = InstanceReport(
                instance_uuid=instance.uuid,
                epoch=instance.epoch,
                request_id=context.request_id,
                builder=str(uuid.uuid4()),
                task_state=TaskState.SPAWNING,
                events=(whole,),
            )
            if not self._reporter.send(begins).result():
                LOG.info("%s: epoch %d no longer counts", instance.uuid, instance.epoch)
                return
            try:
                self._make(instance, stages)
            except KilonovaError as error:
                LOG.warning("%s could not be built: %s", instance.uuid, error)
                stages.finish(whole, error)
                self._report_failure(context, message, stages, error)
            except Exception as error:
                LOG.exception("%s could not be built", instance.uuid)
                stages.finish(whole, error)
                failed = BuildFailed(f"unexpected {type(error).__name__} on the host")
                self._report_failure(context, message, stages, failed)
            else:
                stages.finish(whole)
                self._report_success(context, instance, stages)

    def _make(self, instance: Instance, stages: Stages) -> None:
        with ExitStack() as undo:
            undo.callback(self._driver.destroy, instance.uuid)
            plugged = self._networks.submit(self._prepare_networks, instance, stages)
            try:
                with stages.stage("compute_block_devices"):
                    self._driver.prepare_disks(instance)
            finally:
                plugged.exception()
            plugged.result()
            self._stop_if_going(instance)
            with stages.stage("compute_spawn"):
                self._driver.spawn(instance)
            self._stop_if_going(instance)
            undo.pop_all()

    def _prepare_networks(self, instance: Instance, stages: Stages) -> None:
        with stages.stage("compute_networks"):
            self._driver.prepare_networks(instance)

    def _stop_if_going(self, instance: Instance) -> None:
        if self._turns.is_going(instance.uuid):
            raise BuildAborted("The server was deleted while it was being built.")

    def _report_success(self, context: RequestContext, instance: Instance, stages: Stages) -> None:
        report = InstanceReport(
            instance_uuid=instance.uuid,
            epoch=instance.epoch,
            request_id=context.request_id,
            vm_state=VmState.ACTIVE,
            task_state=None,
            power_state=PowerState.RUNNING,
            launched_at=utcnow(),
            root_device_name="/dev/vda",
            events=tuple(stages.events),
        )

        def taken(answer: "Future[bool]") -> None:
            if not answer.result():
                # Deleted, or built elsewhere by now: this guest is nobody's.
                LOG.info("%s: its build was no longer wanted", instance.uuid)
                self._networks.submit(self._driver.destroy, instance.uuid)

        self._reporter.send(report).add_done_callback(taken)

    def _report_failure(
        self,
        context: RequestContext,
        message: BuildInstance,
        stages: Stages,
        error: KilonovaError,
    ) -> None:
        failure = BuildFailure(
            reason=error.message,
            details=f"{self._host}: {type(error).__name__}: {error.message}",
            retry=not isinstance(error, BuildAborted),
            alternates=message.alternates,
        )
        report = InstanceReport(
            instance_uuid=message.instance.uuid,
            epoch=message.instance.epoch,
            request_id=context.request_id,
            failure=failure,
            events=tuple(stages.events),
        )
        self._reporter.send(report)

    def close(self) -> None:
        """End the threads."""
        self._networks.shutdown(wait=False)
