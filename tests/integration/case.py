"""Test cases that run against a whole deployment, which their class starts once."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import requests
import testtools
from testtools.content import text_content

from tests.integration.deployment import Deployment
from tests.integration.services.keystone import DEMO


def eventually(what: str, seconds: float, condition: Callable[[], bool]) -> None:
    """Wait until a condition holds. Raises AssertionError, saying what should have come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"Not after {seconds:g} s: {what}")
        time.sleep(0.2)


class BootTest(testtools.TestCase):
    """A test against a deployment that its class starts once."""

    deployment: ClassVar[Deployment]

    @classmethod
    def describe(cls) -> Deployment:
        """Return the deployment that the class's tests run against."""
        raise NotImplementedError

    @classmethod
    def setUpClass(cls) -> None:
        """Start the deployment."""
        super().setUpClass()
        cls.deployment = cls.describe()
        cls.addClassCleanup(cls.deployment.stop)
        cls.deployment.start()

    def setUp(self) -> None:
        """Show the services' logs if the test fails."""
        super().setUp()
        self.addOnException(self._add_logs)

    def _add_logs(self, _info: Any) -> None:
        for name, tail in self.deployment.logs().items():
            self.addDetail(f"{name}.log", text_content(tail))

    def add_flavor(self, name: str, ram: int) -> None:
        """Make a flavor with one VCPU, ``ram`` MiB of memory and 1 GiB of disk."""
        self.deployment.openstack(
            *("flavor", "create", "--ram", str(ram), "--vcpus", "1", "--disk", "1", name)
        )

    def add_image(self, path: Path, disk_format: str) -> str:
        """Register a file as an image that everybody may use, and return its name."""
        name = f"guest-{self.deployment.name}"
        self.deployment.openstack(
            *("image", "create", "--public", "--container-format", "bare"),
            *("--disk-format", disk_format, "--file", str(path), name),
        )
        return name

    def servers(self, *options: str) -> list[dict[str, Any]]:
        """Return what ``openstack server list`` shows to the demo user."""
        listed: list[dict[str, Any]] = self.deployment.openstack_json(
            *("server", "list", *options), user=DEMO
        )
        return listed

    def statuses(self) -> set[str]:
        """Return the statuses in which servers are."""
        return {server["Status"] for server in self.servers("-n")}

    def allocated(self) -> dict[str, int]:
        """Return what Placement holds as used, over all hosts."""
        headers = {
            "X-Auth-Token": self.deployment.token(),
            "OpenStack-API-Version": "placement 1.28",
        }

        def get(path: str) -> Any:
            url = self.deployment.placement_url + path
            answer = requests.get(url, headers=headers, timeout=60)
            answer.raise_for_status()
            return answer.json()

        total: dict[str, int] = {}
        for provider in get("/resource_providers")["resource_providers"]:
            usages = get(f"/resource_providers/{provider['uuid']}/usages")["usages"]
            for resource, amount in usages.items():
                total[resource] = total.get(resource, 0) + amount
        return total

    def delete_all(self) -> None:
        """Delete every server of the demo user; nothing may be left of them."""
        # The client would look for their end every five seconds.
        if names := [server["ID"] for server in self.servers("-n")]:
            self.deployment.openstack("server", "delete", *names, user=DEMO)
            eventually("there is no server", 120, lambda: not self.servers("-n"))
        eventually("Placement holds no allocation", 120, lambda: not any(self.allocated().values()))
