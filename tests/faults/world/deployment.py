"""The services of a world: two super conductors, a cell conductor in each cell, two schedulers, Placement,
the Compute API, and hosts. Each is a process that may be killed and started again.
"""

import dataclasses
import random
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
import testtools

from kilonova.api import app as compute_api
from kilonova.api.acceptance import Acceptance
from kilonova.api.fleet import Fleet
from kilonova.api.host_statuses import HostStatuses
from kilonova.api.services import Policy, Services
from kilonova.compute.inventory import provider_uuid
from kilonova.compute.script import Script, Step
from kilonova.compute.service import ComputeService
from kilonova.conductor import fencing
from kilonova.conductor.cell_conductor import CellConductor
from kilonova.conductor.converger import Converger, scene_of
from kilonova.conductor.fencing import Fencer
from kilonova.conductor.notices import Notices
from kilonova.conductor.repairs import Hands
from kilonova.conductor.super_conductor import SuperConductor
from kilonova.core import clock
from kilonova.core.flavor import Flavor
from kilonova.core.ids import CELL0, CellUuid, FlavorId, HostName, ImageId, InstanceUuid, NodeName
from kilonova.core.image import Image
from kilonova.core.instance import Instance
from kilonova.core.states import PowerState, TaskState, VmState
from kilonova.db import flavors
from kilonova.db.cell_schema import StoredInstance
from kilonova.db.cells import Cell, Cells, create_cell
from kilonova.db.placement_schema import StoredAllocation
from kilonova.db.statements import table_of
from kilonova.http.identity import NoAuth
from kilonova.http.shares import Shares
from kilonova.http.volumes import Volumes
from kilonova.placement import app as placement_api
from kilonova.placement import policies as placement_policies
from kilonova.placement.client import Placement
from kilonova.rpc.messages import Topic
from kilonova.rpc.notifications.notifier import Silent
from kilonova.scheduler.service import SchedulerService
from tests.faults.world import threads
from tests.faults.world.configuration import configuration, enforcers, hasten
from tests.faults.world.hypervisor import Hypervisor, mishaps
from tests.faults.world.kernel import Kernel, Process
from tests.faults.world.layout import Layout
from tests.faults.world.network import Http, Network, PlacementAdapter, Weather, WorldBuses
from tests.faults.world.storage import Storage, url_of

CELLS = {
    "cell0": CELL0,
    "cell1": CellUuid("11111111-1111-4111-8111-111111111111"),
    "cell2": CellUuid("22222222-2222-4222-8222-222222222222"),
}
_TOP = ("api", "placement", "scheduler-1", "scheduler-2", "super-1", "super-2")
PROJECT = "project"
IMAGE = ImageId("33333333-3333-4333-8333-333333333333")
BEGAN = datetime(2030, 1, 1, tzinfo=UTC)
_LONGEST_AWAY = 20.0
_FENCE_FAILS = 0.2
_instances = table_of(StoredInstance)
_allocations = table_of(StoredAllocation)
_THERE = sa.select(_instances.c.uuid).where(
    _instances.c.uuid == sa.bindparam("uuid"), _instances.c.deleted.is_(False)
)
_BUILT = _THERE.where(
    _instances.c.host == sa.bindparam("host"),
    _instances.c.epoch == sa.bindparam("epoch"),
    _instances.c.vm_state == VmState.BUILDING,
    _instances.c.task_state != TaskState.DELETING,
)
_CLAIMED = sa.select(_allocations.c.used).where(
    _allocations.c.consumer_uuid == sa.bindparam("uuid"),
    _allocations.c.provider_uuid == sa.bindparam("provider"),
)


class _Images:
    """An image store that is always there, with one image."""

    def get(self, _context: object, image_id: ImageId) -> Image:
        return Image(image_id=image_id, name="image", disk_format="raw", visibility="public")

    def remove_unfilled(self, _server: str) -> None:
        """Nobody copies servers here."""


class Deployment:
    """All services of a world, running. ``crash_odds`` is the chance of dying at each commit and send,
    ``plays`` what goes on at hosts beside the usual mishaps."""

    def __init__(
        self, case: testtools.TestCase, seed: int, layout: Layout, plays: Sequence[Step] = ()
    ) -> None:
        self.layout = layout
        self.services = (*_TOP, *layout.cells, *layout.hosts)
        self.kernel = Kernel(seed)
        self.told: list[str] = []
        self.wrongs: list[str] = []
        self.crash_odds = 0.0
        self.clocks: dict[str, float] = {}
        """By how many seconds the clocks of services are ahead."""
        self.weather = Weather()
        self.weather.crash = self.crash
        self.conf = configuration(desired=layout.desired, fenced=layout.fenced)
        self._fix_chance_and_clock(case, seed)
        hasten(case)
        threads.install(case, self.kernel)
        self.storage = Storage(case, self.kernel, layout.databases)
        self.storage.crash = self.crash
        self.network = Network(self.kernel, self.weather, self.tell)
        self._people = Process("people")
        self._make_cells()
        self.placement = Http(self.network)
        self.api = Http(self.network)
        script = Script([*mishaps(self.kernel.chance), *plays])
        self.hypervisors = {host: Hypervisor(self, HostName(host), script) for host in layout.hosts}
        case.patch(fencing, "run", self._fence)
        self.processes: dict[str, Process] = {}
        for name in self.services:
            self.start(name)

    def _fix_chance_and_clock(self, case: testtools.TestCase, seed: int) -> None:
        kernel = self.kernel

        def now(_zone: object) -> datetime:
            ahead = self.clocks.get(kernel.process.name, 0.0) if kernel.process else 0.0
            return BEGAN + timedelta(seconds=kernel.now + ahead)

        case.patch(clock, "datetime", SimpleNamespace(now=now))
        # Of their own: what a service asks for must not change what the weather does.
        chance = random.Random(seed)
        case.patch(uuid, "uuid4", lambda: uuid.UUID(int=chance.getrandbits(128), version=4))
        random.seed(seed)

    def tell(self, what: str) -> None:
        """Note what happened, and when."""
        self.told.append(f"{self.kernel.now:9.3f} {what}")

    def crash(self, where: str) -> None:
        """Kill whoever is at a point where it may die, if chance wants it."""
        process = self.kernel.process
        if process is None or process is self._people or not self.crash_odds:
            return
        if self.kernel.chance.random() < self.crash_odds:
            self.tell(f"{process.name} is killed {where}")
            self.kernel.kill(process)

    def freeze(self, name: str, seconds: float) -> None:
        """Let a service stand still for so long, and then go on as if nothing had been."""
        self.processes[name].frozen_until = self.kernel.now + seconds
        self.tell(f"{name} stands still for {seconds:.1f} s")

    def set_clock(self, name: str, ahead: float) -> None:
        """Let a service's clock jump until it is so many seconds ahead."""
        self.clocks[name] = ahead
        self.tell(f"the clock of {name} is {ahead:+.1f} s ahead")

    def power_off(self, host: str, seconds: float) -> None:
        """Let a host be off for so long, and its guests with it."""
        self.tell(f"{host} is off for {seconds:.1f} s")
        self.processes[host].away = seconds
        self.hypervisors[host].power_off()
        self.kernel.kill(self.processes[host])

    def _fence(self, command: list[str], _seconds: float = 0.0) -> tuple[bool, str]:
        """Make sure that a host is off, as ``fencing.run`` does; now and then that cannot be done."""
        host = command[-2]
        self.kernel.sleep(self.kernel.chance.uniform(0.1, 8.0))
        if self.kernel.chance.random() < _FENCE_FAILS:
            return False, "nobody answers"
        self.power_off(host, self.kernel.chance.uniform(20.0, 60.0))
        return True, "it is off"

    def is_off(self, host: str) -> bool:
        """Whether a host is off, or only its service."""
        return not self.processes[host].alive

    @property
    def is_awaited(self) -> bool:
        """Whether a message is under way, or a service is dead or stands still."""
        return self.network.under_way > 0 or not all(
            process.alive and process.frozen_until <= self.kernel.now
            for process in self.processes.values()
        )

    def start(self, name: str) -> None:
        """Start a service, and again whenever it has died."""
        process = Process(name)
        self.processes[name] = process

        def again() -> None:
            away = process.away or self.kernel.chance.uniform(0.5, _LONGEST_AWAY)
            self.kernel.at(away, lambda: self.start(name))

        process.on_death.append(again)
        self.kernel.spawn(process, lambda: self._begin(name, process))

    def _begin(self, name: str, process: Process) -> None:
        kind = name.partition("-")[0]
        if name in self.layout.hosts:
            self._begin_host(name, process)
        elif name in self.layout.cells:
            self._begin_cell_conductor(name, process)
        elif kind == "placement":
            self.placement.serve(process, self._placement_app())
        elif kind == "api":
            self.api.serve(process, self._api_app())
        elif kind == "scheduler":
            bus = WorldBuses(self.network, process).default()
            api_db = self.storage["api"]
            SchedulerService(self.conf, bus, api_db, Cells(api_db), self._client()).start()
        else:
            self._begin_super_conductor(process)

    def _begin_host(self, name: str, process: Process) -> None:
        bus = WorldBuses(self.network, process).at(f"memory://{self.layout.hosts[name]}")
        driver = self.hypervisors[name]
        images: Any = _Images()
        ComputeService(self.conf, HostName(name), bus, driver, (self._client(), images)).start()

    def _begin_cell_conductor(self, name: str, process: Process) -> None:
        bus = WorldBuses(self.network, process).at(f"memory://{name}")
        conductor = CellConductor(self.storage[name], bus, self._client())
        bus.serve(Topic.CELL_CONDUCTOR, name, conductor)

    def _begin_super_conductor(self, process: Process) -> None:
        buses: Any = WorldBuses(self.network, process)
        api_db = self.storage["api"]
        collaborators = (api_db, Cells(api_db), buses, self._client())
        notices = Notices(Silent(), HostName(process.name))
        conductor = SuperConductor(self.conf, collaborators, notices)
        conductor.start()
        buses.default().serve(Topic.CONDUCTOR, process.name, conductor)
        fence = Fencer(self.conf.ha.fence_command, collaborators[1]).take_note
        moves_, tasks = conductor.moves, conductor.tasks
        hands = Hands(conductor.arrive, moves_.take_note, tasks.take_note, fence)
        scene = scene_of(self.conf, collaborators, notices, hands)
        images: Any = _Images()
        Converger(self.conf, dataclasses.replace(scene, images=images)).start()

    def _client(self) -> Placement:
        return Placement(PlacementAdapter(self.placement))

    def _placement_app(self) -> Any:
        enforced = placement_policies.Policy(enforcers()[1], lambda: 0.0)
        app: Any = placement_api.create_app(self.storage["placement"], enforced, self.conf)
        return NoAuth(app, public=placement_api.is_public)

    def _api_app(self) -> Any:
        api_db = self.storage["api"]
        cells = Cells(api_db)
        buses: Any = WorldBuses(self.network, self._people)
        images: Any = _Images()
        services = Services(
            conf=self.conf,
            api_db=api_db,
            cells=cells,
            buses=buses,
            bus=buses.default(),
            acceptance=Acceptance(api_db, buses.default()),
            images=images,
            policy=Policy(enforcers()[0]),
            host_statuses=HostStatuses(Fleet(api_db, cells), self.conf.service_down_time),
            placement=self._client(),
            notifier=Silent(),
            volumes=Volumes(None),
            shares=Shares(None),
        )
        app: Any = compute_api.create_app(services)
        return NoAuth(app, public=compute_api.is_public, default_roles=("member", "reader"))

    def _make_cells(self) -> None:
        api_db = self.storage["api"]
        for name in ("cell0", *self.layout.cells):
            cell = Cell(
                uuid=CELLS[name],
                name=name,
                transport_url=f"memory://{name}",
                database_connection=url_of(name),
            )
            create_cell(api_db, cell)
        for size in (1, 2):
            flavor_id = FlavorId(str(size))
            sized = Flavor(
                flavor_id=flavor_id, name=f"f{size}", vcpus=size, memory_mb=64 * size, root_gb=1
            )
            flavors.create(api_db, sized)

    def do(self, work: Callable[[], object]) -> None:
        """Begin what people do."""
        self.kernel.spawn(self._people, work)

    def ask(self, method: str, path: str, body: bytes | None, project: str = PROJECT) -> Any:
        """Ask the Compute API as a user of a project, and wait for the answer.

        Raises:
            ConnectFailure: there is none.
        """
        headers = {
            "X-Auth-Token": f"admin:{project}",
            "OpenStack-API-Version": "compute 2.96",
            "Content-Type": "application/json",
        }
        return self.api.ask(method, path, headers, body)

    def judge_spawn(self, host: str, instance: Instance) -> None:
        """Note what is wrong about a guest that has just been built."""
        self.judge_guest(instance)
        built = {"uuid": instance.uuid, "host": host, "epoch": instance.epoch}
        provider = provider_uuid(HostName(host), NodeName(host))
        claimed = {"uuid": instance.uuid, "provider": provider}
        counts = self.storage.peek(self.layout.hosts[host], _BUILT, built)
        if counts and not self.storage.peek("placement", _CLAIMED, claimed):
            self.wrongs.append(f"{instance.uuid} is started on {host}, where it holds nothing")

    def judge_guest(self, instance: Instance) -> None:
        """Note if a guest that has just come to run is not the only one."""
        running = self.running(instance.uuid)
        if len(running) > 1:
            self.wrongs.append(f"{instance.uuid} runs on {', '.join(running)}")
        if self.layout.fenced:
            # Where a host may be given up although it is well, for a time there are two.
            hosts = [
                host
                for host, hypervisor in self.hypervisors.items()
                if any(self._counts(host, uuid) for uuid in hypervisor.running(instance.name))
            ]
            if len(hosts) > 1:
                self.wrongs.append(f"{instance.name} runs on {', '.join(hosts)}")

    def _counts(self, host: str, uuid: InstanceUuid) -> bool:
        """Whether a server is there: one that was deleted runs on until its silent host hears of it."""
        return bool(self.storage.peek(self.layout.hosts[host], _THERE, {"uuid": uuid}))

    def running(self, uuid: InstanceUuid) -> list[str]:
        """Return the hosts on which a server's guest runs."""
        return [
            host
            for host, hypervisor in self.hypervisors.items()
            if (guest := hypervisor.guests().get(uuid)) and guest.power == PowerState.RUNNING
        ]
