"""Every service of a deployment in one process, on loopback, with its state in one directory."""

import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
from oslo_config import cfg

from kilonova.api import wsgi as compute_api
from kilonova.compute.service import create_services
from kilonova.conductor.service import ConductorService
from kilonova.consoles.proxy import ConsoleProxy
from kilonova.core import settings
from kilonova.core.ids import CELL0, CellUuid
from kilonova.db.cells import Cell, Cells, create_cell, list_cells
from kilonova.db.engine import Database
from kilonova.db.migrate import upgrade
from kilonova.embedded import identity, images
from kilonova.embedded.hypervisor import Hypervisor
from kilonova.embedded.image_files import ImageFiles
from kilonova.http import images as image_client
from kilonova.http.health import Health, WithHealth
from kilonova.http.identity import NoAuth, Wsgi
from kilonova.http.server import ThreadedServer, check_free
from kilonova.placement import client
from kilonova.placement import wsgi as placement_api
from kilonova.rpc.connect import Buses
from kilonova.scheduler.service import SchedulerService

CELL1 = CellUuid("11111111-1111-4111-8111-111111111111")


class Service(Protocol):
    """Something that runs until it is stopped."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a deployment is set up. ``hypervisor`` None means fake hosts; ``more`` is appended to the
    configuration. ``ports`` are those of identity, compute, placement, image, and consoles."""

    state_dir: Path
    ports: tuple[int, int, int, int, int]
    hosts: int = 1
    hypervisor: Hypervisor | None = None
    more: str = ""

    @property
    def urls(self) -> dict[str, str]:
        """The services' URLs by type."""
        base = [f"http://127.0.0.1:{port}" for port in self.ports]
        return {
            "identity": f"{base[0]}/v3",
            "compute": f"{base[1]}/v2.1",
            "placement": base[2],
            "image": base[3],
        }


_CONF = """\
# Written at every start: what this deployment runs with.
[DEFAULT]
host = {host}
transport_url = memory://{state}
state_path = {state}
report_interval = 2
[api]
auth_strategy = noauth2
[compute_api]
bind_port = {compute}
[placement_api]
bind_port = {placement}
[api_database]
connection = sqlite:///{state}/api.db
[database]
connection = sqlite:///{state}/cell1.db
[placement_database]
connection = sqlite:///{state}/placement.db
[placement]
auth_type = admin_token
endpoint = http://127.0.0.1:{placement}
token = admin
[glance]
auth_type = admin_token
endpoint = http://127.0.0.1:{image}
token = admin
[compute]
driver = {driver}
[vnc]
novncproxy_base_url = http://127.0.0.1:{consoles}/vnc_auto.html
[libvirt]
connection_uri = {uri}
virt_type = {virt_type}
[fake]
script = {script}
"""

_CLOUDS = """\
clouds:
{clouds}"""
_CLOUD = """\
  {cloud}:
    region_name: RegionOne
    identity_api_version: 3
    auth:
      auth_url: {auth_url}
      username: {user}
      password: {password}
      project_name: {user}
      user_domain_name: Default
      project_domain_name: Default
"""


class Deployment:
    """A deployment that this process is. Each part may be stopped and started again by itself."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.accounts: identity.Accounts
        self._parts: dict[str, Callable[[], Service]] = {}
        self._running: dict[str, Service] = {}

    @property
    def clouds_yaml(self) -> Path:
        """The file that makes clients find this deployment."""
        return self.options.state_dir / "clouds.yaml"

    def start(self) -> None:
        """Create what is missing, and start every service.

        Raises:
            AddressInUse: a port is taken.
            KilonovaError: a service does not start.
        """
        state = self.options.state_dir
        state.mkdir(parents=True, exist_ok=True)
        for port in self.options.ports:
            check_free("127.0.0.1", port)
        self.accounts = identity.Accounts.at(state / "accounts.json")
        self._write_clouds()
        conf = self._configuration()
        _create_databases(conf, state)
        self._parts = self._plan(conf)
        for name in self._parts:
            self.start_part(name)

    def stop(self) -> None:
        """Stop every service, the first started last. Guests live on."""
        for name in reversed(tuple(self._running)):
            self.stop_part(name)

    def start_part(self, name: str) -> None:
        """Start one of identity, compute-api, placement, image, consoles, conductor, scheduler, compute."""
        service = self._parts[name]()
        service.start()
        self._running[name] = service

    def stop_part(self, name: str) -> None:
        """Stop one part; what others ask of it waits or fails, as when its process has ended."""
        self._running.pop(name).stop()

    def part(self, name: str) -> Service:
        """Return a part that runs."""
        return self._running[name]

    def _configuration(self) -> cfg.ConfigOpts:
        options = self.options
        found = options.hypervisor
        _, compute, placement, image, consoles = options.ports
        path = options.state_dir / "kilonova.conf"
        script = options.state_dir / "fake.yaml"
        script.write_text(f"hosts: {options.hosts}\n")
        path.write_text(
            _CONF.format(
                host=socket.gethostname(),
                state=options.state_dir,
                compute=compute,
                placement=placement,
                image=image,
                consoles=consoles,
                driver="libvirt" if found else "fake",
                uri=found.uri if found else "",
                virt_type=found.virt_type if found else "qemu",
                script=script,
            )
            + options.more
        )
        return settings.read_config(["--config-file", str(path)], prog="kilonova")

    def _write_clouds(self) -> None:
        clouds = "".join(
            _CLOUD.format(
                cloud="kilonova" if user == "admin" else f"kilonova-{user}",
                auth_url=self.options.urls["identity"],
                user=user,
                password=password,
            )
            for user, password in self.accounts.passwords.items()
        )
        self.clouds_yaml.touch(mode=0o600)
        self.clouds_yaml.write_text(_CLOUDS.format(clouds=clouds))

    def _plan(self, conf: cfg.ConfigOpts) -> dict[str, Callable[[], Service]]:
        """Return what starts each part, in the order in which they start."""
        store = ImageFiles(self.options.state_dir / "images")
        guarded = NoAuth(
            images.create_app(store), public=images.is_public, default_roles=("member", "reader")
        )
        buses = Buses(conf)
        bus = buses.default()
        placement = client.load(conf)
        api_db = Database(conf.api_database.connection)
        identity_port, compute_port, placement_port, image_port, consoles = self.options.ports
        return {
            "identity": lambda: _served(
                identity.create_app(self.accounts, self.options.urls), identity_port
            ),
            "compute-api": lambda: _served(_with_health(compute_api.build(conf)), compute_port),
            "placement": lambda: _served(_with_health(placement_api.build(conf)), placement_port),
            "image": lambda: _served(guarded, image_port),
            "consoles": lambda: ConsoleProxy(conf, api_db, consoles),
            "conductor": lambda: ConductorService(conf, buses, placement),
            "scheduler": lambda: SchedulerService(conf, bus, api_db, Cells(api_db), placement),
            "compute": lambda: _Hosts(
                create_services(conf, bus, placement, image_client.load(conf))
            ),
        }


class _Hosts:
    """The compute hosts, which start and stop together."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services

    def start(self) -> None:
        for service in self._services:
            service.start()

    def stop(self) -> None:
        for service in self._services:
            service.stop()


def _with_health(app: Wsgi) -> Wsgi:
    return WithHealth(app, Health({}))


def _served(app: Wsgi, port: int) -> ThreadedServer:
    return ThreadedServer(app, "127.0.0.1", port)


def _create_databases(conf: cfg.ConfigOpts, state: Path) -> None:
    api_db = Database(conf.api_database.connection)
    upgrade(api_db, "api")
    upgrade(Database(conf.placement_database.connection), "placement")
    cell0 = f"sqlite:///{state}/cell0.db"
    known = {cell.uuid for cell in list_cells(api_db)}
    for uuid, name, url in (
        (CELL0, "cell0", cell0),
        (CELL1, "cell1", conf.database.connection),
    ):
        upgrade(Database(url), "cell")
        if uuid not in known:
            bus = f"memory://{state}"
            create_cell(
                api_db, Cell(uuid=uuid, name=name, transport_url=bus, database_connection=url)
            )
    api_db.dispose()
