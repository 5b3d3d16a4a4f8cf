"""A deployment of three cells: on a virtual host each, and MariaDB, PostgreSQL and SQLite."""

import signal
from typing import Any

import requests
import sqlalchemy as sa

from tests.functional.db.forwarder import Forwarder
from tests.integration import services
from tests.integration.case import eventually
from tests.integration.deployment import Deployment, fake_hosts, merged, write_sections
from tests.integration.services.keystone import ADMIN

HOSTS = 3
"""Compute hosts in each cell."""
CELLS = ("cell1", "two", "three")


class CellsDeployment(Deployment):
    """cell1 on the top level's bus, and two more. PostgreSQL can be let go and come back."""

    def __init__(self, name: str) -> None:
        super().__init__(name, services.mariadb(), [fake_hosts("one", HOSTS)])
        self.forwarder = Forwarder(services.postgresql().port)

    def start(self) -> None:
        """Start the first cell, then the others."""
        super().start()
        url = sa.make_url(services.postgresql().url(f"{self.name}_two"))
        through = url.set(port=self.forwarder.port).render_as_string(hide_password=False)
        self._add_cell("two", through)
        self._add_cell("three", f"sqlite:///{self.directory}/three.sqlite")
        for name in ("two", "three"):
            self.wait_ready(f"{name}-conductor")
            self.wait_ready(name)
        eventually("all hosts are up", 120, lambda: self._up() == HOSTS * len(CELLS))

    def stop(self) -> dict[str, int]:
        """Stop every service at once, and what stands before PostgreSQL."""
        for process in self.processes.values():
            process.send(signal.SIGTERM)
        ended = super().stop()
        self.forwarder.stop()
        return ended

    def _add_cell(self, name: str, connection: str) -> None:
        bus = {"transport_url": services.rabbitmq().transport_url(f"{self.name}_{name}")}
        self.manage(
            *("cell", "create", "--name", name, "--database-connection", connection),
            *("--transport-url", bus["transport_url"]),
        )
        conductor = f"{name}-conductor"
        own: Any = {"DEFAULT": bus | {"host": conductor}, "database": {"connection": connection}}
        sections = merged(self._common_sections(), own)
        write_sections(self.directory / f"{conductor}.conf", sections)
        self.start_service("conductor", conductor)
        self.start_host(fake_hosts(name, HOSTS), {"DEFAULT": bus})

    def _up(self) -> int:
        answer = self.ask("GET", "/os-services?binary=nova-compute", user=ADMIN)
        return sum(service.get("state") == "up" for service in answer.json()["services"])

    def ask(self, method: str, path: str, body: Any = None, user: str = ADMIN) -> requests.Response:
        """Ask the Compute API."""
        headers = {"X-Auth-Token": self.token(user), "OpenStack-API-Version": "compute 2.96"}
        return requests.request(
            method, self.compute_url + path, json=body, headers=headers, timeout=60
        )
