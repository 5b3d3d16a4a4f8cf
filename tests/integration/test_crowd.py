"""A crowd: four schedulers, four conductors, and a hundred servers more than there is room for."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from tests.integration import services
from tests.integration.case import BootTest, eventually
from tests.integration.deployment import Deployment, fake_hosts
from tests.integration.services.keystone import ADMIN

HOSTS, ROOM_OF_A_HOST = 20, 45
ROOM = HOSTS * ROOM_OF_A_HOST
REQUESTS = ROOM + 100
RAM, KEPT_FOR_THE_HOST = 64, 512


class CrowdTest(BootTest):
    """Twenty equal hosts, on each of which there is memory for 45 servers."""

    @classmethod
    def describe(cls) -> Deployment:
        """Return a deployment with room for exactly so many servers."""
        hosts = fake_hosts("crowd", HOSTS)
        hosts.plays["memory_mb"] = RAM * ROOM_OF_A_HOST + KEPT_FOR_THE_HOST
        return Deployment("crowd", services.mariadb(), [hosts], auth_strategy="noauth2")

    def setUp(self) -> None:
        """Let there be four schedulers, and as many conductors, which keep them all busy."""
        super().setUp()
        for number in range(1, 4):
            self.deployment.start_another("scheduler", f"scheduler-{number}")
            self.deployment.start_another("conductor", f"conductor-{number}")

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the Compute API, and return what it answers."""
        headers = {"X-Auth-Token": ADMIN, "OpenStack-API-Version": "compute 2.96"}
        url = self.deployment.compute_url + path
        answer = requests.request(method, url, json=body, headers=headers, timeout=60)
        self.assertLess(answer.status_code, 300, answer.text)
        return answer.json()

    def create(self, number: int) -> None:
        """Ask for one server."""
        server = {
            "name": f"vm-{number}",
            "flavorRef": "crowd",
            "imageRef": self.image,
            "networks": "none",
        }
        self.ask("POST", "/servers", {"server": server})

    def listed(self, path: str) -> list[dict[str, Any]]:
        """Return all pages of a list of servers."""
        found: list[dict[str, Any]] = []
        while page := self.ask("GET", path + (f"&marker={found[-1]['id']}" if found else "")):
            if not page["servers"]:
                break
            found += page["servers"]
        return found

    def test_as_many_boot_as_there_is_room_for_and_the_others_are_told_why(self) -> None:
        flavor = {"name": "crowd", "id": "crowd", "vcpus": 1, "ram": RAM, "disk": 1}
        self.ask("POST", "/flavors", {"flavor": flavor})
        self.image = _image()
        with ThreadPoolExecutor(8) as clients:
            list(clients.map(self.create, range(REQUESTS)))
        eventually(
            "none is being built",
            60,
            lambda: not self.ask("GET", "/servers?status=BUILD&limit=1")["servers"],
        )
        servers = self.listed("/servers/detail?limit=500")
        self.assertEqual(
            {"ACTIVE": ROOM, "ERROR": REQUESTS - ROOM}, dict(Counter(s["status"] for s in servers))
        )
        on_hosts = Counter(s["OS-EXT-SRV-ATTR:host"] for s in servers if s["status"] == "ACTIVE")
        self.assertEqual([ROOM_OF_A_HOST] * HOSTS, sorted(on_hosts.values()))
        told = Counter(s["fault"]["message"] for s in servers if s["status"] == "ERROR")
        sentence = f"0 of {HOSTS} hosts fit: {HOSTS} lack MEMORY_MB"
        self.assertEqual({f"No valid host was found. {sentence}.": REQUESTS - ROOM}, dict(told))
        self.assertEqual({"VCPU": ROOM, "MEMORY_MB": RAM * ROOM, "DISK_GB": ROOM}, self.allocated())
        # It exits 0 only where what is used is what is allocated.
        self.deployment.manage("placement", "audit")
        self._all_took_part()

    def _all_took_part(self) -> None:
        for name in ("scheduler", "scheduler-1", "scheduler-2", "scheduler-3"):
            self.assertIn("have a host", self.deployment.processes[name].log.read_text(), name)


def _image() -> str:
    """Register an image that fake hosts never read, and return its id."""
    url = services.glance().url + "/v2/images"
    session = services.keystone().session(ADMIN)
    wanted = {"name": "crowd", "disk_format": "raw", "container_format": "bare"}
    image = str(session.post(url, json=wanted | {"visibility": "public"}).json()["id"])
    headers = {"Content-Type": "application/octet-stream"}
    session.put(f"{url}/{image}/file", data=b"never read", headers=headers)
    return image
