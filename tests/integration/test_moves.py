"""Servers change hosts through the unmodified ``openstack`` client, on two hosts with real guests."""

import contextlib
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import libvirt
import requests
from testtools.content import text_content

from tests.integration import services
from tests.integration.case import BootTest, eventually
from tests.integration.deployment import Deployment, libvirt_host
from tests.integration.services.keystone import ADMIN, DEMO

GUEST_BUILDER = Path(__file__).parents[2] / "tools" / "guest" / "build.py"
HOSTS = ("contract", "contract-2")
COUNTS = """\
#!/bin/sh
mount /dev/vdb /mnt 2>/dev/null && echo started >>/mnt/starts
echo "STARTS $(grep -c started /mnt/starts)"
umount /mnt
n=0
while sleep 0.5; do n=$((n+1)); echo "TICK $n"; done &
"""


class MovesTest(BootTest):
    """One guest through every move."""

    @classmethod
    def describe(cls) -> Deployment:
        """Return a deployment with two hosts, each with a libvirt of its own."""
        hosts = [libvirt_host(name, services.libvirtd(name).uri, "qemu") for name in HOSTS]
        ha = {"evacuate_on_host_failure": "asked", "fence_command": "/bin/echo off is"}
        return Deployment("moves", services.mariadb(), hosts, settings={"ha": dict(ha)})

    def test_a_guest_counts_on_wherever_it_moves(self) -> None:
        """Live, aborted, through the death of its host's service; then resized, reverted, and moved."""
        self.boot()
        first = self.host()
        self.until_ticks(3)
        self.admin("server", "migrate", "--live-migration", "--wait", self.uuid)
        second = self.host()
        self.assertNotEqual(first, second)
        self.assert_ticks_went_on()

        # So slowly that there is time to change one's mind.
        self.hold_up(second)
        self.admin("server", "migrate", "--live-migration", self.uuid)
        self.abort_when_it_runs()
        self.assertEqual(second, self.host())
        self.assert_ticks_went_on()

        self.hold_up(second)
        self.admin("server", "migrate", "--live-migration", self.uuid)
        eventually("it is on its way", 120, lambda: bool(self.in_progress()))
        self.restart_in_the_middle(second)
        eventually("it is elsewhere", 120, lambda: self.hurried_away(second))
        self.assertEqual(first, self.host())
        self.assert_ticks_went_on()
        self.resize_and_move()
        self.evacuate()
        self.delete_all()
        for name in HOSTS:
            self.assertEqual([], services.libvirtd(name).domains())
            state = self.deployment.directory / f"{name}-state" / "instances"
            self.assertEqual([], [p.name for p in state.iterdir() if p.name[0] != "_"])

    def boot(self) -> None:
        """Boot a guest that counts, from an image and a config drive."""
        image = services.scratch() / "moving-guest.qcow2"
        subprocess.run([sys.executable, str(GUEST_BUILDER), str(image)], check=True)
        self.admin(
            *("flavor", "create", "--ram", "112", "--vcpus", "1", "--disk", "1"),
            *("--ephemeral", "1", "small"),
        )
        self.admin(
            *("flavor", "create", "--ram", "176", "--vcpus", "1", "--disk", "2"),
            *("--ephemeral", "1", "large"),
        )
        script = services.scratch() / "counts.sh"
        script.write_text(COUNTS)
        self.uuid = self.demo(
            *("server", "create", "--flavor", "small", "--image", self.add_image(image, "qcow2")),
            *("--nic", "none", "--use-config-drive", "--user-data", str(script)),
            *("--wait", "-f", "value", "-c", "id", "vm1"),
        ).strip()

    def resize_and_move(self) -> None:
        """Resize it, revert that, and migrate it while it is off; its disk goes along."""
        before = self.host()
        self.demo("server", "resize", "--flavor", "large", "--wait", self.uuid)
        self.until_said("STARTS 2")
        self.assertGreater(self.memory_kb(), 130 << 10)
        self.demo("server", "resize", "revert", self.uuid)
        eventually("it is as it was", 60, lambda: self.shown()["status"] == "ACTIVE")
        self.assertEqual(before, self.host())
        self.admin("server", "migrate", "--wait", self.uuid)
        self.assertNotEqual(before, self.host())
        self.demo("server", "resize", "confirm", self.uuid)
        eventually("it is confirmed", 120, lambda: self.shown()["status"] == "ACTIVE")
        left = self.deployment.directory / f"{before}-state" / "instances" / self.uuid
        eventually("its old host forgot it", 120, lambda: not left.exists())
        starts = 3 if before == self.host() else 4
        self.until_said(f"STARTS {starts}")

    def evacuate(self) -> None:
        """Let its host die and return: it runs elsewhere, and what the host still runs of it ends."""
        dead = self.host()
        self.demo("server", "set", "--property", "kilonova:evacuate=true", self.uuid)
        process = self.deployment.processes[dead]
        process.send(signal.SIGKILL)
        process.wait(10)
        died = time.monotonic()
        eventually("it is elsewhere", 60, lambda: self.host() != dead)
        eventually("it runs", 60, lambda: self.shown()["OS-EXT-STS:task_state"] is None)
        self.assertEqual("ACTIVE", self.shown()["status"])
        seconds = time.monotonic() - died
        self.addDetail("host death", text_content(f"ACTIVE elsewhere after {seconds:.1f} s"))
        self.assertLess(seconds, 60)
        self.until_said("STARTS 1")
        self.assertEqual(1, len(services.libvirtd(dead).domains()))
        self.deployment.start_service("compute", dead)
        eventually("its old guest is gone", 60, lambda: not services.libvirtd(dead).domains())
        self.deployment.wait_ready(dead)

    # ---- what is done

    def admin(self, *command: str) -> str:
        """Run the client as the administrator."""
        return self.deployment.openstack(*command, user=ADMIN, seconds=180)

    def demo(self, *command: str) -> str:
        """Run the client as the owner."""
        return self.deployment.openstack(*command, user=DEMO, seconds=180)

    def hold_up(self, host: str) -> None:
        """Let the guest leave a host at 1 MiB a second at most."""
        connection = libvirt.open(services.libvirtd(host).uri)
        self.addCleanup(connection.close)
        connection.lookupByUUIDString(self.uuid).migrateSetMaxSpeed(1)

    def abort_when_it_runs(self) -> None:
        """Abort the live migration that is in progress."""
        eventually("it is on its way", 120, lambda: bool(self.in_progress()))
        (number,) = self.in_progress()
        self.admin("server", "migration", "abort", self.uuid, str(number))
        eventually("it stays", 120, lambda: self.shown()["status"] == "ACTIVE")

    def in_progress(self) -> list[int]:
        """Return the numbers of the guest's live migrations that can be aborted."""
        listed = self.get("migrations")["migrations"]
        return [one["id"] for one in listed if one["status"] == "running"]

    def restart_in_the_middle(self, host: str) -> None:
        """Kill a host's compute service while it sends its guest, and start it again."""
        process = self.deployment.processes[host]
        process.send(signal.SIGKILL)
        process.wait(10)
        time.sleep(1)
        (domain,) = services.libvirtd(host).domains()
        self.assertEqual(libvirt.VIR_DOMAIN_RUNNING, domain.state()[0])
        self.deployment.start_service("compute", host)
        self.deployment.wait_ready(host)

    def hurried_away(self, host: str) -> bool:
        """Hold the guest up no more, wherever its next attempt is; whether it is done."""
        for domain in services.libvirtd(host).domains():
            with contextlib.suppress(libvirt.libvirtError):
                domain.migrateSetMaxSpeed(1000)
        return bool(self.shown()["status"] == "ACTIVE")

    # ---- what is seen

    def get(self, below: str = "") -> Any:
        """Return what the API says of the server, or of what is below it, to the administrator."""
        headers = {
            "X-Auth-Token": self.deployment.token(),
            "OpenStack-API-Version": "compute 2.80",
        }
        url = f"{self.deployment.compute_url}/servers/{self.uuid}/{below}".rstrip("/")
        answer = requests.get(url, headers=headers, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def shown(self) -> dict[str, Any]:
        """Return the server as the administrator sees it."""
        found: dict[str, Any] = self.get()["server"]
        return found

    def host(self) -> str:
        """Return where the server is."""
        return str(self.shown()["OS-EXT-SRV-ATTR:host"])

    def said(self) -> str:
        """Return what the guest said."""
        headers = {"X-Auth-Token": self.deployment.token()}
        url = f"{self.deployment.compute_url}/servers/{self.uuid}/action"
        body: dict[str, Any] = {"os-getConsoleOutput": {}}
        answer = requests.post(url, json=body, headers=headers, timeout=60)
        answer.raise_for_status()
        return str(answer.json()["output"])

    def ticks(self) -> list[int]:
        """Return what the guest counted, oldest first."""
        return [int(number) for number in re.findall(r"TICK (\d+)\s", self.said())]

    def until_ticks(self, more: int) -> list[int]:
        """Wait until the guest counted on, and return all that it counted."""
        before = len(self.ticks())
        eventually("it counts", 90, lambda: len(self.ticks()) >= before + more)
        return self.ticks()

    def until_said(self, words: str) -> None:
        """Wait until the guest said something."""
        eventually(f"it says {words}", 90, lambda: words in self.said())

    def memory_kb(self) -> int:
        """Return how much memory the guest found at its last start."""
        return int(re.findall(r"memory (\d+) kB", self.said())[-1])

    def assert_ticks_went_on(self) -> None:
        """The guest never started anew, and left no number out."""
        ticks = self.until_ticks(2)
        self.assertEqual(list(range(1, len(ticks) + 1)), ticks)
