"""How services live: what they log, what signals do to them."""

import json
import signal
import time

import requests

from tests.integration import health, services
from tests.integration.case import BootTest, eventually
from tests.integration.deployment import Deployment, fake_hosts
from tests.integration.services.keystone import ADMIN, DEMO

SPAWN_SECONDS = 4


class ServicesTest(BootTest):
    """Services of one deployment with fake hosts that take their time."""

    @classmethod
    def describe(cls) -> Deployment:
        """Return a deployment with two fake hosts."""
        hosts = fake_hosts("fake", 2)
        hosts.plays["spawn_seconds"] = SPAWN_SECONDS
        return Deployment("life", services.mariadb(), [hosts])

    def create_server(self, image: str, flavor: str) -> requests.Response:
        """Ask for a server."""
        session = services.keystone().session(ADMIN)
        found = session.get(f"{services.glance().url}/v2/images?name={image}").json()
        wanted = {
            "name": "vm",
            "flavorRef": flavor,
            "imageRef": found["images"][0]["id"],
            "networks": "none",
        }
        headers = {
            "X-Auth-Token": self.deployment.token(DEMO),
            "OpenStack-API-Version": "compute 2.96",
        }
        url = f"{self.deployment.compute_url}/servers"
        return requests.post(url, json={"server": wanted}, headers=headers, timeout=60)

    def log_of(self, name: str) -> str:
        """Return what a service has logged."""
        return self.deployment.processes[name].log.read_text(errors="replace")

    def test_from_the_log_to_the_end(self) -> None:
        """One life: a request in every log, SIGHUP, SIGTERM twice in a build, SIGTERM."""
        self.add_flavor("m1.tiny", 64)
        flavor = self.deployment.openstack_json("flavor", "show", "m1.tiny")["id"]
        file = self.deployment.directory / "image"
        file.write_bytes(b"never read")
        image = self.add_image(file, "raw")

        self.reload()
        answer = self.create_server(image, flavor)
        self.assertEqual(202, answer.status_code, answer.text)
        request_id = answer.headers["x-openstack-request-id"]
        eventually("the server is ACTIVE", 120, lambda: self.statuses() == {"ACTIVE"})
        for name in ("api", "scheduler", "conductor", "fake"):
            self.assertIn(f"{request_id} ", self.log_of(name), name)
        self.assert_health()

        self.assertEqual(202, self.create_server(image, flavor).status_code)
        eventually("a server is being built", 120, lambda: "BUILD" in self.statuses())
        self.assert_second_sigterm_ends_at_once("fake")
        self.deployment.start_service("compute", "fake")
        self.deployment.wait_ready("fake")
        self.assert_everything_ends()

    def assert_health(self) -> None:
        """Every service tells how it and its dependencies are, and what it counts."""
        for name in ("api", "placement", "conductor", "scheduler", "fake"):
            status, body = self.get(name, "/healthcheck")
            self.assertEqual(200, status, f"{name}: {body}")
            self.assertEqual({"ok"}, set(json.loads(body)["dependencies"].values()), name)
            status, body = self.get(name, "/metrics")
            self.assertEqual(200, status, name)
        _, counted = self.get("api", "/metrics")
        self.assertIn('kilonova_http_requests_total{method="POST",status="202"}', counted)
        _, counted = self.get("conductor", "/metrics")
        self.assertIn("kilonova_converger_repairs_total", counted)

    def get(self, name: str, path: str) -> tuple[int, str]:
        """Ask a service."""
        return health.ask(self.deployment, name, path)

    def reload(self) -> None:
        """Turn on debugging by SIGHUP in every service, without a restart."""
        for path in self.deployment.directory.glob("*.conf"):
            with path.open("a") as file:
                file.write("[DEFAULT]\ndebug = true\n")
        for process in self.deployment.processes.values():
            process.send(signal.SIGHUP)
        said = "read again; changed: debug"
        eventually(
            f"they say {said}",
            10,
            lambda: all(said in self.log_of(name) for name in ("conductor", "scheduler", "fake")),
        )
        for name in ("api", "placement"):
            self.deployment.wait_ready(name)
        self.assertEqual({None}, {p.returncode for p in self.deployment.processes.values()})

    def assert_second_sigterm_ends_at_once(self, name: str) -> None:
        """In the middle of a build the first drains; the second does not wait for it."""
        process = self.deployment.processes[name]
        process.send(signal.SIGTERM)
        eventually("it drains", 5, lambda: "finishes what is in hand" in self.log_of(name))
        self.assertIs(None, process.returncode)
        began = time.monotonic()
        process.send(signal.SIGTERM)
        self.assertEqual(1, process.wait(SPAWN_SECONDS))
        self.assertLess(time.monotonic() - began, SPAWN_SECONDS / 2)

    def assert_everything_ends(self) -> None:
        """Every service ends with 0 within ten seconds of SIGTERM."""
        for name, process in self.deployment.processes.items():
            process.send(signal.SIGTERM)
            self.assertEqual(0, process.wait(10), name)
