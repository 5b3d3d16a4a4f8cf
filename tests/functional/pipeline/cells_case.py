"""A deployment in this process with several cells, each with its own database, bus, conductor and hosts."""

from typing import Any

from kilonova.compute.service import create_services
from kilonova.conductor.service import ConductorService
from kilonova.core import settings
from kilonova.core.ids import CellUuid
from kilonova.db.cells import Cell, create_cell, update_cell
from kilonova.db.engine import Database
from kilonova.db.migrate import upgrade
from kilonova.embedded.deployment import CELL1
from kilonova.http import images
from kilonova.placement import client
from kilonova.rpc.connect import Buses
from tests.functional.pipeline.case import PipelineCase

CELL2 = CellUuid("22222222-2222-4222-8222-222222222222")
CELL3 = CellUuid("33333333-3333-4333-8333-333333333333")
CELLS = {"cell1": CELL1, "cell2": CELL2, "cell3": CELL3}

_CONF = """\
[DEFAULT]
host = {name}
transport_url = memory://{state}/{name}
state_path = {state}
report_interval = 1
[database]
connection = sqlite:///{state}/{name}.db
[placement]
auth_type = admin_token
endpoint = {placement}
token = admin
[glance]
auth_type = admin_token
endpoint = {image}
token = admin
[compute]
driver = fake
[fake]
script = {state}/fake.yaml
"""


class CellsCase(PipelineCase):
    """``hosts`` hosts in cell1, and as many in each cell that is added."""

    def setUp(self) -> None:
        super().setUp()
        self.api_db = Database(f"sqlite:///{self.state}/api.db")
        self.addCleanup(self.api_db.dispose)

    def add_cell(self, name: str) -> None:
        """Make cell2 or cell3, start its services, and wait for its hosts."""
        urls = self.deployment.options.urls
        path = self.state / f"{name}.conf"
        path.write_text(
            _CONF.format(
                name=name,
                state=self.state,
                placement=urls["placement"],
                image=urls["image"],
            )
        )
        conf = settings.read_config(["--config-file", str(path)], prog="kilonova")
        connection = conf.database.connection
        upgrade(Database(connection), "cell")
        cell = Cell(
            uuid=CELLS[name],
            name=name,
            transport_url=f"memory://{self.state}/{name}",
            database_connection=connection,
        )
        create_cell(self.api_db, cell)
        buses, placement = Buses(conf), client.load(conf)
        conductor = ConductorService(conf, buses, placement)
        computes = create_services(conf, buses.default(), placement, images.load(conf))
        for service in (conductor, *computes):
            service.start()
            self.addCleanup(service.stop)
        self.until(f"{name} has hosts", lambda: len(self.hosts_of(name)) == self.hosts)

    def hosts_of(self, cell: str) -> set[str]:
        """Return the hosts of a cell that are up. Those of cell1 have other names."""
        services = self.get("compute", "/os-services?binary=nova-compute")["services"]
        up = {service["host"] for service in services if service.get("state") == "up"}
        others = tuple(name for name in CELLS if name != "cell1")
        if cell == "cell1":
            return {host for host in up if not host.startswith(others)}
        return {host for host in up if host.startswith(cell)}

    def cell_of(self, server: dict[str, Any]) -> str:
        """Return the cell of a server's host."""
        host = server["OS-EXT-SRV-ATTR:host"]
        return next((cell for cell in CELLS if host.startswith(cell)), "cell1")

    def disable(self, cell: str, *, disabled: bool = True) -> None:
        """Disable a cell, or enable it."""
        update_cell(self.api_db, CELLS[cell], {"disabled": disabled})

    def boot(self, count: int, **more: Any) -> list[str]:
        """Boot servers by one request and wait until all are ACTIVE; return their UUIDs."""
        before = {server["id"] for server in self.get("compute", "/servers")["servers"]}
        self.create("vm", min_count=count, max_count=count, **more)

        def new() -> list[dict[str, Any]]:
            return [server for server in self.servers() if server["id"] not in before]

        self.until("they are ACTIVE", lambda: [s["status"] for s in new()] == ["ACTIVE"] * count)
        return [server["id"] for server in new()]
