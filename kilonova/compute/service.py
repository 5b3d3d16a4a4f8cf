"""One compute host: registers itself, shows that it lives, adopts its guests, and takes messages."""

import logging
import threading
import time
from collections.abc import Callable, Collection

from oslo_config import cfg

from kilonova.compute.adoption import Adoption
from kilonova.compute.driver import Driver
from kilonova.compute.fake import FakeDriver
from kilonova.compute.handlers import ComputeHandlers
from kilonova.compute.reporter import Reporter
from kilonova.compute.script import FakeHosts, Script
from kilonova.compute.watch import Watch
from kilonova.core.context import service_context
from kilonova.core.errors import KilonovaError
from kilonova.core.host import NodeReport
from kilonova.core.ids import HostName, InstanceUuid
from kilonova.http import networks, shares, volumes
from kilonova.http.images import ImageStore
from kilonova.placement.client import Placement
from kilonova.rpc.bus import Bus, Server
from kilonova.rpc.messages import HostInstances, ListInstances, ReportHost, Taken, Topic

LOG = logging.getLogger(__name__)

_TIMEOUT = 15.0
_BEAT_TIMEOUT = 5.0
"""Shorter: a sign of life whose answer was lost with the broker must not keep the next one waiting."""
_LOOKS_EVERY = 300.0
"""Seconds between two looks whether every guest is still this host's; the next follows any silence."""
_LOOKS_SOON = 10.0
"""The same while there are guests of which it is not known yet whose they will be."""
_FINISHES = 5.0
"""Seconds that builds and actions in hand get when the service ends."""


class ComputeService:
    """A compute host on its cell's bus."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        host: HostName,
        bus: Bus,
        driver: Driver,
        peers: tuple[Placement, ImageStore],
    ) -> None:
        self._host = host
        self._interval = conf.report_interval
        self._bus = bus
        self._driver = driver
        self._placement, images = peers
        self._reporter = Reporter(bus, host)
        self._handlers = ComputeHandlers(
            host,
            (driver, images, volumes.load(conf), shares.load(conf)),
            self._reporter,
            looks=self._look_at,
            concurrent_builds=conf.max_concurrent_builds,
            networks=networks.load(conf),
        )
        self._adoption = Adoption(driver, images, self._reporter, self._handlers)
        self._watch = Watch(
            host, driver, self._reporter, self._handlers.turns, self._handlers.guest_is_off
        )
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"host-{host}", daemon=True)
        self._server: Server | None = None
        self._registered: tuple[NodeReport, ...] = ()
        self._sent: tuple[NodeReport, ...] = ()
        self._failing: set[str] = set()
        self._looked_at = time.monotonic()

    def start(self) -> None:
        """Listen; messages wait until the host knows what it should have."""
        self._reporter.start()
        self._watch.start()
        self._driver.watch(self._watch)
        self._handlers.monitor.start()
        self._server = self._bus.serve(Topic.COMPUTE, self._host, self._handlers, threads=4)
        self._thread.start()

    def stop(self) -> None:
        """Take no more messages, finish what is in hand, and send the last reports. Guests live on."""
        self._stopped.set()
        if self._server is not None:
            self._server.stop()
        self._thread.join(timeout=2)
        self._watch.stop()
        self._handlers.monitor.stop()
        self._handlers.stop(_FINISHES)
        self._reporter.stop(2)
        self._driver.close()

    def _look_at(self, uuid: InstanceUuid) -> None:
        self._watch.look_at(uuid)

    def _run(self) -> None:
        while not self._stopped.is_set():
            if "sign of life" in self._failing:
                self._looked_at = -_LOOKS_EVERY
            alive = self._attempt("sign of life", self._beat)
            self._handlers.renew()
            if alive and not self._handlers.adopted.is_set():
                alive = self._attempt("adoption", self._adopt)
            elif alive and time.monotonic() > self._looked_at + self._looks_every():
                self._attempt("comparison", self._look_again)
            self._stopped.wait(self._interval if alive else 1.0)

    def _looks_every(self) -> float:
        return _LOOKS_SOON if self._adoption.is_undecided else _LOOKS_EVERY

    def _attempt(self, what: str, work: Callable[[], None]) -> bool:
        try:
            work()
        except KilonovaError as error:
            if what not in self._failing:
                LOG.warning("%s of %s waits: %s", what.capitalize(), self._host, error.in_full)
            self._failing.add(what)
            return False
        except Exception:
            LOG.exception("%s of %s failed", what.capitalize(), self._host)
            return False
        if what in self._failing:
            LOG.info("%s of %s works again", what.capitalize(), self._host)
        self._failing.discard(what)
        return True

    def _beat(self) -> None:
        nodes = tuple(self._handlers.counted(node) for node in self._driver.nodes())
        for node in nodes:
            self._register(node)
        changed = None if nodes == self._sent else nodes
        vitals = self._handlers.monitor.news(nodes)
        message = ReportHost(host=self._host, nodes=changed, vitals=vitals)
        self._bus.call(service_context(), message, Taken, timeout=_BEAT_TIMEOUT)
        self._sent = nodes

    def _register(self, node: NodeReport) -> None:
        """Tell Placement what a node has, whenever that changed, until it has taken all of it."""
        for known in self._registered:
            if (known.provider_uuid, known.inventory, known.traits) == (
                node.provider_uuid,
                node.inventory,
                node.traits,
            ):
                return
        complete = self._placement.ensure_provider(
            node.provider_uuid, node.node, node.inventory, node.traits
        )
        others = [k for k in self._registered if k.provider_uuid != node.provider_uuid]
        self._registered = (*others, node) if complete else tuple(others)

    def _list(
        self, guests: Collection[InstanceUuid] = (), *, starting: bool = False, start: int = 0
    ) -> HostInstances:
        message = ListInstances(
            host=self._host, guests=tuple(guests), starting=starting, start=start
        )
        return self._bus.call(service_context(), message, HostInstances, timeout=_TIMEOUT)

    def _look_again(self) -> None:
        """Ask the cell whose the guests are and what it believes of them: it may not have heard all."""
        guests = self._driver.guests()
        for uuid, power in self._adoption.look_again(guests, self._list(guests)).items():
            self._watch.power_changed(uuid, power)
        self._looked_at = time.monotonic()

    def _adopt(self) -> None:
        start = self._list(starting=True).start
        self._reporter.number_from(start)
        guests = self._driver.guests()
        self._adoption.adopt(guests, self._list(guests, start=start))
        self._handlers.adopted.set()


def create_services(
    conf: cfg.ConfigOpts, bus: Bus, placement: Placement, images: ImageStore
) -> list[ComputeService]:
    """Return the compute hosts that a configuration describes: one, or as many as ``[fake] script`` plays.

    Raises:
        Invalid: ``[fake] script`` cannot be read.
    """
    peers = (placement, images)
    if conf.compute.driver == "fake":
        plays = FakeHosts.read(conf.fake.script)
        count, script = plays.hosts, Script(plays.steps)
        names = [conf.host] if count == 1 else [f"{conf.host}-{n}" for n in range(count)]
        return [
            ComputeService(conf, name, bus, FakeDriver(conf, name, script, plays), peers)
            for name in map(HostName, names)
        ]
    # Imported here: a machine that plays fake hosts needs no libvirt.
    from kilonova.compute.libvirt.containers import ContainerDriver  # noqa: PLC0415
    from kilonova.compute.libvirt.driver import LibvirtDriver  # noqa: PLC0415

    host = HostName(conf.host)
    kind = ContainerDriver if conf.libvirt.virt_type == "lxc" else LibvirtDriver
    return [ComputeService(conf, host, bus, kind(conf, host, images), peers)]
