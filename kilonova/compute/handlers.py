"""What a compute host does on each message: returns at once, and works in its own threads."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial

import msgspec
from msgspec import UNSET

from kilonova.compute.actions import Actions
from kilonova.compute.arrivals import Arrivals
from kilonova.compute.builder import Builder
from kilonova.compute.collaborators import Collaborators
from kilonova.compute.driver import Driver
from kilonova.compute.guests import Turns
from kilonova.compute.monitor import Monitor
from kilonova.compute.mover import Mover
from kilonova.compute.network_changes import NetworkChanges
from kilonova.compute.ports import Ports
from kilonova.compute.precache import Precache
from kilonova.compute.reporter import Reporter
from kilonova.compute.shares import HostShares
from kilonova.compute.stages import Stages
from kilonova.compute.volumes import HostVolumes
from kilonova.compute.wiring import Wiring
from kilonova.core.console import ConsoleAddress
from kilonova.core.context import RequestContext, log_under, service_context
from kilonova.core.diagnostics import Diagnostics
from kilonova.core.errors import KilonovaError
from kilonova.core.host import NodeReport
from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.report import InstanceReport
from kilonova.core.states import PowerState
from kilonova.http.images import ImageStore
from kilonova.http.networks import Networks
from kilonova.http.shares import Shares
from kilonova.http.volumes import Volumes
from kilonova.rpc.messages import (
    ActOnInstance,
    BuildInstance,
    BuildInstances,
    CacheImages,
    ConsoleOutput,
    DeleteInstance,
    DevicesFound,
    FindConsole,
    FindDevices,
    GetConsoleOutput,
    GuideMove,
    Measure,
    MoveInstance,
    SampleServers,
    ServersSampled,
    TakeExternalEvents,
)

LOG = logging.getLogger(__name__)


class ComputeHandlers:
    """Handles ``Topic.COMPUTE``. Nothing is done before ``adopted`` is set: see ``adoption``."""

    def __init__(
        self,
        host: HostName,
        collaborators: tuple[Driver, ImageStore, Volumes, Shares],
        reporter: Reporter,
        *,
        looks: Callable[[InstanceUuid], None],
        concurrent_builds: int,
        networks: Networks | None = None,
    ) -> None:
        self._host = host
        self._driver, images, storage, service = collaborators
        self._reporter = reporter
        self.volumes = HostVolumes(host, (self._driver, storage), reporter)
        self.shares = HostShares(host, (self._driver, service), reporter)
        self.turns = Turns()
        self.monitor = Monitor(host, self._driver)
        self.arrivals = Arrivals(looks)
        self.adopted = threading.Event()
        self.wiring = Wiring(self._driver)
        self._changes: NetworkChanges | None = None
        if networks is not None:
            self.wiring = Ports(host, self._driver, networks, self.arrivals, self.turns)
            self._changes = NetworkChanges(self._driver, networks, reporter, self.turns)
        together = Collaborators(
            self._driver, images, volumes=self.volumes, shares=self.shares, wiring=self.wiring
        )
        self._builder = Builder(host, together, reporter, self.turns)
        self._actor = Actions(host, together, reporter, self.turns)
        self._mover = Mover(host, together, reporter, self.turns)
        self._builds = ThreadPoolExecutor(concurrent_builds, thread_name_prefix=f"build-{host}")
        self._actions = ThreadPoolExecutor(8, thread_name_prefix=f"action-{host}")
        self._moves = ThreadPoolExecutor(8, thread_name_prefix=f"move-{host}")
        # Of its own, so that no delete waits for the actions of others.
        self._deletes = ThreadPoolExecutor(8, thread_name_prefix=f"delete-{host}")
        self._precache = Precache(host, self._driver)
        self._in_hand: set[Future[None]] = set()
        self._being_built: set[Future[None]] = set()
        self._stopped = threading.Event()

    def build_instance(self, context: RequestContext, message: BuildInstance) -> None:
        """Build a server."""
        self._submit(self._builds, context, lambda: self._builder.build(context, message))

    def build_instances(self, context: RequestContext, message: BuildInstances) -> None:
        """Build servers."""
        for build, request_id in zip(message.builds, message.request_ids, strict=True):
            whose = build.instance
            own = msgspec.structs.replace(
                context,
                request_id=request_id,
                user_id=whose.user_id,
                project_id=whose.project_id,
            )
            self.build_instance(own, build)

    def find_console(self, _context: RequestContext, message: FindConsole) -> ConsoleAddress:
        """Say where a guest's console is."""
        return self._driver.console(message.instance_uuid, message.kind)

    def measure(self, _context: RequestContext, message: Measure) -> Diagnostics:
        """Tell how a guest was seen to be a moment ago, or else measure it."""
        uuid = message.instance_uuid
        return self.monitor.diagnostics(uuid) or self._driver.diagnostics(uuid)

    def sample_servers(self, _context: RequestContext, _message: SampleServers) -> ServersSampled:
        """Tell how all guests were seen to be a moment ago."""
        return ServersSampled(servers=self.monitor.vitals())

    def take_external_events(self, context: RequestContext, message: TakeExternalEvents) -> None:
        """Pass on what other services say."""
        for event in message.events:
            self.arrivals.arrive(event)
            if self._changes is not None and self._changes.concerns(event):
                follow = partial(self._changes.follow, context, event)
                self._submit(self._actions, context, follow)

    def cache_images(self, context: RequestContext, message: CacheImages) -> None:
        """Fetch images beside everything else."""
        self._precache.add(context, message)

    def delete_instance(self, context: RequestContext, message: DeleteInstance) -> None:
        """Remove a server, and report it gone."""
        self._submit(self._deletes, context, lambda: self.delete(context, message.instance))

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
                        self.volumes.remove(instance, context.request_id)
                        self.shares.remove(instance, context.request_id)
                        self.wiring.release(instance.uuid)
                except KilonovaError as error:
                    LOG.warning("%s could not be removed: %s", instance.uuid, error.in_full)
                gone = stages.events[-1].result == "Success"
                self._report(context, instance, stages, gone=gone)

    def act_on_instance(self, context: RequestContext, message: ActOnInstance) -> None:
        """Do an order."""
        self._submit(self._actions, context, lambda: self._actor.act(context, message))

    def move_instance(self, context: RequestContext, message: MoveInstance) -> None:
        """Do this host's part of a move."""
        self._submit(self._moves, context, lambda: self._mover.move(context, message))

    def guide_move(self, _context: RequestContext, message: GuideMove) -> None:
        """Abort or force a move in hand."""
        self._mover.guide(message)

    def get_console_output(
        self, _context: RequestContext, message: GetConsoleOutput
    ) -> ConsoleOutput:
        """Read a guest's console."""
        text = self._driver.console_output(message.instance_uuid, message.length)
        return ConsoleOutput(text=text)

    def find_devices(self, _context: RequestContext, message: FindDevices) -> DevicesFound:
        """Look where a guest's devices are."""
        return DevicesFound(devices=self._driver.devices(message.instance_uuid))

    def _report(
        self, context: RequestContext, instance: Instance, stages: Stages, *, gone: bool
    ) -> None:
        report = InstanceReport(
            instance_uuid=instance.uuid,
            epoch=instance.epoch,
            request_id=context.request_id,
            # A server that is gone keeps its task until it is marked deleted.
            task_state=UNSET if gone else None,
            gone=gone,
            events=tuple(stages.events),
        )
        self._reporter.send(report)

    def guest_is_off(self, uuid: InstanceUuid) -> None:
        """Let go of what a guest needed that went off by itself, unless it was started since."""
        if not self.shares.uses(uuid):
            return

        def let_go() -> None:
            with self.turns.turn(uuid):
                guest = self._driver.guests().get(uuid)
                if guest is None or guest.power == PowerState.SHUTDOWN:
                    self.shares.off(uuid)

        self._submit(self._actions, service_context(), let_go)

    def renew(self) -> None:
        """Say now and then of what is in hand that it is."""
        self._actor.renew()
        self._mover.renew()

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
        self.volumes.stop()
        self.shares.stop()
        self._actor.stop()
        self._mover.stop()
        self._precache.stop()
        for pool in (self._builds, self._actions, self._moves, self._deletes):
            pool.shutdown(wait=False, cancel_futures=True)
        self.adopted.set()
        wait(tuple(self._in_hand), timeout=seconds)
        self._builder.close()
