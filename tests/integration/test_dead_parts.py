"""Parts that die while servers are asked for: the request is refused with 503, or carried through."""

import signal
from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

import requests

from tests.integration import health, services
from tests.integration.case import BootTest, eventually
from tests.integration.deployment import Deployment, fake_hosts
from tests.integration.services.keystone import DEMO

PATIENCE = 90
"""Seconds. What nobody took up is driven again after 15; what no host began, after 30."""


class DeadPartsTest(BootTest):
    """One part after the other is killed and comes back."""

    image: ClassVar[str]

    @classmethod
    def describe(cls) -> Deployment:
        """Return a deployment with two fake hosts."""
        return Deployment("dead", services.mariadb(), [fake_hosts("fake", 2)])

    @classmethod
    def setUpClass(cls) -> None:
        """Make what a server is made of."""
        super().setUpClass()
        cls.deployment.openstack(
            *(
                "flavor",
                "create",
                "--id",
                "tiny",
                "--ram",
                "64",
                "--vcpus",
                "1",
                "--disk",
                "1",
                "tiny",
            )
        )
        file = cls.deployment.directory / "image"
        file.write_bytes(b"never read")
        made = cls.deployment.openstack_json(
            *("image", "create", "--public", "--container-format", "bare", "--disk-format", "raw"),
            *("--file", str(file), "dead"),
        )
        cls.image = made["id"]

    def ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        """Ask the Compute API."""
        headers = {
            "X-Auth-Token": self.deployment.token(DEMO),
            "OpenStack-API-Version": "compute 2.96",
        }
        url = self.deployment.compute_url + path
        return requests.request(method, url, json=body, headers=headers, timeout=60)

    def create(self) -> requests.Response:
        """Ask for a server."""
        server = {"name": "vm", "flavorRef": "tiny", "imageRef": self.image}
        return self.ask("POST", "/servers", {"server": server | {"networks": "none"}})

    def status_of(self, server: str) -> str:
        """Return a server's status."""
        return str(self.ask("GET", f"/servers/{server}").json()["server"]["status"])

    def assert_carried_through(self, answer: requests.Response) -> None:
        """The server that was accepted becomes ACTIVE."""
        self.assertEqual(202, answer.status_code, answer.text)
        server = answer.json()["server"]["id"]
        eventually("the server is ACTIVE", PATIENCE, lambda: self.status_of(server) == "ACTIVE")

    def assert_missing(self, what: set[str], names: Iterable[str]) -> None:
        """Services come to say that this is away, or that nothing is."""

        def says(name: str) -> bool:
            missing = health.missing(self.deployment, name)
            return missing >= what if what else not missing

        for name in names:
            eventually(f"{name} misses {what}", PATIENCE, partial(says, name))

    def test_a_service_that_is_away(self) -> None:
        """Conductor, scheduler, Placement or host: the server waits in BUILD, then boots."""
        for name in ("conductor", "scheduler", "placement", "fake"):
            self.deployment.processes[name].kill()
            self.deployment.processes[name].wait(10)
            answer = self.create()
            self.assertEqual(202, answer.status_code, f"{name}: {answer.text}")
            server = answer.json()["server"]["id"]
            self.assertEqual("BUILD", self.status_of(server), name)
            self.deployment.start_service(
                "compute" if name == "fake" else name, *HOSTS.get(name, ())
            )
            self.deployment.wait_ready(name)
            self.assert_carried_through(answer)

    def test_a_host_that_stands_still(self) -> None:
        """A host that is stopped in the middle, and goes on late, builds each server once."""
        self.deployment.processes["fake"].send(signal.SIGSTOP)
        answer = self.create()
        self.assertEqual(202, answer.status_code, answer.text)
        self.deployment.processes["fake"].send(signal.SIGCONT)
        self.assert_carried_through(answer)

    def test_a_broker_that_is_away(self) -> None:
        """A request is refused, or accepted and carried through when the broker is back."""
        services.rabbitmq().broker.kill()
        services.rabbitmq().broker.wait(10)
        self.assert_missing({"message bus"}, ALL_ON_THE_BUS)
        answer = self.create()
        self.assertIn(answer.status_code, (202, 503), answer.text)
        self.assertEqual(200, self.ask("GET", "/servers/detail").status_code)
        services.rabbitmq().start_broker()
        self.assert_missing(set(), ALL_ON_THE_BUS)
        if answer.status_code == 202:
            self.assert_carried_through(answer)
        self.assert_carried_through(self.create())

    def test_a_broker_that_is_short_of_memory(self) -> None:
        """A request is answered in time, and what was accepted is carried through afterwards."""
        broker = services.rabbitmq()
        self.addCleanup(broker.control, "set_vm_memory_high_watermark", "absolute", "1GiB")
        broker.control("set_vm_memory_high_watermark", "absolute", "1MiB")
        self.assert_missing({"message bus"}, ALL_ON_THE_BUS)
        answer = self.create()
        self.assertIn(answer.status_code, (202, 503), answer.text)
        broker.control("set_vm_memory_high_watermark", "absolute", "1GiB")
        self.assert_missing(set(), ALL_ON_THE_BUS)
        if answer.status_code == 202:
            self.assert_carried_through(answer)
        self.assert_carried_through(self.create())

    def test_a_database_that_is_away(self) -> None:
        """Requests are refused with 503, and nothing has to be started again."""
        server = services.mariadb()
        server.crash()
        for name, database in DATABASES.items():
            self.assert_missing({database}, [name])
        for answer in (self.create(), self.ask("GET", "/servers"), self.ask("GET", "/flavors")):
            self.assertEqual(503, answer.status_code, answer.text)
            self.assertNotIn("root@", answer.text)
        server.start_server()
        self.assert_missing(set(), DATABASES)
        self.assert_carried_through(self.create())


ALL_ON_THE_BUS = ("api", "conductor", "scheduler", "fake")
DATABASES = {
    "api": "api database",
    "conductor": "api database",
    "scheduler": "api database",
    "placement": "placement database",
}
"""Service -> the database that it cannot do without."""
HOSTS = {"fake": ("fake",)}
"""Part -> the host whose compute service it is."""
