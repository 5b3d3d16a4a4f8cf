"""Placement by itself, as osc-placement drives it: no Keystone, no bus, nothing else of kilonova."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import testtools

from tests.integration.services.keystone import PROGRAMS
from tests.integration.services.process import CommandFailed, Process, answers, run
from tests.ports import free_port

COMMANDS = Path(sys.executable).parent
HOST = "aaaaaaaa-0000-4000-8000-000000000001"
CARD = "aaaaaaaa-0000-4000-8000-000000000002"
SERVER = "bbbbbbbb-0000-4000-8000-000000000001"
RACK = "cccccccc-0000-4000-8000-000000000001"


class PlacementClientTest(testtools.TestCase):
    """One service, and one story."""

    def setUp(self) -> None:
        """Serve Placement on SQLite."""
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        directory = Path(scratch.name)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.conf = directory / "placement.conf"
        self.conf.write_text(
            f"[api]\nauth_strategy = noauth2\n[placement_api]\nbind_port = {port}\nworkers = 1\n"
            f"[placement_database]\nconnection = sqlite:///{directory}/placement.sqlite\n"
        )
        self.manage("db", "sync")
        service = Process(
            "kilonova-placement",
            [str(COMMANDS / "kilonova-placement"), "--config-file", str(self.conf)],
            log=directory / "placement.log",
        )
        self.addCleanup(service.stop)
        service.wait_ready(lambda: answers(self.url))

    def manage(self, *words: str) -> str:
        """Run ``kilonova-manage`` and return what it prints."""
        return run([str(COMMANDS / "kilonova-manage"), "--config-file", str(self.conf), *words])

    def openstack(self, *words: str, user: str = "admin", version: str = "1.39") -> str:
        """Run the client and return what it prints."""
        access = ["--os-auth-type", "admin_token", "--os-token", user, "--os-endpoint", self.url]
        command = [str(PROGRAMS / "openstack"), *access]
        return run([*command, "--os-placement-api-version", version, *words])

    def asked(self, *words: str, version: str = "1.39") -> Any:
        """Run the client and return what it shows as JSON."""
        return json.loads(self.openstack(*words, "-f", "json", version=version))

    def test_what_an_operator_does_with_it(self) -> None:
        made = self.asked("resource", "provider", "create", "host", "--uuid", HOST)
        self.assertEqual((HOST, "host", 0), (made["uuid"], made["name"], made["generation"]))
        self.openstack(
            *("resource", "provider", "create", "card", "--uuid", CARD),
            *("--parent-provider", HOST),
        )
        tree = self.asked("resource", "provider", "list", "--in-tree", CARD)
        self.assertEqual({HOST}, {provider["root_provider_uuid"] for provider in tree})
        self._inventories()
        self._traits_and_aggregates()
        self._allocations()
        self.assertEqual("0 found, 0 left\n", self.manage("placement", "audit"))
        self.assertIn("0 failed", self.manage("placement", "sync"))
        self.assertIn("0 failed", self.manage("placement", "heal"))

    def _inventories(self) -> None:
        inventory = ("resource", "provider", "inventory")
        resources = ("--resource", "VCPU=8", "--resource", "VCPU:allocation_ratio=2.0")
        self.openstack(*inventory, "set", HOST, *resources, "--resource", "MEMORY_MB=1024")
        self.openstack(*inventory, "set", CARD, "--resource", "VGPU=2")
        self.openstack(*inventory, "class", "set", CARD, "VGPU", "--total", "4")
        listed = {row["resource_class"]: row for row in self.asked(*inventory, "list", HOST)}
        self.assertEqual({"VCPU", "MEMORY_MB"}, set(listed))
        self.assertEqual((8, 2.0), (listed["VCPU"]["total"], listed["VCPU"]["allocation_ratio"]))
        self.assertEqual(4, self.asked(*inventory, "show", CARD, "VGPU")["total"])
        self.openstack("resource", "class", "create", "CUSTOM_FPGA")
        names = {row["name"] for row in self.asked("resource", "class", "list")}
        self.assertLess({"VCPU", "CUSTOM_FPGA"}, names)

    def _traits_and_aggregates(self) -> None:
        self.openstack("trait", "create", "CUSTOM_FAST")
        self.openstack(
            *("resource", "provider", "trait", "set", HOST),
            *("--trait", "CUSTOM_FAST", "--trait", "HW_CPU_X86_AVX"),
        )
        traits = self.asked("resource", "provider", "trait", "list", HOST)
        self.assertEqual({"CUSTOM_FAST", "HW_CPU_X86_AVX"}, {row["name"] for row in traits})
        generation = str(self.asked("resource", "provider", "show", HOST)["generation"])
        self.openstack(
            *("resource", "provider", "aggregate", "set", HOST),
            *("--aggregate", RACK, "--generation", generation),
        )
        found = self.asked(
            *("resource", "provider", "list", "--member-of", RACK),
            *("--required", "CUSTOM_FAST", "--resource", "VCPU=16"),
        )
        self.assertEqual([HOST], [provider["uuid"] for provider in found])

    def _allocations(self) -> None:
        candidates = self.asked(
            *("allocation", "candidate", "list", "--resource", "VCPU=4", "--resource", "VGPU=1"),
            *("--required", "CUSTOM_FAST"),
        )
        self.assertEqual({HOST, CARD}, {row["resource provider"] for row in candidates})
        self.openstack(
            *("resource", "provider", "allocation", "set", SERVER),
            *(
                "--allocation",
                f"rp={HOST},VCPU=4,MEMORY_MB=512",
                "--allocation",
                f"rp={CARD},VGPU=1",
            ),
            *("--project-id", "p", "--user-id", "u", "--consumer-type", "INSTANCE"),
        )
        usages = self.asked("resource", "provider", "usage", "show", HOST)
        used = {row["resource_class"]: row["usage"] for row in usages}
        self.assertEqual({"VCPU": 4, "MEMORY_MB": 512}, used)
        shown = self.asked("resource", "provider", "allocation", "show", SERVER)
        self.assertEqual({HOST, CARD}, {row["resource_provider"] for row in shown})
        refused = self.assertRaises(
            CommandFailed,
            self.openstack,
            *("resource", "provider", "allocation", "set", SERVER),
            *("--allocation", f"rp={HOST},VCPU=17", "--project-id", "p", "--user-id", "u"),
            *("--consumer-type", "INSTANCE"),
        )
        self.assertIn("exceed the capacity", str(refused))
        self.assertRaises(CommandFailed, self.openstack, "resource", "provider", "delete", CARD)
        self.openstack("resource", "provider", "allocation", "delete", SERVER)
        self.openstack("resource", "provider", "delete", CARD)

    def test_the_oldest_client_is_served_and_strangers_are_not(self) -> None:
        old = self.asked("resource", "provider", "create", "host", "--uuid", HOST, version="1.0")
        self.assertEqual(HOST, old["uuid"])
        refused = self.assertRaises(
            CommandFailed, self.openstack, "resource", "provider", "list", user="ann:ours"
        )
        self.assertIn("403", str(refused))
