"""Servers boot through every service, or end with a reason."""

from concurrent.futures import ThreadPoolExecutor

from tests.functional.pipeline.case import PipelineCase


class OneHost(PipelineCase):
    """What one host does."""

    def test_a_server_boots_and_goes_and_leaves_nothing(self) -> None:
        uuid = self.create("vm")
        server = self.until_status(uuid, "ACTIVE")
        self.assertEqual(1, server["OS-EXT-STS:power_state"])
        self.assertEqual({"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1}, self.held())
        self.assertEqual(1, self.quota_used())
        self.delete(uuid)
        self.assert_nothing_left()

    def test_each_stage_of_a_boot_is_an_event_that_succeeded(self) -> None:
        uuid = self.create("vm")
        self.until_status(uuid, "ACTIVE")
        self.assertEqual(
            {
                "api_accept_request": "Success",
                "schedule_instances": "Success",
                "scheduler_claim_resources": "Success",
                "compute__do_build_and_run_instance": "Success",
                "compute_networks": "Success",
                "compute_block_devices": "Success",
                "compute_spawn": "Success",
            },
            dict(self.events(uuid, "create")),
        )

    def test_a_server_stops_starts_and_reboots(self) -> None:
        uuid = self.create("vm")
        self.until_status(uuid, "ACTIVE")
        self.assertEqual(202, self.act(uuid, {"os-stop": None}).status_code)
        self.assertEqual(4, self.until_status(uuid, "SHUTOFF")["OS-EXT-STS:power_state"])
        refused = self.act(uuid, {"os-stop": None})
        self.assertEqual(409, refused.status_code)
        self.assertIn("vm_state stopped", refused.text)
        self.assertEqual(202, self.act(uuid, {"os-start": None}).status_code)
        self.until_status(uuid, "ACTIVE")
        self.assertEqual(202, self.act(uuid, {"reboot": {"type": "HARD"}}).status_code)
        self.until_status(uuid, "ACTIVE")
        self.until("it is idle", lambda: self.server(uuid)["OS-EXT-STS:task_state"] is None)
        whole = self.said(uuid)
        self.assertTrue(whole.endswith("\n"), whole)
        self.assertIn("hard reboot", self.said(uuid, 1))
        for length in (1, 3):
            self.assertEqual(whole.splitlines()[-length:], self.said(uuid, length).split("\n"))

    def said(self, uuid: str, length: int | None = None) -> str:
        """Return the end of what the guest said on its console, or all."""
        body = {} if length is None else {"length": length}
        output: str = self.act(uuid, {"os-getConsoleOutput": body}).json()["output"]
        return output

    def test_a_server_that_fits_nowhere_says_why_with_numbers(self) -> None:
        flavor = {"name": "huge", "id": "9", "vcpus": 1, "ram": 1 << 29, "disk": 1}
        self.ask("compute", "POST", "/flavors", {"flavor": flavor})
        self.ask("compute", "PUT", f"/os-quota-sets/{self.project}", {"quota_set": {"ram": -1}})
        server = self.until_status(self.create("vm", flavorRef="9"), "ERROR")
        self.assertEqual(
            "No valid host was found. 0 of 1 hosts fit: 1 lacks MEMORY_MB.",
            server["fault"]["message"],
        )
        self.assertIn(f"needs {1 << 29}", server["fault"]["details"])
        self.delete(server["id"])
        self.assert_nothing_left()


class SixteenHosts(PipelineCase):
    """How equal hosts fill."""

    hosts = 16
    more = "service_down_time = 3600\n[quota]\ninstances = -1\ncores = -1\nram = -1\n"

    def test_equal_hosts_fill_evenly_at_any_concurrency(self) -> None:
        with ThreadPoolExecutor(8) as clients:
            list(clients.map(lambda number: self.create(f"vm-{number}"), range(80)))
        self.create("many", min_count=80, max_count=80)
        self.until(
            "all are ACTIVE",
            lambda: [s["status"] for s in self.servers()] == ["ACTIVE"] * 160,
        )
        hosts = [server["OS-EXT-SRV-ATTR:host"] for server in self.servers()]
        counts = [hosts.count(host) for host in set(hosts)]
        self.assertEqual(16, len(counts))
        self.assertLessEqual(max(counts) - min(counts), 2, sorted(counts))
        self.assertEqual(160, self.held()["VCPU"])


class FailingHosts(PipelineCase):
    """Builds that fail."""

    hosts = 3
    script = [
        {"step": "spawn", "server": "twice", "times": 2, "error": "out of luck"},
        {"step": "spawn", "server": "never", "error": "out of luck"},
        {"step": "disks", "server": "broken", "error": "the image is broken", "abort": True},
    ]

    def test_a_failed_build_goes_to_the_next_alternate(self) -> None:
        server = self.until_status(self.create("twice"), "ACTIVE")
        self.assertEqual(["Error", "Error", "Success"], self.builds(server["id"]))
        claims = [r for e, r in self.events(server["id"], "create") if "claim_alternate" in e]
        self.assertEqual(["Success", "Success"], claims)
        self.assertEqual({"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1}, self.held())
        self.delete(server["id"])
        self.assert_nothing_left()

    def test_a_build_that_fails_everywhere_ends_in_error_with_the_reason(self) -> None:
        server = self.until_status(self.create("never"), "ERROR")
        self.assertEqual(
            "The server could not be built on any of 3 hosts: 3 said: out of luck",
            server["fault"]["message"],
        )
        told = server["fault"]["details"].splitlines()
        self.assertEqual(3, len({line.partition(":")[0] for line in told}), "each host once")
        self.assertEqual(["Error"] * 3, self.builds(server["id"]))
        self.assertEqual(server["fault"]["message"], self.action(server["id"], "create")["message"])
        self.until("its claim is free", lambda: not self.held())
        self.delete(server["id"])
        self.assert_nothing_left()

    def test_a_broken_image_is_tried_on_no_other_host(self) -> None:
        server = self.until_status(self.create("broken"), "ERROR")
        self.assertIn("No other host is tried", server["fault"]["message"])
        self.assertEqual(["Error"], self.builds(server["id"]))


class SlowHost(PipelineCase):
    """Deletes that race a build."""

    script = [{"step": "spawn", "server": "slow", "seconds": 1.0}]

    def test_a_delete_during_the_build_wins(self) -> None:
        uuid = self.create("slow")
        self.until("it spawns", lambda: self.server(uuid)["OS-EXT-STS:task_state"] == "spawning")
        self.delete(uuid)
        self.assert_nothing_left()

    def test_a_delete_right_after_the_create_wins(self) -> None:
        for number in range(10):
            uuid = self.create(f"vm-{number}")
            self.assertEqual(204, self.ask("compute", "DELETE", f"/servers/{uuid}").status_code)
        self.until("all are gone", lambda: not self.servers())
        self.assert_nothing_left()
