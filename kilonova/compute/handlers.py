"""What a compute host does on each message: returns at once, and works in its own threads."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import msgspec
from msgspec import UNSET

from kilonova.compute.builder import Builder
from kilonova.compute.driver import Driver
from kilonova.compute.guests import Turns
from kilonova.compute.reporter import Reporter
from kilonova.compute.stages import Stages
from kilonova.core.context import RequestContext, log_under
from kilonova.core.errors import KilonovaError
from kilonova.core.host import NodeReport
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

_RUNS = (VmState.ACTIVE, PowerState.RUNNING)
_IS_OFF = (VmState.STOPPED, PowerState.SHUTDOWN)


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
        self._in_hand: set[Future[None]] = set()
        self._being_built: set[Future[None]] = set()
        self._stopped = threading.Event()

    def build_instance(self, context: RequestContext, message: BuildInstance) -> None:
        """Build a server."""
        self._submit(self._builds, context, lambda: self._builder.build(context, message))

    def delete_instance(self, context: RequestContext, message: DeleteInstance) -> None:
        """Remove a server, and report it gone."""
        self._submit(self._actions, context, lambda: self.delete(context, message.instance))

    def delete(self, context: RequestContext, instance: Instance) -> None:
        """Remove a server now; a build of it that is under way ends first. A repeated word does nothing."""
        stages = Stages(self._host)
        with self.turns.going(instance.uuid) as first:
            if not first:
                return
            with self.turns.turn(instance.uuid):
                try:
                    with stages.stage("compute_terminate_instance"):
                        self._driver.destroy(instance.uuid)
                except KilonovaError as error:
                    LOG.warning("%s could not be removed: %s", instance.uuid, error.in_full)
                gone = stages.events[-1].result == "Success"
                self._report(context, instance, stages, gone=gone)

    def stop_instance(self, context: RequestContext, message: StopInstance) -> None:
        """Shut a guest down."""
        instance = message.instance
        self._act(
            context, instance, "compute_stop_instance", lambda: self._shut_down(instance), _IS_OFF
        )

    def start_instance(self, context: RequestContext, message: StartInstance) -> None:
        """Start a guest."""
        instance = message.instance
        self._act(
            context,
            instance,
            "compute_start_instance",
            lambda: self._driver.start(instance.uuid),
            _RUNS,
        )

    def reboot_instance(self, context: RequestContext, message: RebootInstance) -> None:
        """Reboot a guest."""
        instance = message.instance

        def reboot() -> None:
            if message.hard:
                self._driver.reboot(instance)
            else:
                self._shut_down(instance)
                self._driver.start(instance.uuid)

        self._act(context, instance, "compute_reboot_instance", reboot, _RUNS)

    def get_console_output(
        self, _context: RequestContext, message: GetConsoleOutput
    ) -> ConsoleOutput:
        """Read a guest's console."""
        text = self._driver.console_output(message.instance_uuid, message.length)
        return ConsoleOutput(text=text)

    def _shut_down(self, instance: Instance) -> None:
        """Let the guest shut down, unless it is to be deleted anyway."""
        uuid = instance.uuid
        self._driver.stop(uuid, _CLEAN_SECONDS, lambda: self.turns.is_going(uuid))

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
                    LOG.warning("%s: %s failed: %s", instance.uuid, event, error.in_full)
                    self._report(context, instance, stages)
                else:
                    self._report(context, instance, stages, after=after)

        self._submit(self._actions, context, run)

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

    def _submit(
        self, pool: ThreadPoolExecutor, context: RequestContext, work: Callable[[], None]
    ) -> None:
        def run() -> None:
            log_under(context)
            self.adopted.wait()
            if self._stopped.is_set():
                return
            try:
                work()
            except Exception:
                LOG.exception("A task on %s failed", self._host)

        task = pool.submit(run)
        kept = (self._in_hand, self._being_built) if pool is self._builds else (self._in_hand,)
        for tasks in kept:
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    def counted(self, node: NodeReport) -> NodeReport:
        """Return a driver's report of the node with what is in hand: the driver knows of guests only."""
        return msgspec.structs.replace(
            node,
            servers=node.servers + len(self._being_built),
            busy=len(self._in_hand),
            failed_builds=self._builder.failed_in_a_row,
        )

    def stop(self, seconds: float) -> None:
        """Finish what is in hand, for at most ``seconds``; what waits is sent again by the converger."""
        self._stopped.set()
        self._builder.stop()
        for pool in (self._builds, self._actions):
            pool.shutdown(wait=False, cancel_futures=True)
        self.adopted.set()
        wait(tuple(self._in_hand), timeout=seconds)
        self._builder.close()
