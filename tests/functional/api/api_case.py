"""A Compute API in one process: databases of a test's own, the in-memory bus, noauth tokens."""

from typing import Any

import falcon.testing
from oslo_config import cfg

from kilonova.api.versions import negotiate
from kilonova.api.wsgi import build
from kilonova.core import settings
from kilonova.core.clock import utcnow
from kilonova.core.host import NodeReport
from kilonova.core.ids import CELL0, CellUuid, HostName, NodeName, ProviderUuid
from kilonova.db import hosts
from kilonova.db.cells import Cell, create_cell, map_hosts
from tests.functional.api.answers import Answered, Asked, wrong_with
from tests.functional.db.databases import DatabaseCase

CELL = CellUuid("11111111-1111-4111-8111-111111111111")
ADMIN = "admin:operators"
ANN = "ann:project-a"
BOB = "bob:project-b"


class ApiCase(DatabaseCase):
    """A test against ``self.api_db``, one cell with ``self.cell_db``, and the API over both."""

    def setUp(self) -> None:
        super().setUp()
        self.api_db = self.open("api", "api")
        self.cell_db = self.open("cell", "cell")
        cell0 = self.open("cell0", "cell")
        for uuid, name, database in ((CELL0, "cell0", cell0), (CELL, "cell1", self.cell_db)):
            self.add_cell(uuid, name, database.url.render_as_string(hide_password=False))
        self.conf = self._configuration(self.options())
        self.client = falcon.testing.TestClient(build(self.conf))

    def options(self) -> str:
        """Return more of the configuration file, for a test to override."""
        return ""

    def _configuration(self, more: str) -> cfg.ConfigOpts:
        path = self.directory / "kilonova.conf"
        path.write_text(
            "[DEFAULT]\ntransport_url = memory://\n[api]\nauth_strategy = noauth2\n"
            f"[api_database]\nconnection = {self.api_db.url.render_as_string(hide_password=False)}\n{more}"
        )
        return settings.read_config(["--config-file", str(path)], prog="kilonova-api")

    def add_cell(self, uuid: CellUuid, name: str, connection: str) -> None:
        """Map a cell."""
        create_cell(
            self.api_db,
            Cell(uuid=uuid, name=name, transport_url="memory://", database_connection=connection),
        )

    def add_host(self, name: str, number: int = 1, **changed: Any) -> None:
        """Let a compute host report for the first time, and map it to the cell."""
        report = NodeReport(
            **{
                "node": NodeName(f"{name}.example"),
                "provider_uuid": ProviderUuid(f"aaaaaaaa-0000-4000-8000-{number:012}"),
                "hypervisor_type": "QEMU",
                "hypervisor_version": 7002000,
                "host_ip": "192.0.2.1",
                "vcpus": 8,
                "memory_mb": 8192,
                "disk_gb": 100,
                "cpu_info": '{"arch": "x86_64"}',
            }
            | changed
        )
        service = (hosts.COMPUTE, HostName(name), "compute")
        hosts.beat(self.cell_db, service, [report], utcnow())
        map_hosts(self.api_db, CELL, [HostName(name)])

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        version: str = "2.96",
        token: str = ADMIN,
        roles: str | None = None,
    ) -> falcon.testing.Result:
        """Ask the API at a microversion under a token, which may come with other roles than usual."""
        headers = {"X-Auth-Token": token, "OpenStack-API-Version": f"compute {version}"}
        headers |= {"X-Roles": roles} if roles is not None else {}
        result = self.client.simulate_request(method, f"/v2.1{path}", json=body, headers=headers)
        asked = Asked(method, path, body, negotiate(version))
        wrong = wrong_with(asked, Answered(result.status_code, result.headers, result.content))
        self.assertIsNone(wrong, f"{method} {path} at {version}: {wrong}")
        return result

    def asked(
        self, status: int, method: str, path: str, body: Any = None, **how: str
    ) -> dict[str, Any]:
        """Ask, expect a status, and return the body."""
        result = self.ask(method, path, body, **how)
        self.assertEqual(status, result.status_code, f"{method} {path}: {result.text}")
        document: dict[str, Any] = result.json if result.content else {}
        return document

    def refused(
        self, status: int, says: str, method: str, path: str, body: Any = None, **how: str
    ) -> None:
        """Ask, and expect a fault whose sentence says something."""
        document = self.asked(status, method, path, body, **how)
        (fault,) = document.values()
        self.assertEqual(status, fault["code"])
        self.assertIn(says, fault["message"])
