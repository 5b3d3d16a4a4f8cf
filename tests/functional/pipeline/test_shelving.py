"""Shelving, from the request to the image store and back to a host."""

import time
from typing import Any

from tests.functional.pipeline.moving_case import SMALL, MovingCase

SHELVE = {"shelve": None}
UNSHELVE: dict[str, Any] = {"unshelve": None}


class ShelvingTest(MovingCase):
    """Some steps fail or are slow for servers of their names."""

    script: list[dict[str, Any]] = [
        {"step": "snapshot", "server": "uncopied", "error": "no room"},
        {"step": "snapshot", "server": "slow", "seconds": 0.5},
        {"step": "spawn", "server": "unlucky", "error": "out of luck"},
        {"step": "spawn", "server": "second-luck", "times": 1, "error": "out of luck"},
    ]

    def images(self) -> list[str]:
        """Return the names of all images but the first."""
        found = self.get("image", "/v2/images")["images"]
        return sorted(image["name"] for image in found if image["id"] != self.image)

    def shelved(self, uuid: str) -> None:
        """Shelve a server, and check that it is an image and nothing else."""
        name = self.server(uuid)["name"]
        self.asked_for(uuid, SHELVE)
        server = self.until_idle(uuid, "SHELVED_OFFLOADED")
        self.assertEqual(
            ("shelved_offloaded", 0, None, ""),
            (
                server["OS-EXT-STS:vm_state"],
                server["OS-EXT-STS:power_state"],
                server["OS-EXT-SRV-ATTR:host"],
                server["hostId"],
            ),
        )
        self.assertEqual({}, self.held())
        self.assertEqual({}, self.guests())
        self.assertEqual([f"{name}-shelved"], self.images())
        self.assertEqual(1, self.quota_used())

    def test_a_shelved_server_is_an_image_until_it_is_wanted_again(self) -> None:
        uuid = self.active("vm")
        for _ in range(2):
            self.shelved(uuid)
            self.asked_for(uuid, UNSHELVE)
            self.settled(uuid, "ACTIVE", SMALL)
            self.until("its image is gone", lambda: not self.images())
        self.assertEqual([], self.migrations(uuid), "these are no migrations to the API")
        names = [name for name, _ in self.events_of_last(uuid, "unshelve")]
        self.assertEqual(["compute_unshelve_instance", "schedule_instances"], names)
        self.gone(uuid)

    def events_of_last(self, uuid: str, action: str) -> list[tuple[str, str | None]]:
        """Return the events of a server's last action of a name."""
        path = f"/servers/{uuid}/os-instance-actions"
        listed = self.get("compute", path)["instanceActions"]
        request = next(one["request_id"] for one in listed if one["action"] == action)
        shown = self.get("compute", f"{path}/{request}")["instanceAction"]["events"]
        return [(event["event"], event["result"]) for event in shown]

    def test_whatever_can_be_shelved_runs_when_it_is_back(self) -> None:
        for action, status in (
            ({"os-stop": None}, "SHUTOFF"),
            ({"pause": None}, "PAUSED"),
            ({"suspend": None}, "SUSPENDED"),
        ):
            uuid = self.active("vm")
            self.asked_for(uuid, action)
            self.until_idle(uuid, status)
            self.shelved(uuid)
            self.asked_for(uuid, UNSHELVE)
            self.settled(uuid, "ACTIVE", SMALL)
            self.gone(uuid)
            self.until("its image is gone", lambda: not self.images())

    def test_a_server_comes_back_to_the_host_and_the_zone_that_are_named(self) -> None:
        uuid = self.active("vm")
        self.shelved(uuid)
        last = self.hosts_named()[-1]
        for body, status in (
            ({"host": "nowhere"}, 400),
            ({"availability_zone": "nowhere"}, 400),
            ({}, 400),
        ):
            answer = self.act(uuid, {"unshelve": body})
            self.assertEqual(status, answer.status_code, answer.text)
        self.asked_for(uuid, {"unshelve": {"host": last, "availability_zone": "nova"}})
        self.settled(uuid, "ACTIVE", SMALL)
        self.assertEqual(last, self.host(uuid))
        self.assertEqual("nova", self.server(uuid)["pinned_availability_zone"])
        self.gone(uuid)

    def test_a_server_that_cannot_be_copied_runs_on(self) -> None:
        for before, status in ((None, "ACTIVE"), ({"os-stop": None}, "SHUTOFF")):
            uuid = self.active("uncopied")
            if before:
                self.asked_for(uuid, before)
                self.until_idle(uuid, status)
            self.asked_for(uuid, SHELVE)
            self.settled(uuid, status, SMALL)
            self.until("no image is left", lambda: not self.images())
            self.gone(uuid)

    def _renamed(self, uuid: str, name: str) -> None:
        body = {"server": {"name": name}}
        answer = self.ask("compute", "PUT", f"/servers/{uuid}", body)
        self.assertEqual(200, answer.status_code, answer.text)

    def test_a_server_that_no_host_can_build_stays_shelved(self) -> None:
        uuid = self.active("vm")
        self.shelved(uuid)
        self._renamed(uuid, "unlucky")
        self.asked_for(uuid, UNSHELVE)
        self.until("it was tried", lambda: len(self.events_of_last(uuid, "unshelve")) == 4)
        self.until_idle(uuid, "SHELVED_OFFLOADED")
        self.until_held({})
        self._renamed(uuid, "second-luck")
        self.asked_for(uuid, UNSHELVE)
        self.settled(uuid, "ACTIVE", SMALL)
        self.gone(uuid)

    def test_a_delete_wins_at_any_moment(self) -> None:
        for seconds in (0.0, 0.3, 0.8):
            uuid = self.active("slow")
            self.asked_for(uuid, SHELVE)
            time.sleep(seconds)
            self.gone(uuid)
        for seconds in (0.0, 0.1, 0.2):
            uuid = self.active("vm")
            self.asked_for(uuid, SHELVE)
            self.until_idle(uuid, "SHELVED_OFFLOADED")
            self.asked_for(uuid, UNSHELVE)
            time.sleep(seconds)
            self.gone(uuid)
        uuid = self.active("vm")
        self.asked_for(uuid, SHELVE)
        self.until_idle(uuid, "SHELVED_OFFLOADED")
        self.gone(uuid)

    def test_what_is_lost_is_sent_again_and_what_comes_twice_is_done_once(self) -> None:
        uuid = self.active("vm")
        self.wire.lost = {"MoveInstance"}
        self.asked_for(uuid, SHELVE)
        time.sleep(0.3)
        self.wire.lost = set()
        self.until_idle(uuid, "SHELVED_OFFLOADED")
        self.wire.lost = {"StartMove"}
        self.asked_for(uuid, UNSHELVE)
        self.wire.lost = set()
        self.settled(uuid, "ACTIVE", SMALL)
        self.wire.repeated = {"MoveInstance", "StartMove", "ReportInstances"}
        self.shelved(uuid)
        self.asked_for(uuid, UNSHELVE)
        self.settled(uuid, "ACTIVE", SMALL)
        self.wire.repeated = set()
        self.gone(uuid)

    def test_what_is_not_possible_is_refused(self) -> None:
        uuid = self.active("vm")
        for action in (UNSHELVE, {"shelveOffload": None}):
            answer = self.act(uuid, action)
            self.assertEqual(409, answer.status_code, answer.text)
            self.assertIn("while it is in vm_state active", answer.text)
        self.shelved(uuid)
        for refused in (SHELVE, {"shelveOffload": None}, {"os-start": None}, {"migrate": None}):
            answer = self.act(uuid, refused)
            self.assertEqual(409, answer.status_code, answer.text)
            self.assertIn("shelved_offloaded", answer.text)
        self.gone(uuid)
