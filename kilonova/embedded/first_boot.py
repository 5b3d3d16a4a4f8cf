"""The first server, booted as any user would: through the HTTP APIs, each stage shown as it happens."""

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from keystoneauth1 import adapter, exceptions, session
from keystoneauth1.identity import v3

from kilonova.core.errors import KilonovaError
from kilonova.embedded.deployment import Deployment

FLAVORS = (
    ("m1.tiny", "1", 1, 128, 1),
    ("m1.small", "2", 1, 512, 5),
    ("m1.medium", "3", 2, 2048, 20),
)
IMAGE = "guest"
SERVER = "first"
_PATIENCE = 120.0
_BOOTED = "BOOT-OK"
_STAGES = {
    "schedule_instances": "scheduled",
    "compute_networks": "networks ready",
    "compute_block_devices": "disks ready",
    "compute_spawn": "guest started",
}

Say = Callable[[str], None]


class FirstBootFailed(KilonovaError):
    """The first server did not come up."""

    code = "first_boot_failed"


class FirstBoot:
    """A user of a deployment, who prepares what a first server needs and boots it."""

    def __init__(self, deployment: Deployment, say: Say) -> None:
        options = deployment.options
        password = deployment.accounts.passwords["admin"]
        auth = v3.Password(
            options.urls["identity"],
            username="admin",
            password=password,
            project_name="admin",
            user_domain_name="Default",
            project_domain_name="Default",
        )
        opened = session.Session(auth)
        self._compute = adapter.Adapter(
            opened, service_type="compute", default_microversion="2.96", raise_exc=False
        )
        self._image = adapter.Adapter(opened, service_type="image", raise_exc=False)
        self._has_console = options.hypervisor is None or options.hypervisor.virt_type != "test"
        self._say = say

    def prepare(self, guest: tuple[Path, str]) -> None:
        """Create the flavors and register the guest's image (path, disk format), where they are missing.

        Raises:
            FirstBootFailed: an API refused.
        """
        known = {
            flavor["name"] for flavor in self._ask(self._compute, "GET", "/flavors")["flavors"]
        }
        for name, flavor_id, vcpus, ram, disk in FLAVORS:
            if name not in known:
                flavor = {"name": name, "id": flavor_id, "vcpus": vcpus, "ram": ram, "disk": disk}
                self._ask(self._compute, "POST", "/flavors", {"flavor": flavor})
        if self._image_id() is None:
            path, disk_format = guest
            document = {
                "name": IMAGE,
                "disk_format": disk_format,
                "container_format": "bare",
                "visibility": "public",
            }
            made = self._ask(self._image, "POST", "/v2/images", document)
            with path.open("rb") as data:
                answer = self._image.put(
                    f"/v2/images/{made['id']}/file",
                    data=data,
                    headers={"Content-Type": "application/octet-stream"},
                )
            if answer.status_code != 204:
                raise FirstBootFailed(f"The image was not stored: {answer.text}")
            self._say(f"  image      {IMAGE}, {path.stat().st_size / 2**20:.1f} MiB, {disk_format}")

    def await_hosts(self, count: int) -> None:
        """Wait until this many compute hosts are up.

        Raises:
            FirstBootFailed: they did not come up.
        """
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            services = self._ask(self._compute, "GET", "/os-services?binary=nova-compute")[
                "services"
            ]
            if sum(service["state"] == "up" for service in services) >= count:
                return
            time.sleep(0.1)
        raise FirstBootFailed(f"The compute hosts were not up within {_PATIENCE:g} s; see the log.")

    def servers(self) -> list[dict[str, Any]]:
        """Return the servers that are there."""
        found: list[dict[str, Any]] = self._ask(self._compute, "GET", "/servers/detail")["servers"]
        return found

    def boot(self) -> None:
        """Boot the first server and show each stage with its time.

        Raises:
            FirstBootFailed: it did not become ACTIVE, with its fault; or its console never said so.
        """
        body = {
            "server": {
                "name": SERVER,
                "flavorRef": FLAVORS[0][1],
                "imageRef": self._image_id(),
                "networks": "none",
                "config_drive": self._has_console,
            }
        }
        began = time.monotonic()
        made = self._ask(self._compute, "POST", "/servers", body)["server"]
        self._tell(time.monotonic() - began, "accepted", made["id"])
        path = f"/servers/{made['id']}"
        server = self._await(path, began)
        self._tell(
            time.monotonic() - began, server["status"], f"on {server['OS-EXT-SRV-ATTR:host']}"
        )
        if self._has_console:
            self._show_console(path, began)

    def _await(self, path: str, began: float) -> dict[str, Any]:
        told: set[str] = set()
        while time.monotonic() - began < _PATIENCE:
            server: dict[str, Any] = self._ask(self._compute, "GET", path)["server"]
            ended = server["status"] in ("ACTIVE", "ERROR")
            for name, seconds in self._stages(path, server["created"]):
                if name not in told:
                    told.add(name)
                    self._tell(seconds, _STAGES[name], "")
            if server["status"] == "ERROR":
                fault = server.get("fault", {})
                raise FirstBootFailed(
                    f"The first server is in ERROR: {fault.get('message', 'no reason was given')}"
                )
            if ended:
                return server
            time.sleep(0.1)
        raise FirstBootFailed(f"The first server was not ACTIVE within {_PATIENCE:g} s.")

    def _stages(self, path: str, created: str) -> list[tuple[str, float]]:
        actions = self._ask(self._compute, "GET", f"{path}/os-instance-actions")["instanceActions"]
        if not actions:
            return []
        action = self._ask(
            self._compute, "GET", f"{path}/os-instance-actions/{actions[-1]['request_id']}"
        )["instanceAction"]
        start = datetime.fromisoformat(action["start_time"])
        done = [
            (event["event"], (datetime.fromisoformat(event["finish_time"]) - start).total_seconds())
            for event in action["events"]
            if event["finish_time"] and event["result"] == "Success" and event["event"] in _STAGES
        ]
        return sorted(done, key=lambda stage: stage[1])

    def _show_console(self, path: str, began: float) -> None:
        text = ""
        while time.monotonic() - began < _PATIENCE:
            text = self._ask(
                self._compute, "POST", f"{path}/action", {"os-getConsoleOutput": {"length": 20}}
            )["output"]
            if _BOOTED in text:
                break
            time.sleep(0.2)
        else:
            raise FirstBootFailed(f"The guest's console never said {_BOOTED}; it said:\n{text}")
        self._tell(time.monotonic() - began, "guest is up", "")
        self._say("")
        for line in text.splitlines():
            if "kilonova-guest" in line or _BOOTED in line:
                self._say(
                    "    | " + "".join(c for c in line if c.isprintable()).removeprefix("[2J")
                )

    def _image_id(self) -> str | None:
        found = self._ask(self._image, "GET", f"/v2/images?name={IMAGE}")["images"]
        return next((image["id"] for image in found if image["status"] == "active"), None)

    def _tell(self, seconds: float, what: str, more: str) -> None:
        self._say(f"  {seconds:7.2f} s  {what:16}{more}".rstrip())

    def _ask(self, http: adapter.Adapter, method: str, path: str, body: Any = None) -> Any:
        try:
            answer = http.request(path, method, json=body)
        except exceptions.ClientException as error:
            raise FirstBootFailed(f"{method} {path}: {error}") from error
        if answer.status_code >= 400:
            raise FirstBootFailed(f"{method} {path} answered {answer.status_code}: {answer.text}")
        return answer.json()
