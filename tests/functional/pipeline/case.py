"""A whole deployment in this process, on fake hosts, for tests that use it as its users do."""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
import testtools

from kilonova.api.versions import negotiate
from kilonova.db.schemas import Schema
from kilonova.embedded.boot_sector import disk_image
from kilonova.embedded.deployment import Deployment, Options
from kilonova.embedded.first_boot import FirstBoot
from kilonova.embedded.identity import project_id
from tests.functional.api.answers import Answered, Asked, wrong_with
from tests.functional.db.databases import empty_file
from tests.ports import free_ports

MICROVERSION = "2.104"
_DATABASES: tuple[tuple[str, Schema], ...] = (
    ("api", "api"),
    ("placement", "placement"),
    ("cell0", "cell"),
    ("cell1", "cell"),
)


def five_ports() -> tuple[int, int, int, int, int]:
    """Return five ports that nothing listens on."""
    a, b, c, d, e = free_ports(5)
    return a, b, c, d, e


class PipelineCase(testtools.TestCase):
    """One deployment a test."""

    hosts = 1
    script: list[dict[str, Any]] = []
    plays: dict[str, Any] = {}
    """What else the file of the fake hosts says."""
    more = ""

    def setUp(self) -> None:
        """Start the deployment, with a flavor and an image."""
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.state = Path(scratch.name)
        script = self.state / "script.yaml"
        # JSON is YAML.
        script.write_text(json.dumps({"hosts": self.hosts, "steps": self.script} | self.plays))
        more = f"[fake]\nscript = {script}\n[DEFAULT]\nconverge_interval = 1\n{self.more}"
        options = Options(state_dir=self.state, ports=five_ports(), hosts=self.hosts, more=more)
        for name, schema in _DATABASES:
            (self.state / f"{name}.db").write_bytes(empty_file(schema))
        self.deployment = Deployment(options)
        self.addCleanup(self.deployment.stop)
        self.deployment.start()
        user = FirstBoot(self.deployment, lambda _line: None)
        image = self.state / "image.raw"
        image.write_bytes(disk_image())
        user.prepare((image, "raw"))
        user.await_hosts(self.hosts)
        self.project = project_id("admin")
        self.image = self.get("image", "/v2/images")["images"][0]["id"]

    def ask(
        self,
        service: str,
        method: str,
        path: str,
        body: Any = None,
        version: str = MICROVERSION,
        placement: str = "1.28",
    ) -> requests.Response:
        """Ask a service as the admin user, the Compute API and Placement at a microversion."""
        url = self.deployment.options.urls[service] + path
        headers = {
            "X-Auth-Token": f"admin:{self.project}",
            "OpenStack-API-Version": f"compute {version}, placement {placement}",
        }
        answer = requests.request(method, url, json=body, headers=headers, timeout=60)
        if service == "compute":
            asked = Asked(method, path, body, negotiate(version))
            wrong = wrong_with(asked, Answered(answer.status_code, answer.headers, answer.content))
            self.assertIsNone(wrong, f"{method} {path}: {wrong}")
        return answer

    def get(self, service: str, path: str) -> Any:
        """Return what a service answers to a GET, which must succeed."""
        answer = self.ask(service, "GET", path)
        self.assertEqual(200, answer.status_code, answer.text)
        return answer.json()

    def create(self, name: str, **more: Any) -> str:
        """Create a server and return its UUID."""
        server = {"name": name, "flavorRef": "1", "imageRef": self.image, "networks": "none"} | more
        answer = self.ask("compute", "POST", "/servers", {"server": server})
        self.assertEqual(202, answer.status_code, answer.text)
        return str(answer.json()["server"]["id"])

    def server(self, uuid: str) -> dict[str, Any]:
        """Return a server as the API shows it."""
        shown: dict[str, Any] = self.get("compute", f"/servers/{uuid}")["server"]
        return shown

    def servers(self) -> list[dict[str, Any]]:
        """Return all servers in detail."""
        listed: list[dict[str, Any]] = self.get("compute", "/servers/detail")["servers"]
        return listed

    def act(self, uuid: str, body: dict[str, Any]) -> requests.Response:
        """Ask for an action on a server."""
        return self.ask("compute", "POST", f"/servers/{uuid}/action", body)

    def until(self, what: str, condition: Callable[[], bool], seconds: float = 120) -> None:
        """Wait for a condition; fail, saying what did not come true."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                self.fail(f"not within {seconds:g} s: {what}")
            time.sleep(0.05)

    def until_status(self, uuid: str, status: str) -> dict[str, Any]:
        """Wait until a server has a status and return it."""
        self.until(f"{uuid} is {status}", lambda: self.server(uuid)["status"] == status)
        return self.server(uuid)

    def action(self, uuid: str, action: str) -> dict[str, Any]:
        """Return the only action of a server that is called so."""
        path = f"/servers/{uuid}/os-instance-actions"
        listed = self.get("compute", path)["instanceActions"]
        (request,) = [one["request_id"] for one in listed if one["action"] == action]
        shown: dict[str, Any] = self.get("compute", f"{path}/{request}")["instanceAction"]
        return shown

    def events(self, uuid: str, action: str) -> list[tuple[str, str | None]]:
        """Return the events of a server's action with their results, as they began."""
        shown = self.action(uuid, action)["events"]
        begun = sorted(shown, key=lambda event: event["start_time"])
        return [(event["event"], event["result"]) for event in begun]

    def builds(self, uuid: str) -> list[str | None]:
        """Return the results of a server's builds, on one host after the other."""
        name = "compute__do_build_and_run_instance"
        return [result for event, result in self.events(uuid, "create") if event == name]

    def delete(self, uuid: str) -> None:
        """Delete a server and wait until it is gone."""
        self.assertEqual(204, self.ask("compute", "DELETE", f"/servers/{uuid}").status_code)
        path = f"/servers/{uuid}"
        self.until("it is gone", lambda: self.ask("compute", "GET", path).status_code == 404)

    def held(self) -> dict[str, int]:
        """Return what is used of all providers together."""
        total: dict[str, int] = {}
        for provider in self.get("placement", "/resource_providers")["resource_providers"]:
            usages = self.get("placement", f"/resource_providers/{provider['uuid']}/usages")
            for name, amount in usages["usages"].items():
                total[name] = total.get(name, 0) + amount
        return {name: amount for name, amount in total.items() if amount}

    def quota_used(self) -> int:
        """Return how many servers the project's quota counts."""
        limits = self.get("compute", "/limits")["limits"]["absolute"]
        return int(limits["totalInstancesUsed"])

    def assert_nothing_left(self) -> None:
        """Assert that no server, no allocation and no use of quota is left."""
        self.until("nothing is allocated", lambda: not self.held())
        # What was being placed while it was deleted is in its cell for a moment.
        self.until("no server is left", lambda: not self.servers())
        self.assertEqual(0, self.quota_used())
