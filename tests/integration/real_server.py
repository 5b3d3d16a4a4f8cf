"""A server with a real guest, as its administrator and its console show it.

Its guest is booted with ``SCRIPT``, which keeps a record on the guest's own disk, and counts.
"""

import re
from typing import Any

import requests

from tests.integration.case import eventually
from tests.integration.deployment import Deployment

SCRIPT = """\
#!/bin/sh
mkdir -p /other
mount -t vfat /dev/vda /mnt && echo started >>/mnt/starts && sync
mount -t vfat /dev/vdb /other 2>/dev/null && echo "OTHER DISK $(grep -c started /other/starts)"
echo "STARTS $(grep -c started /mnt/starts)"
umount /mnt /other 2>/dev/null
n=0
while sleep 0.5; do n=$((n+1)); echo "TICK $n"; done &
"""
"""Tells how often a guest was started from its disk, and the same of the disk that is being rescued."""

_SECONDS = 120


class RealServer:
    """One server."""

    def __init__(self, deployment: Deployment, uuid: str) -> None:
        self.uuid = uuid
        self._url = f"{deployment.compute_url}/servers/{uuid}"
        self._headers = {
            "X-Auth-Token": deployment.token(),
            "OpenStack-API-Version": "compute 2.80",
        }

    def ask(self, method: str, below: str = "", body: Any = None) -> requests.Response:
        """Ask the API about the server, or about what is below it, as the administrator.

        Raises:
            requests.HTTPError: it refused.
        """
        url = f"{self._url}/{below}".rstrip("/")
        answer = requests.request(method, url, json=body, headers=self._headers, timeout=60)
        answer.raise_for_status()
        return answer

    def act(self, action: str, arguments: Any = None) -> str:
        """Ask for an action, and return the request's id."""
        return self.ask("POST", "action", {action: arguments}).headers["x-openstack-request-id"]

    def shown(self) -> dict[str, Any]:
        """Return what the API shows."""
        found: dict[str, Any] = self.ask("GET").json()["server"]
        return found

    def host(self) -> str:
        """Return where the server is."""
        return str(self.shown()["OS-EXT-SRV-ATTR:host"])

    def task(self) -> str | None:
        """Return what is under way with it."""
        found: str | None = self.shown()["OS-EXT-STS:task_state"]
        return found

    def until(self, *statuses: str) -> str:
        """Wait until nothing is under way with the server and it has one of these; return which."""
        seen: dict[str, Any] = {}

        def settled() -> bool:
            seen.update(self.shown())
            return seen["OS-EXT-STS:task_state"] is None and seen["status"] in statuses

        try:
            eventually(f"it is {' or '.join(statuses)}", _SECONDS, settled)
        except AssertionError as error:
            state = {key: seen.get(key) for key in ("status", "OS-EXT-STS:task_state", "fault")}
            raise AssertionError(f"{error}: {state}") from None
        return str(seen["status"])

    def has_begun(self, request_id: str) -> bool:
        """Whether the host has begun with what a request asked for."""
        action = self.ask("GET", f"os-instance-actions/{request_id}").json()["instanceAction"]
        return bool(action["events"])

    # ---- what its guest says

    def said(self) -> str:
        """Return what the guest said, on this host and on those from which it came."""
        output = self.ask("POST", "action", {"os-getConsoleOutput": {}}).json()["output"]
        return str(output)

    def starts(self, since: str = "") -> list[int]:
        """Return how many starts the guest found on its disk, each time that it started."""
        said = self.said().removeprefix(since)
        return [int(number) for number in re.findall(r"STARTS (\d+)\s", said)]

    def until_started(self, starts: int, since: str = "") -> None:
        """Wait until that is the number that the guest found when it started last.

        ``since`` is what it had said when it was told to start, if it may have found as many before.
        """
        last = [starts]
        eventually(f"it says STARTS {starts}", _SECONDS, lambda: self.starts(since)[-1:] == last)

    def until_said(self, words: str) -> None:
        """Wait until the guest said something."""
        eventually(f"it says {words}", _SECONDS, lambda: words in self.said())

    def ticks(self) -> list[int]:
        """Return what the guest counted since its last start, oldest first."""
        since_start = self.said().rpartition("STARTS")[2]
        return [int(number) for number in re.findall(r"TICK (\d+)\s", since_start)]

    def until_ticks(self, more: int) -> list[int]:
        """Wait until the guest counted on, and return all that it counted since its last start."""
        before = self.said().count("TICK")
        eventually("it counts", _SECONDS, lambda: self.said().count("TICK") > before + more)
        return self.ticks()

    def memory_kb(self) -> int:
        """Return how much memory the guest found at its last start."""
        return int(re.findall(r"memory (\d+) kB", self.said())[-1])
