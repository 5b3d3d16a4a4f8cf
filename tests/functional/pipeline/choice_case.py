"""A deployment on whose hosts choices are tried: what rows of tables of filters and weighers ask for."""

import json
import socket
from collections.abc import Mapping
from typing import Any

import requests

from kilonova.db.cells import mapped_hosts
from kilonova.db.engine import Database
from kilonova.embedded.identity import project_id
from kilonova.scheduler.service import SchedulerService
from tests.functional.pipeline.case import PipelineCase

ENDED = ("ACTIVE", "ERROR")


def host_name(number: int) -> str:
    """Return the name of a fake host."""
    return f"{socket.gethostname()}-{number}"


class ChoiceCase(PipelineCase):
    """Three fake hosts, of which the script says what each has."""

    hosts = 3

    def setUp(self) -> None:
        """Note the services, so that hosts can be disabled."""
        super().setUp()
        self.session = requests.Session()
        self.addCleanup(self.session.close)
        self.names = [host_name(number) for number in range(self.hosts)]
        listed = self.get("compute", "/os-services?binary=nova-compute")["services"]
        self.services = {one["host"]: one["id"] for one in listed}
        api_db = Database(f"sqlite:///{self.state}/api.db")
        self.addCleanup(api_db.dispose)
        self.until("hosts are mapped", lambda: len(mapped_hosts(api_db)) == self.hosts)

    def see(self) -> None:
        """Let the scheduler look at its hosts now, not only when it is time."""
        scheduler = self.deployment.part("scheduler")
        assert isinstance(scheduler, SchedulerService)
        scheduler.hosts.refresh()

    def reported(self) -> dict[str, tuple[int, int, int, dict[str, int]]]:
        """Return what the scheduler knows of each host: servers, busy, failed builds, images."""
        self.see()
        scheduler = self.deployment.part("scheduler")
        assert isinstance(scheduler, SchedulerService)
        return {
            state.host: (state.servers, state.busy, state.failed_builds, state.image_properties)
            for state in scheduler.hosts.all()
        }

    def set_enabled(self, host: str, *, enabled: bool) -> None:
        """Enable or disable a host."""
        status = "enabled" if enabled else "disabled"
        path = f"/os-services/{self.services[host]}"
        answer = self.ask("compute", "PUT", path, {"status": status})
        self.assertEqual(200, answer.status_code, answer.text)

    def add_aggregate(self, name: str, hosts: list[str], **metadata: str) -> int:
        """Make an aggregate of hosts, and return its number."""
        body: dict[str, Any] = {"aggregate": {"name": name}}
        made = self.ask("compute", "POST", "/os-aggregates", body).json()["aggregate"]
        path = f"/os-aggregates/{made['id']}/action"
        for host in hosts:
            joined = self.ask("compute", "POST", path, {"add_host": {"host": host}})
            self.assertEqual(200, joined.status_code, joined.text)
        self.set_metadata(made["id"], metadata)
        return int(made["id"])

    def set_metadata(self, number: int, metadata: Mapping[str, str | None]) -> None:
        """Change the metadata of an aggregate."""
        path = f"/os-aggregates/{number}/action"
        body = {"set_metadata": {"metadata": dict(metadata)}}
        answer = self.ask("compute", "POST", path, body)
        self.assertEqual(200, answer.status_code, answer.text)

    def add_flavor(self, name: str, extra_specs: Mapping[str, str], **changed: int) -> None:
        """Make a flavor of 1 VCPU, 128 MiB and 1 GiB whose id is its name."""
        flavor = {"name": name, "id": name, "vcpus": 1, "ram": 128, "disk": 1} | changed
        answer = self.ask("compute", "POST", "/flavors", {"flavor": flavor})
        self.assertEqual(200, answer.status_code, answer.text)
        if extra_specs:
            body = {"extra_specs": dict(extra_specs)}
            answer = self.ask("compute", "POST", f"/flavors/{name}/os-extra_specs", body)
            self.assertEqual(200, answer.status_code, answer.text)

    def add_image(self, properties: Mapping[str, str]) -> str:
        """Register an image that fake hosts never read; return its id."""
        document = {"name": "other", "disk_format": "raw", "container_format": "bare"}
        body = document | {"visibility": "public"} | dict(properties)
        made = self.ask("image", "POST", "/v2/images", body).json()
        url = f"{self.deployment.options.urls['image']}/v2/images/{made['id']}/file"
        headers = {"X-Auth-Token": f"admin:{self.project}"}
        headers |= {"Content-Type": "application/octet-stream"}
        self.session.put(url, data=b"never read", headers=headers, timeout=30)
        return str(made["id"])

    def request(
        self, server: Mapping[str, Any], hints: Mapping[str, Any], user: str = "admin"
    ) -> str:
        """Ask for a server as a user, and return its UUID."""
        wanted = {"name": "vm", "flavorRef": "1", "imageRef": self.image, "networks": "none"}
        body: dict[str, Any] = {"server": wanted | dict(server)}
        if hints:
            body["os:scheduler_hints"] = dict(hints)
        url = self.deployment.options.urls["compute"] + "/servers"
        headers = {
            "X-Auth-Token": f"{user}:{project_id(user)}",
            "OpenStack-API-Version": "compute 2.96",
        }
        answer = self.session.post(url, data=json.dumps(body), headers=headers, timeout=30)
        self.assertEqual(202, answer.status_code, answer.text)
        return str(answer.json()["server"]["id"])

    def ended(self, uuid: str) -> dict[str, Any]:
        """Wait until a server is built or refused, and return it."""
        shown: list[dict[str, Any]] = []

        def has_ended() -> bool:
            shown[:] = [self.server(uuid)]
            return shown[0]["status"] in ENDED

        self.until("it is built, or refused", has_ended)
        return shown[0]

    def host_of(self, uuid: str) -> str:
        """Return the host of a server that was built."""
        server = self.ended(uuid)
        self.assertEqual("ACTIVE", server["status"], server.get("fault"))
        return str(server["OS-EXT-SRV-ATTR:host"])

    def why_not(self, uuid: str) -> str:
        """Return why a server has no host."""
        server = self.ended(uuid)
        self.assertEqual("ERROR", server["status"], server["OS-EXT-SRV-ATTR:host"])
        return str(server["fault"]["message"]).removeprefix("No valid host was found. ")
