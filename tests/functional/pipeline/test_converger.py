"""What the converger mends in a deployment: builds that go elsewhere, claims that are left behind."""

from datetime import timedelta

from kilonova.compute.inventory import provider_uuid
from kilonova.conductor import patience
from kilonova.db import build_requests
from tests.functional.pipeline.case import PipelineCase
from tests.functional.pipeline.wire import Outage, Wire


class ConvergerCase(PipelineCase):
    """A converger that waits half a second before it takes something to have stopped."""

    hosts = 2

    def setUp(self) -> None:
        for name in ("UNTOUCHED", "NOT_BEGUN", "NOT_DELETED"):
            self.patch(patience, name, timedelta(seconds=0.5))
        self.patch(build_requests, "LEASE", timedelta(seconds=3))
        super().setUp()
        self.wire = Wire(self)
        self.outage = Outage(self)

    def host_of(self, uuid: str) -> str:
        """Return the host where a server is."""
        return str(self.server(uuid)["OS-EXT-SRV-ATTR:host"])

    def force_down(self, host: str, *, down: bool = True) -> None:
        """Say that a host is dead, or that it is not."""
        services = self.get("compute", "/os-services")["services"]
        (service,) = [one["id"] for one in services if one["host"] == host]
        answer = self.ask("compute", "PUT", f"/os-services/{service}", {"forced_down": down})
        self.assertEqual(200, answer.status_code, answer.text)


class HostIsAwayTest(ConvergerCase):
    """The host that a server was to be built on takes no messages."""

    script = [{"step": "spawn", "server": "slow", "seconds": 3.0}]

    def test_a_build_that_a_dead_host_did_not_begin_goes_to_another(self) -> None:
        self.wire.lost.add("BuildInstance")
        uuid = self.create("vm")
        self.until("it is sent", lambda: self.wire.counts()["BuildInstance"] >= 1)
        chosen = self.host_of(uuid)
        self.force_down(chosen)
        self.wire.lost.clear()
        self.until_status(uuid, "ACTIVE")
        self.assertNotEqual(chosen, self.host_of(uuid))
        self.assertEqual({"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1}, self.held())

    def test_a_build_that_a_dead_host_had_begun_goes_to_another(self) -> None:
        uuid = self.create("slow")
        self.until("it spawns", lambda: self.server(uuid)["OS-EXT-STS:task_state"] == "spawning")
        dead = self.host_of(uuid)
        self.force_down(dead)
        self.until("it is elsewhere", lambda: self.host_of(uuid) != dead)
        self.until_status(uuid, "ACTIVE")
        self.assertNotEqual(dead, self.host_of(uuid))
        self.assertEqual({"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1}, self.held())
        # What the host that was not dead after all had made is refused by the cell, and removed.
        self.force_down(dead, down=False)
        statistics = "/os-hypervisors/statistics"

        def guests() -> int:
            answer = self.ask("compute", "GET", statistics, version="2.87")
            return int(answer.json()["hypervisor_statistics"]["running_vms"])

        self.until("there is one guest", lambda: guests() == 1)

    def test_a_server_on_a_dead_host_can_be_deleted(self) -> None:
        uuid = self.create("vm")
        self.until_status(uuid, "ACTIVE")
        self.force_down(self.host_of(uuid))
        self.wire.lost.add("DeleteInstance")
        self.delete(uuid)
        self.assert_nothing_left()


class WithdrawnTest(ConvergerCase):
    """A conductor that waits for a scheduler's answer while the server's owner deletes the server."""

    def setUp(self) -> None:
        super().setUp()
        # As it is, so that nobody else takes the build request up meanwhile.
        self.patch(build_requests, "LEASE", timedelta(seconds=60))

    def test_a_claim_for_a_server_that_is_gone_is_free_before_its_conductor_is_heard_again(
        self,
    ) -> None:
        self.wire.unanswered.add("SelectDestinations")
        self.addCleanup(self.wire.answers_fail)
        uuid = self.create("vm")
        self.until("it is claimed for", lambda: bool(self.held()))
        self.assertEqual(204, self.ask("compute", "DELETE", f"/servers/{uuid}").status_code)
        self.assertEqual([], self.servers())
        # A round or two; the conductor waits for 55 seconds.
        self.until("its claim is free", lambda: not self.held(), seconds=20)
        self.wire.answers_fail()
        self.assert_nothing_left()


class OldMoveTest(ConvergerCase):
    """A claim that comes for a move when that is over, from a conductor that stood still."""

    def test_what_a_move_holds_that_is_over_is_freed(self) -> None:
        uuid = self.create("vm")
        self.until_status(uuid, "ACTIVE")
        self.assertEqual(202, self.act(uuid, {"migrate": None}).status_code)
        self.until_status(uuid, "VERIFY_RESIZE")
        self.assertEqual(204, self.act(uuid, {"confirmResize": None}).status_code)
        one = {"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1}
        self.until("the move holds nothing", lambda: self.held() == one)
        (move,) = self.get("compute", f"/os-migrations?instance_uuid={uuid}")["migrations"]
        left = provider_uuid(move["source_compute"], move["source_node"])
        late = {
            "allocations": {left: {"resources": one}},
            "consumer_generation": None,
            "consumer_type": "MIGRATION",
            "project_id": self.project,
            "user_id": "admin",
        }
        path = f"/allocations/{move['uuid']}"
        answer = self.ask("placement", "PUT", path, late, placement="1.38")
        self.assertEqual(204, answer.status_code, answer.text)
        self.until("it is freed", lambda: self.held() == one)


class LateTest(ConvergerCase):
    """A build may take two seconds, and takes four."""

    script = [{"step": "spawn", "seconds": 4.0}]
    more = "[DEFAULT]\ninstance_build_timeout = 2\n"

    def test_what_a_late_build_held_is_given_back_within_a_round_of_placements_return(self) -> None:
        uuid = self.create("vm")
        self.until("it spawns", lambda: self.server(uuid)["OS-EXT-STS:task_state"] == "spawning")
        self.deployment.stop_part("placement")
        failed = self.until_status(uuid, "ERROR")
        self.assertIn("not built within 2 seconds", failed["fault"]["message"])
        self.deployment.start_part("placement")
        # One interval, and what the round itself takes.
        self.until("its claim is free", lambda: not self.held(), seconds=3)
        self.delete(uuid)
        self.assert_nothing_left()

    def test_a_late_server_that_is_deleted_while_placement_is_away_holds_nothing_later(
        self,
    ) -> None:
        uuid = self.create("vm")
        self.until("it spawns", lambda: self.server(uuid)["OS-EXT-STS:task_state"] == "spawning")
        self.deployment.stop_part("placement")
        self.until_status(uuid, "ERROR")
        self.assertEqual(204, self.ask("compute", "DELETE", f"/servers/{uuid}").status_code)
        self.deployment.start_part("placement")
        self.until("it is gone", lambda: not self.servers())
        self.assert_nothing_left()
