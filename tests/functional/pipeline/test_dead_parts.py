"""Parts that are away, messages that are lost or come twice: what was accepted is carried through once.

Each test takes one part away, asks for something, and brings the part back.
"""

import time
from collections import Counter
from datetime import timedelta
from typing import Any

from kilonova.conductor import patience
from kilonova.db import build_requests
from kilonova.rpc.memory import MemoryBus
from kilonova.rpc.messages import BuildInstance, BuildServers
from tests.functional.pipeline.case import PipelineCase
from tests.functional.pipeline.wire import Outage, Wire

NOT_YET = 0.4
"""Seconds for which nothing must happen."""


class DeadPartsCase(PipelineCase):
    """Two hosts, a converger that waits half a second before it sends something again, and leases of
    three seconds."""

    hosts = 2

    def setUp(self) -> None:
        for name in ("UNTOUCHED", "NOT_BEGUN", "NOT_DELETED"):
            self.patch(patience, name, timedelta(seconds=0.5))
        self.patch(build_requests, "LEASE", timedelta(seconds=3))
        super().setUp()
        self.wire = Wire(self)
        self.outage = Outage(self)

    def status(self, uuid: str) -> str:
        """Return a server's status."""
        return str(self.server(uuid)["status"])

    def stays_building(self, uuid: str) -> None:
        """Check that a server does not come up for a while."""
        self.assertRaises(
            AssertionError,
            self.until,
            "it comes up",
            lambda: self.status(uuid) != "BUILD",
            seconds=NOT_YET,
        )

    def booted_once(self, uuid: str) -> None:
        """Check that a server becomes ACTIVE by one build and holds what it should; then delete it."""
        self.until_status(uuid, "ACTIVE")
        self.assertEqual(["Success"], self.builds(uuid))
        self.assertEqual({"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1}, self.held())
        self.assertEqual(1, self.quota_used())
        self.delete(uuid)
        self.assert_nothing_left()


class DeadServices(DeadPartsCase):
    """A service is away when a server is asked for."""

    def _boot_without(self, part: str) -> None:
        self.deployment.stop_part(part)
        uuid = self.create("vm")
        self.stays_building(uuid)
        self.deployment.start_part(part)
        self.booted_once(uuid)

    def test_a_server_boots_when_the_conductor_is_back(self) -> None:
        self._boot_without("conductor")

    def test_a_server_boots_when_the_scheduler_is_back(self) -> None:
        self._boot_without("scheduler")

    def test_a_server_boots_when_placement_is_back(self) -> None:
        self._boot_without("placement")

    def test_a_server_boots_when_its_host_is_back(self) -> None:
        self._boot_without("compute")

    def test_without_the_image_store_a_server_is_refused_and_nothing_is_counted(self) -> None:
        self.deployment.stop_part("image")
        # Not the image that is kept from an earlier request.
        missing = "aaaaaaaa-0000-4000-8000-000000000001"
        server = {"name": "vm", "flavorRef": "1", "imageRef": missing, "networks": "none"}
        answer = self.ask("compute", "POST", "/servers", {"server": server})
        self.assertEqual(503, answer.status_code, answer.text)
        self.assertNotIn("http", answer.text)
        self.assert_nothing_left()

    def test_a_server_that_was_accepted_may_be_deleted_while_nobody_builds_it(self) -> None:
        self.deployment.stop_part("conductor")
        uuid = self.create("vm")
        self.delete(uuid)
        self.deployment.start_part("conductor")
        self.assert_nothing_left()

    def test_a_delete_is_carried_through_when_placement_is_back(self) -> None:
        uuid = self.create("vm")
        self.until_status(uuid, "ACTIVE")
        self.deployment.stop_part("placement")
        self.assertEqual(204, self.ask("compute", "DELETE", f"/servers/{uuid}").status_code)
        self.until("it is reported gone", lambda: self.wire.counts()["ReportInstances"] >= 3)
        self.deployment.start_part("placement")
        self.until("it is gone", lambda: not self.servers())
        self.assert_nothing_left()


class FailingBuild(DeadPartsCase):
    """A build fails while Placement is away."""

    script = [
        {"step": "spawn", "server": "once", "times": 1, "seconds": 2, "error": "out of luck"},
        {"step": "disks", "server": "broken", "seconds": 2, "error": "broken", "abort": True},
    ]

    def _fail_without_placement(self, name: str) -> str:
        uuid = self.create(name)
        self.until("it spawns", lambda: self.server(uuid)["OS-EXT-STS:task_state"] == "spawning")
        self.deployment.stop_part("placement")
        self.until("its failure is told", lambda: self.wire.counts()["ReportInstances"] >= 2)
        self.deployment.start_part("placement")
        return uuid

    def test_it_goes_to_its_next_host_when_placement_is_back(self) -> None:
        uuid = self._fail_without_placement("once")
        self.until_status(uuid, "ACTIVE")
        self.assertEqual(["Error", "Success"], self.builds(uuid))
        self.delete(uuid)
        self.assert_nothing_left()

    def test_it_holds_nothing_when_placement_is_back(self) -> None:
        uuid = self._fail_without_placement("broken")
        self.until_status(uuid, "ERROR")
        self.assertEqual(["Error"], self.builds(uuid))
        self.until("it holds nothing", lambda: self.held() == {})


class DeadDatabases(DeadPartsCase):
    """A database does not answer for a while."""

    script = [{"step": "spawn", "server": "slow", "seconds": 1.0}]

    def test_without_the_api_database_everything_is_refused_and_nothing_is_left_behind(
        self,
    ) -> None:
        uuid = self.create("vm")
        self.until_status(uuid, "ACTIVE")
        self.outage.away.add("api")
        server = {"name": "x", "flavorRef": "1", "imageRef": self.image, "networks": "none"}
        asked: list[tuple[str, str, Any]] = [
            ("POST", "/servers", {"server": server}),
            ("GET", "/servers/detail", None),
            ("GET", f"/servers/{uuid}", None),
            ("DELETE", f"/servers/{uuid}", None),
            ("POST", f"/servers/{uuid}/action", {"os-stop": None}),
        ]
        for method, path, body in asked:
            answer = self.ask("compute", method, path, body)
            self.assertEqual(503, answer.status_code, f"{method} {path}: {answer.text}")
        self.outage.away.clear()
        self.assertEqual([uuid], [one["id"] for one in self.servers()])
        self.assertEqual("ACTIVE", self.status(uuid))
        self.assertEqual(1, self.quota_used())

    def test_a_server_boots_when_the_database_of_its_cell_is_back(self) -> None:
        self.outage.away.add("cell1")
        uuid = self.create("vm")
        self.until("it was scheduled", lambda: self.wire.counts()["SelectDestinations"] >= 1)
        self.assertEqual(0, self.wire.counts()["BuildInstance"])
        self.outage.away.clear()
        self.booted_once(uuid)

    def test_a_scheduler_that_never_read_a_cells_hosts_refuses_nobody(self) -> None:
        for database in ("cell1", "api"):
            self.deployment.stop_part("scheduler")
            uuid = self.create("vm")
            self.outage.away.add(database)
            self.deployment.start_part("scheduler")
            time.sleep(NOT_YET)
            self.outage.away.clear()
            self.booted_once(uuid)

    def test_a_server_boots_when_the_database_of_placement_is_back(self) -> None:
        self.outage.away.add("placement")
        uuid = self.create("vm")
        self.stays_building(uuid)
        self.outage.away.clear()
        self.booted_once(uuid)

    def test_a_server_boots_when_the_api_database_is_back_that_went_after_the_acceptance(
        self,
    ) -> None:
        self.deployment.stop_part("conductor")
        uuid = self.create("vm")
        self.outage.away.add("api")
        self.deployment.start_part("conductor")
        self.until("it was tried", lambda: self.wire.counts()["BuildServers"] >= 1)
        self.outage.away.clear()
        self.booted_once(uuid)

    def test_a_build_that_ends_while_the_cells_database_is_away_is_told_when_it_is_back(
        self,
    ) -> None:
        uuid = self.create("slow")
        self.until("it spawns", lambda: self.server(uuid)["OS-EXT-STS:task_state"] == "spawning")
        self.outage.away.add("cell1")
        self.until("its end is told", lambda: self.wire.counts()["ReportInstances"] >= 3)
        self.outage.away.clear()
        self.booted_once(uuid)

    def test_a_server_that_is_deleted_while_it_cannot_be_placed_leaves_no_claim(self) -> None:
        self.outage.refused.add("INSERT INTO instances")
        uuid = self.create("vm")
        self.until("it is claimed", lambda: self.held().get("VCPU") == 1)
        self.delete(uuid)
        self.assertEqual(0, self.quota_used())
        self.outage.refused.clear()
        self.assert_nothing_left()

    def test_a_server_that_is_deleted_while_it_is_placed_leaves_nothing_anywhere(self) -> None:
        # It is in its cell, but not settled there.
        self.outage.refused.add("UPDATE instance_mappings SET cell_uuid")
        uuid = self.create("vm")
        self.until("it is claimed", lambda: self.held().get("VCPU") == 1)
        self.delete(uuid)
        self.outage.refused.clear()
        self.assert_nothing_left()
        self.assertEqual(0, self.wire.counts()["BuildInstance"])

    def test_a_delete_that_broke_off_half_way_gives_back_the_quota_in_the_end(self) -> None:
        uuid = self.create("vm")
        self.until_status(uuid, "ACTIVE")
        self.outage.refused.add("UPDATE instance_mappings")
        answer = self.ask("compute", "DELETE", f"/servers/{uuid}")
        self.assertEqual(503, answer.status_code, answer.text)
        self.outage.refused.clear()
        self.until("it is gone", lambda: not self.servers())
        self.assert_nothing_left()

    def test_an_action_without_the_cells_database_is_refused_and_changes_nothing(self) -> None:
        uuid = self.create("vm")
        self.until_status(uuid, "ACTIVE")
        self.outage.away.add("cell1")
        for method, path, body in (
            ("DELETE", f"/servers/{uuid}", None),
            ("POST", f"/servers/{uuid}/action", {"os-stop": None}),
        ):
            answer = self.ask("compute", method, path, body)
            self.assertEqual(503, answer.status_code, answer.text)
        self.outage.away.clear()
        self.assertEqual("ACTIVE", self.status(uuid))
        self.assertEqual(1, self.quota_used())


class BadBus(DeadPartsCase):
    """Messages are lost, come twice, or come late."""

    def test_a_server_that_was_accepted_without_a_broker_boots_when_it_is_back(self) -> None:
        self.wire.is_away = True
        uuid = self.create("vm")
        self.stays_building(uuid)
        self.wire.is_away = False
        self.booted_once(uuid)

    def test_any_lost_message_is_sent_again(self) -> None:
        for name in ("BuildServers", "BuildInstance"):
            self.wire.lost.add(name)
            uuid = self.create("vm")
            self.until("it is lost", lambda n=name: self.wire.counts()[n] >= 1)
            self.wire.lost.clear()
            self.booted_once(uuid)
            self.wire.sent.clear()

    def test_a_lost_delete_is_sent_again(self) -> None:
        uuid = self.create("vm")
        self.until_status(uuid, "ACTIVE")
        self.wire.lost.add("DeleteInstance")
        self.assertEqual(204, self.ask("compute", "DELETE", f"/servers/{uuid}").status_code)
        self.until("it is lost", lambda: self.wire.counts()["DeleteInstance"] >= 1)
        self.wire.lost.clear()
        self.until("it is gone", lambda: not self.servers())
        self.assertEqual([("compute_terminate_instance", "Success")], self.events(uuid, "delete"))
        self.assert_nothing_left()

    def test_messages_that_all_come_twice_build_once_and_delete_once(self) -> None:
        self.wire.repeated = {
            "BuildServers",
            "SelectDestinations",
            "BuildInstance",
            "BuildInstances",
            "ReportInstances",
            "DeleteInstance",
        }
        uuids = [self.create(f"vm-{number}") for number in range(5)]
        for uuid in uuids:
            self.until_status(uuid, "ACTIVE")
            self.assertEqual(["Success"], self.builds(uuid))
        self.assertEqual({"VCPU": 5, "MEMORY_MB": 640, "DISK_GB": 5}, self.held())
        for uuid in uuids:
            self.delete(uuid)
        self.assert_nothing_left()

    def test_a_request_to_build_that_is_delivered_again_builds_once(self) -> None:
        uuid = self.create("vm")
        bus = MemoryBus(f"memory://{self.state}")
        (sent,) = [one for one in self.wire.sent if isinstance(one[1], BuildServers)]
        for _ in range(10):
            bus.cast(sent[0], sent[1])
        self.until_status(uuid, "ACTIVE")
        bus.cast(sent[0], sent[1])
        self.booted_once(uuid)
        self.assertEqual(1, self.wire.counts()["BuildInstance"])

    def test_an_old_build_that_comes_late_does_nothing(self) -> None:
        uuid = self.create("vm")
        self.until_status(uuid, "ACTIVE")
        bus = MemoryBus(f"memory://{self.state}")
        context, message, host = next(
            one for one in self.wire.sent if isinstance(one[1], BuildInstance)
        )
        other = next(
            name
            for name in (s["host"] for s in self.get("compute", "/os-services")["services"])
            if name != host
        )
        for where in (host, other):
            before = self.wire.counts()["ReportInstances"]
            bus.cast(context, message, host=where)
            self.until(
                "it was asked for", lambda b=before: self.wire.counts()["ReportInstances"] > b
            )
        self.booted_once(uuid)
        before = self.wire.counts()["ReportInstances"]
        bus.cast(context, message, host=host)
        self.until("it was asked for", lambda: self.wire.counts()["ReportInstances"] > before)
        self.assert_nothing_left()

    def test_conductors_that_work_at_once_build_each_server_once(self) -> None:
        self.deployment.start_part("conductor")
        # The first conductor lives on beside it, and ends with the test.
        uuids = [self.create(f"vm-{number}") for number in range(10)]
        for uuid in uuids:
            self.until_status(uuid, "ACTIVE")
            self.assertEqual(["Success"], self.builds(uuid))
        built = Counter(build.instance.uuid for build in self.wire.builds())
        self.assertEqual(Counter(uuids), built)
