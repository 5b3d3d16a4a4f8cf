"""Live migration, from the request to the hosts; aborted, forced, and failed."""

import time
from typing import Any

from kilonova.scheduler.service import SchedulerService
from tests.functional.pipeline.moving_case import SMALL, MovingCase

LIVE: dict[str, Any] = {"os-migrateLive": {"host": None, "block_migration": "auto"}}


class LiveMigrationTest(MovingCase):
    """Guests called "long" are on their way for long."""

    script: list[dict[str, Any]] = [
        {"step": "report", "report": {"pci": [{"alias": "gpu", "free": 8}]}},
        {"step": "prepare-move", "server": "late", "seconds": 0.5},
        {"step": "prepare-move", "server": "unprepared", "error": "nowhere"},
        {"step": "live-migrate", "server": "long", "seconds": 60},
        {"step": "live-migrate", "server": "short", "seconds": 1.5},
        {"step": "live-migrate", "server": "broken", "seconds": 0.2, "error": "the wire broke"},
    ]

    def running(self, uuid: str) -> dict[str, Any]:
        """Wait until a server is on its way, and return the migration as its server's list has it."""
        found: list[dict[str, Any]] = []

        def runs() -> bool:
            listed = self.get("compute", f"/servers/{uuid}/migrations")["migrations"]
            found[:] = [one for one in listed if one["status"] == "running"]
            return bool(found) and found[0]["memory_processed_bytes"] > 0

        self.until("it runs", runs)
        return found[0]

    def test_a_guest_goes_to_another_host_and_runs_on(self) -> None:
        uuid = self.active("short")
        before = self.host(uuid)
        self.asked_for(uuid, LIVE)
        self.assertEqual("MIGRATING", self.server(uuid)["status"])
        migration = self.running(uuid)
        self.assertEqual(128 << 20, migration["memory_total_bytes"])
        shown = self.get("compute", f"/servers/{uuid}/migrations/{migration['id']}")["migration"]
        self.assertEqual(uuid, shown["server_uuid"])
        self.assertIn("links", self.migrations(uuid)[0])
        self.settled(uuid, "ACTIVE", SMALL)
        self.assertNotEqual(before, self.host(uuid))
        done = self.until_migration(uuid, "completed")
        self.assertEqual("live-migration", done["migration_type"])
        self.assertNotIn("links", done)
        answer = self.ask("compute", "GET", f"/servers/{uuid}/migrations/{migration['id']}")
        self.assertEqual(404, answer.status_code, answer.text)
        self.gone(uuid)

    def test_a_guest_with_a_device_of_its_host_stays_and_nothing_is_claimed_for_it(self) -> None:
        specs = {"extra_specs": {"pci_passthrough:alias": "gpu:1"}}
        self.ask("compute", "POST", "/flavors/1/os-extra_specs", specs)
        uuid = self.active("vm")
        answer = self.act(uuid, LIVE)
        self.assertEqual(400, answer.status_code, answer.text)
        self.assertIn("devices of its host's own does not move live", answer.text)
        self.assertEqual([], self.migrations(uuid))
        self.settled(uuid, "ACTIVE", SMALL)

    def test_a_paused_guest_is_paused_where_it_arrives(self) -> None:
        uuid = self.active("short")
        self.asked_for(uuid, {"pause": None})
        self.until_idle(uuid, "PAUSED")
        self.asked_for(uuid, LIVE)
        self.until_migration(uuid, "completed")
        self.assertEqual(3, self.until_idle(uuid, "PAUSED")["OS-EXT-STS:power_state"])
        self.gone(uuid)

    def test_a_guest_goes_to_the_host_that_is_named(self) -> None:
        uuid = self.active("vm")
        for version in ("2.1", "2.25", "2.30", "2.68", "2.104"):
            other = next(h for h in self.hosts_named() if h != self.host(uuid))
            body: dict[str, Any] = {"host": other, "block_migration": False}
            body |= {"disk_over_commit": False} if version == "2.1" else {}
            body |= {"force": True} if version == "2.30" else {}
            path = f"/servers/{uuid}/action"
            answer = self.ask("compute", "POST", path, {"os-migrateLive": body}, version)
            self.assertEqual(202, answer.status_code, answer.text)
            self.settled(uuid, "ACTIVE", SMALL)
            self.assertEqual(other, self.host(uuid))
        self.gone(uuid)

    def test_a_host_that_is_named_is_judged_unless_it_is_forced(self) -> None:
        uuid = self.active("vm")
        source = self.host(uuid)
        other = next(h for h in self.hosts_named() if h != source)
        (found,) = self.get("compute", f"/os-services?host={other}")["services"]
        answer = self.ask("compute", "PUT", f"/os-services/{found['id']}", {"status": "disabled"})
        self.assertEqual(200, answer.status_code, answer.text)
        scheduler = self.deployment.part("scheduler")
        assert isinstance(scheduler, SchedulerService)
        scheduler.hosts.refresh()
        path = f"/servers/{uuid}/action"
        for version, force, goes in (
            ("2.68", {}, False),
            ("2.67", {"force": False}, False),
            ("2.30", {}, False),
            ("2.30", {"force": True}, True),
            ("2.29", {}, True),
        ):
            body = {"os-migrateLive": {"host": other, "block_migration": "auto"} | force}
            answer = self.ask("compute", "POST", path, body, version)
            self.assertEqual(202, answer.status_code, answer.text)
            self.settled(uuid, "ACTIVE", SMALL)
            self.assertEqual(other if goes else source, self.host(uuid), version)
            if goes:
                back = {"os-migrateLive": {"host": source, "block_migration": "auto"}}
                self.asked_for(uuid, back)
                self.settled(uuid, "ACTIVE", SMALL)
        self.gone(uuid)

    def test_one_that_is_aborted_stays_where_it_was(self) -> None:
        uuid = self.active("long")
        before = self.host(uuid)
        for lost in (set(), {"GuideMove"}):
            self.wire.lost = lost
            self.asked_for(uuid, LIVE)
            path = f"/servers/{uuid}/migrations/{self.running(uuid)['id']}"
            answer = self.ask("compute", "DELETE", path)
            self.assertEqual(202, answer.status_code, answer.text)
            self.until_migration(uuid, "cancelled")
            self.settled(uuid, "ACTIVE", SMALL)
            self.assertEqual(before, self.host(uuid))
            answer = self.ask("compute", "DELETE", path)
            self.assertEqual(409, answer.status_code, answer.text)
        names = {one["action"] for one in self._actions(uuid)}
        self.assertIn("live_migration_cancel", names)
        self.gone(uuid)

    def _actions(self, uuid: str) -> list[dict[str, Any]]:
        path = f"/servers/{uuid}/os-instance-actions"
        listed: list[dict[str, Any]] = self.get("compute", path)["instanceActions"]
        return listed

    def test_one_that_is_prepared_is_aborted_from_2_65(self) -> None:
        uuid = self.active("late")
        before = self.host(uuid)
        self.asked_for(uuid, LIVE)
        self.until_migration(uuid, "preparing")
        path = f"/servers/{uuid}/migrations/{self.migrations(uuid)[0]['id']}"
        answer = self.ask("compute", "DELETE", path, version="2.64")
        self.assertEqual(400, answer.status_code, answer.text)
        answer = self.ask("compute", "DELETE", path, version="2.65")
        self.assertEqual(202, answer.status_code, answer.text)
        self.until_migration(uuid, "cancelled")
        self.settled(uuid, "ACTIVE", SMALL)
        self.assertEqual(before, self.host(uuid))
        self.gone(uuid)

    def test_one_that_is_forced_comes_to_its_end(self) -> None:
        uuid = self.active("long")
        self.asked_for(uuid, LIVE)
        path = f"/servers/{uuid}/migrations/{self.running(uuid)['id']}/action"
        answer = self.ask("compute", "POST", path, {"force_complete": None})
        self.assertEqual(202, answer.status_code, answer.text)
        self.until_migration(uuid, "completed")
        self.settled(uuid, "ACTIVE", SMALL)
        self.gone(uuid)

    def test_one_that_fails_runs_on_where_it_was(self) -> None:
        for name in ("broken", "unprepared"):
            uuid = self.active(name)
            before = self.host(uuid)
            self.asked_for(uuid, LIVE)
            self.until_migration(uuid, "error")
            self.settled(uuid, "ACTIVE", SMALL)
            self.assertEqual(before, self.host(uuid))
            self.gone(uuid)

    def test_a_delete_wins(self) -> None:
        for name in ("long", "late", "vm"):
            uuid = self.active(name)
            self.asked_for(uuid, LIVE)
            time.sleep(0.2)
            self.gone(uuid)

    def test_a_server_that_is_off_cannot_go(self) -> None:
        uuid = self.active("vm")
        self.asked_for(uuid, {"os-stop": None})
        self.until_idle(uuid, "SHUTOFF")
        answer = self.act(uuid, LIVE)
        self.assertEqual(409, answer.status_code, answer.text)
        self.assertIn("while it is in vm_state stopped", answer.text)
