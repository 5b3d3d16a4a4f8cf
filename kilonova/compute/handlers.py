"""What a compute host does on each message: returns at once, and works in its own threads."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from msgspec import UNSET

from kilonova.compute.builder import Builder
from kilonova.compute.driver import Driver
from kilonova.compute.guests import Turns
from kilonova.compute.reporter import Reporter
from kilonova.compute.stages import Stages
from kilonova.core.context import RequestContext
from kilonova.core.errors import KilonovaError
from kilonova.core.ids import HostName
from kilonova.core.instance import Instance
from kilonova.core.report import InstanceReport
from kilonova.core.states import PowerState, VmState
from kilonova.rpc.messages import (
    BuildInstance,
    ConsoleOutput,
    DeleteInstance,
    GetConsoleOutput,
    RebootInstance,
    StartInstance,
    StopInstance,
)

LOG = logging.getLogger(__name__)

_CLEAN_SECONDS = 60.0
"""What a guest gets to shut down by itself (as Nova's ``shutdown_timeout``)."""


class ComputeHandlers:
    """Handles ``Topic.COMPUTE``. Nothing is done before ``adopted`` is set: see ``adoption``."""

    def __init__(
        self, host: HostName, driver: Driver, reporter: Reporter, *, concurrent_builds: int
    ) -> None:
        self._host = host
        self._driver = driver
        self._reporter = reporter
        self.turns = Turns()
        self.adopted = threading.Event()
        self._builder = Builder(host, driver, reporter, self.turns)
        self._builds = ThreadPoolExecutor(concurrent_builds, thread_name_prefix=f"build-{host}")
        self._actions = ThreadPoolExecutor(8, thread_name_prefix=f"action-{host}")

    def build_instance(self, context: RequestContext, message: BuildInstance) -> None:
        """Build a server."""
        self._submit(self._builds, lambda: self._builder.build(context, message))

    def delete_instance(self, context: RequestContext, message: DeleteInstance) -> None:
        """Remove a server, and report it gone."""
        self._submit(self._actions, lambda: self.delete(context, message.instance))

    def delete(self, context: RequestContext, instance: Instance) -> None:
        """Remove a server now; a build of it that is under way ends first."""
        stages = Stages(self._host)
        with self.turns.going(instance.uuid), self.turns.turn(instance.uuid):
            try:
                with stages.stage("compute_terminate_instance"):
                    self._driver.destroy(instance.uuid)
            except KilonovaError as error:
                LOG.warning("%s could not be removed: %s", instance.uuid, error)
            gone = stages.events[-1].result == "Success"
            self._report(context, instance, stages, gone=gone)

    def stop_instance(self, context: RequestContext, message: StopInstance) -> None:
        """Shut a guest down."""
        uuid = message.instance.uuid
        self._act(
            context,
            message.instance,
            "compute_stop_instance",
            lambda: self._driver.stop(uuid, _CLEAN_SECONDS),
            (VmState.STOPPED, PowerState.SHUTDOWN),
        )

    def start_instance(self, context: RequestContext, message: StartInstance) -> None:
        """Start a guest."""
        self._act(
            context,
            message.instance,
            "compute_start_instance",
            lambda: self._driver.start(message.instance.uuid),
            (VmState.ACTIVE, PowerState.RUNNING),
        )

    def reboot_instance(self, context: RequestContext, message: RebootInstance) -> None:
        """Reboot a guest."""
        self._act(
            context,
            message.instance,
            "compute_reboot_instance",
            lambda: self._driver.reboot(message.instance, hard=message.hard),
            (VmState.ACTIVE, PowerState.RUNNING),
        )

    def get_console_output(
        self, _context: RequestContext, message: GetConsoleOutput
    ) -> ConsoleOutput:
        """Read a guest's console."""
        text = self._driver.console_output(message.instance_uuid, message.length)
        return ConsoleOutput(text=text)

    def _act(
        self,
        context: RequestContext,
        instance: Instance,
        event: str,
        work: Callable[[], None],
        after: tuple[VmState, PowerState],
    ) -> None:
        def run() -> None:
            stages = Stages(self._host)
            with self.turns.turn(instance.uuid):
                try:
                    with stages.stage(event):
                        work()
                except KilonovaError as error:
                    LOG.warning("%s: %s failed: %s", instance.uuid, event, error)
                    self._report(context, instance, stages)
                else:
                    self._report(context, instance, stages, after=after)

        self._submit(self._actions, run)

    def _report(
        self,
        context: RequestContext,
        instance: Instance,
        stages: Stages,
        *,
        after: tuple[VmState, PowerState] | None = None,
        gone: bool = False,
    ) -> None:
        vm_state, power_state = after or (UNSET, UNSET)
        report = InstanceReport(
            instance_uuid=instance.uuid,
            epoch=instance.epoch,
            request_id=context.request_id,
            vm_state=vm_state,
            # A server that is gone keeps its task until it is marked deleted.
            task_state=UNSET if gone else None,
            power_state=power_state,
            gone=gone,
            events=tuple(stages.events),
        )
        self._reporter.send(report)

    def _submit(self, pool: ThreadPoolExecutor, work: Callable[[], None]) -> None:
        def run() -> None:
            self.adopted.wait()
            try:
                work()
            except Exception:
                LOG.exception("A task on %s failed", self._host)

        pool.submit(run)

    def stop(self) -> None:
        """Finish what is in hand; what waits is sent again by the converger."""
        self.adopted.set()
        for pool in (self._builds, self._actions):
            pool.shutdown(wait=True, cancel_futures=True)
        self._builder.close()
