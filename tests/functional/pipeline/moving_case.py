"""Servers that move, on fake hosts: what every test of moves looks at when it is over."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from kilonova.conductor import patience
from kilonova.db import build_requests, moves
from tests.functional.pipeline.case import PipelineCase
from tests.functional.pipeline.wire import Outage, Wire

SMALL = {"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1}
LARGE = {"VCPU": 2, "MEMORY_MB": 256, "DISK_GB": 2}
BOTH = {"VCPU": 3, "MEMORY_MB": 384, "DISK_GB": 3}


class MovingCase(PipelineCase):
    """Three hosts, flavor 1 and the larger flavor "large", and a converger that waits half a second."""

    hosts = 3

    def setUp(self) -> None:
        for name in ("UNTOUCHED", "NOT_BEGUN", "NOT_DELETED"):
            self.patch(patience, name, timedelta(seconds=0.5))
        self.patch(patience, "STANDS_STILL", timedelta(seconds=0.5))
        self.patch(build_requests, "LEASE", timedelta(seconds=3))
        self.patch(moves, "LEASE", timedelta(seconds=3))
        self._hurried = 0.0
        super().setUp()
        large = {"id": "large", "name": "large", "vcpus": 2, "ram": 256, "disk": 2}
        answer = self.ask("compute", "POST", "/flavors", {"flavor": large})
        self.assertEqual(200, answer.status_code, answer.text)
        self.wire = Wire(self)
        self.outage = Outage(self)

    def until(self, what: str, condition: Callable[[], bool], seconds: float = 120) -> None:
        """See ``PipelineCase``; the converger makes a round as often as every 0.3 seconds meanwhile."""

        def hurried() -> bool:
            conductor: Any = self.deployment._running.get("conductor")
            if conductor is not None and time.monotonic() > self._hurried + 0.3:
                self._hurried = time.monotonic()
                conductor._converger.hurry()
            return condition()

        super().until(what, hurried, seconds)

    def active(self, name: str, **more: Any) -> str:
        """Create a server, wait until it is ACTIVE, and return its UUID."""
        uuid = self.create(name, **more)
        self.until_status(uuid, "ACTIVE")
        return uuid

    def asked_for(self, uuid: str, action: dict[str, Any], status: int = 202) -> None:
        """Ask for an action that is accepted."""
        answer = self.act(uuid, action)
        self.assertEqual(status, answer.status_code, answer.text)

    def host(self, uuid: str) -> str:
        """Return the host of a server."""
        return str(self.server(uuid)["OS-EXT-SRV-ATTR:host"])

    def hosts_named(self) -> list[str]:
        """Return the names of all hosts."""
        services = self.get("compute", "/os-services?binary=nova-compute")["services"]
        return sorted(service["host"] for service in services)

    def until_idle(self, uuid: str, status: str) -> dict[str, Any]:
        """Wait until a server has a status and no task, and return it."""

        def idle() -> bool:
            server = self.server(uuid)
            return server["status"] == status and server["OS-EXT-STS:task_state"] is None

        self.until(f"{uuid} is {status} and idle", idle)
        return self.server(uuid)

    def migrations(self, uuid: str) -> list[dict[str, Any]]:
        """Return the migrations of a server, the newest first."""
        found: list[dict[str, Any]] = self.get("compute", f"/os-migrations?instance_uuid={uuid}")[
            "migrations"
        ]
        return found

    def until_migration(self, uuid: str, status: str) -> dict[str, Any]:
        """Wait until the newest migration of a server has a status, and return it."""
        self.until(
            f"the migration is {status}",
            lambda: [m["status"] for m in self.migrations(uuid)[:1]] == [status],
        )
        return self.migrations(uuid)[0]

    def until_held(self, amounts: dict[str, int]) -> None:
        """Wait until exactly this is allocated in all."""
        self.until(f"{amounts} is allocated", lambda: self.held() == amounts)

    def guests(self) -> dict[str, list[str]]:
        """Return on which hosts there is a guest of each server."""
        found: dict[str, list[str]] = {}
        for service in self.deployment._running["compute"]._services:  # type: ignore[attr-defined]
            for uuid, guest in service._driver.guests().items():
                found.setdefault(uuid, []).append(f"{service._host} {guest.power.name}")
        return found

    def settled(self, uuid: str, status: str, amounts: dict[str, int]) -> None:
        """Check that nothing of a move is left: one guest, one claim, on the host that the API shows."""
        self.until_idle(uuid, status)
        self.until_held(amounts)
        power = "SHUTDOWN" if status == "SHUTOFF" else "RUNNING"
        only = {uuid: [f"{self.host(uuid)} {power}"]}
        self.until(f"the guests are {only}", lambda: self.guests() == only)
        self.assert_claimed_once(uuid)

    def assert_claimed_once(self, uuid: str) -> None:
        """Check that each claim is a server's, on its host."""
        host = self.host(uuid)
        for provider in self.get("placement", "/resource_providers")["resource_providers"]:
            path = f"/resource_providers/{provider['uuid']}/allocations"
            holders = set(self.get("placement", path)["allocations"])
            self.assertEqual({uuid} if provider["name"] == host else set(), holders)

    def gone(self, uuid: str) -> None:
        """Delete a server, and check that nothing of it is left anywhere."""
        self.delete(uuid)
        self.assert_nothing_left()
        self.until("no guest is left", lambda: self.guests() == {})
