"""Decisions explained and planned by the commands, every service a process of its own."""

import json
import os
from typing import Any

from tests.integration import services
from tests.integration.case import BootTest, eventually
from tests.integration.deployment import COMMANDS, Deployment, fake_hosts
from tests.integration.services.keystone import ADMIN, DEMO
from tests.integration.services.process import CommandFailed, run

HOSTS = 12
MEMORY = 1024
"""MiB of each host."""


class ExplainTest(BootTest):
    """Twelve pretended hosts behind a real Keystone; the memory of none holds the large flavor."""

    @classmethod
    def describe(cls) -> Deployment:
        """Return the deployment."""
        hosts = fake_hosts("x", HOSTS)
        hosts.plays["memory_mb"] = MEMORY
        hosts.sections["DEFAULT"] = {"reserved_host_memory_mb": 0}
        return Deployment("explain", services.postgresql(), [hosts])

    def setUp(self) -> None:
        """Make what servers are made of."""
        super().setUp()
        self.add_flavor("small", 128)
        self.add_flavor("large", 4 * MEMORY)
        image = self.deployment.directory / "image"
        image.write_bytes(b"never read: pretended hosts run no guest")
        self.image = self.add_image(image, "raw")

    def kilonova(self, *words: str, user: str = ADMIN) -> str:
        """Run ``kilonova`` as a user of the cloud and return what it prints."""
        clouds = str(self.deployment.directory / "clouds.yaml")
        environment = os.environ | {"OS_CLIENT_CONFIG_FILE": clouds, "OS_CLOUD": user}
        return run([str(COMMANDS / "kilonova"), *words], env=environment, seconds=60)

    def told(self, *words: str, user: str = ADMIN) -> Any:
        """Return what a command prints as JSON."""
        return json.loads(self.kilonova(*words, "-f", "json", user=user))

    def create(self, name: str, flavor: str) -> str:
        """Ask for a server as a tenant and return its UUID."""
        server = ("server", "create", "--flavor", flavor, "--image", self.image, "--nic", "none")
        return str(self.deployment.openstack_json(*server, name, user=DEMO)["id"])

    def shown(self, server: str) -> Any:
        """Return a server as its owner sees it."""
        return self.deployment.openstack_json("server", "show", server, user=DEMO)

    def test_operators_learn_why_and_tenants_learn_what_they_may(self) -> None:
        """From a plan that fits to the request for which no host fits."""
        self.assert_planned()
        small = self.create("s1", "small")
        eventually("it is ACTIVE", 60, lambda: self.shown(small)["status"] == "ACTIVE")
        told = self.told("explain", "s1")
        host = self.deployment.openstack_json("server", "show", small)["OS-EXT-SRV-ATTR:host"]
        self.assertEqual([(small, host)], [(one["id"], one["host"]) for one in told["servers"]])
        self.assertIn("compute_spawn", [event["event"] for event in told["boot"]])
        self.assert_events_tell_where_the_time_went(small, told["servers"][0]["request_id"])

        large = self.create("l1", "large")
        eventually("it is in ERROR", 60, lambda: self.shown(large)["status"] == "ERROR")
        self.assertIn(
            "No valid host was found. 0 of 12 hosts fit: 12 lack MEMORY_MB.",
            str(self.shown(large)["fault"]),
        )
        table = self.kilonova("explain", large)
        self.assertIn(
            f"12 lack MEMORY_MB: needs {4 * MEMORY} MB, the best has {MEMORY} free", table
        )
        refused = self.assertRaises(CommandFailed, self.kilonova, "explain", large, user=DEMO)
        self.assertEqual(255, refused.status)
        self.assertIn("Policy doesn't allow kilonova:decisions:list", refused.stderr)
        self.delete_all()

    def assert_planned(self) -> None:
        """Plans tell whether all fit, by their exit status too, and take nothing."""
        words = ("plan", "--image", self.image, "--flavor")
        count = HOSTS * MEMORY // 128
        plan = self.told(*words, "small", "--count", str(count), user=DEMO)
        self.assertEqual((count, count), (plan["asked"], plan["placed"]))
        self.assertNotIn("host", plan["servers"][0])
        self.assertIn("host", self.told(*words, "small")["servers"][0])
        for user in (ADMIN, DEMO):
            failed = self.assertRaises(CommandFailed, self.kilonova, *words, "large", user=user)
            self.assertEqual(1, failed.status, failed.stderr)
        wrong = self.assertRaises(CommandFailed, self.kilonova, *words, "none")
        self.assertEqual(255, wrong.status)
        self.assertEqual(0, sum(self.allocated().values()))

    def assert_events_tell_where_the_time_went(self, server: str, request: str) -> None:
        """Every stage of the boot has ended well, in the eyes of the client too."""
        event = self.deployment.openstack_json("server", "event", "show", server, request)
        ends = {one["event"]: one["result"] for one in event["events"]}
        self.assertLessEqual(
            {"api_accept_request", "schedule_instances", "scheduler_claim_resources"}, ends.keys()
        )
        self.assertEqual({"Success"}, set(ends.values()))
