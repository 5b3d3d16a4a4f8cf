"""Resize and cold migration, from the request to the hosts and back."""

from collections import Counter

from tests.functional.pipeline.moving_case import BOTH, LARGE, SMALL, MovingCase

RESIZE = {"resize": {"flavorRef": "large"}}
CONFIRM = {"confirmResize": None}
REVERT = {"revertResize": None}
MIGRATE = {"migrate": None}
TWICE = {name: 2 * amount for name, amount in SMALL.items()}


class ResizeTest(MovingCase):
    """Everything works."""

    def test_a_resize_that_is_confirmed_leaves_the_new_size(self) -> None:
        uuid = self.active("vm")
        host = self.host(uuid)
        self.asked_for(uuid, RESIZE)
        server = self.until_idle(uuid, "VERIFY_RESIZE")
        self.assertEqual("large", server["flavor"]["original_name"])
        self.assertEqual("resized", server["OS-EXT-STS:vm_state"])
        self.assertEqual(1, server["OS-EXT-STS:power_state"])
        self.assertEqual(BOTH, self.held())
        self.asked_for(uuid, CONFIRM, 204)
        self.settled(uuid, "ACTIVE", LARGE)
        self.assertEqual(host, self.host(uuid), "it had room where it was")
        self.assertEqual("confirmed", self.until_migration(uuid, "confirmed")["status"])
        self.assertEqual("resize", self.migrations(uuid)[0]["migration_type"])
        self.gone(uuid)

    def test_a_resize_that_is_reverted_leaves_what_was(self) -> None:
        uuid = self.active("vm")
        self.asked_for(uuid, RESIZE)
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.asked_for(uuid, REVERT)
        self.settled(uuid, "ACTIVE", SMALL)
        self.assertNotEqual("large", self.server(uuid)["flavor"]["original_name"])
        self.assertEqual("reverted", self.migrations(uuid)[0]["status"])
        self.assertNotIn("fault", self.server(uuid))
        self.gone(uuid)

    def test_a_server_that_migrates_leaves_its_host(self) -> None:
        uuid = self.active("vm")
        before = self.host(uuid)
        self.asked_for(uuid, MIGRATE)
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.assertNotEqual(before, self.host(uuid))
        self.assertEqual(TWICE, self.held())
        (migration,) = self.migrations(uuid)
        self.assertEqual(
            ("migration", "finished", before, self.host(uuid)),
            tuple(
                migration[name]
                for name in ("migration_type", "status", "source_compute", "dest_compute")
            ),
        )
        self.asked_for(uuid, CONFIRM, 204)
        self.settled(uuid, "ACTIVE", SMALL)
        self.gone(uuid)

    def test_a_server_that_migrated_comes_back_when_that_is_reverted(self) -> None:
        uuid = self.active("vm")
        before = self.host(uuid)
        self.asked_for(uuid, MIGRATE)
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.asked_for(uuid, REVERT)
        self.settled(uuid, "ACTIVE", SMALL)
        self.assertEqual(before, self.host(uuid))
        self.gone(uuid)

    def test_a_server_goes_to_the_host_that_is_named(self) -> None:
        uuid = self.active("vm")
        other = next(h for h in self.hosts_named() if h != self.host(uuid))
        self.asked_for(uuid, {"migrate": {"host": other}})
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.assertEqual(other, self.host(uuid))
        for name in ("nowhere", other):
            answer = self.act(uuid, {"migrate": {"host": name}})
            self.assertEqual(409, answer.status_code, answer.text)
        self.asked_for(uuid, CONFIRM, 204)
        self.settled(uuid, "ACTIVE", SMALL)
        for name in ("nowhere", other):
            answer = self.act(uuid, {"migrate": {"host": name}})
            self.assertEqual(400, answer.status_code, answer.text)
        self.gone(uuid)

    def test_a_server_that_is_off_stays_off(self) -> None:
        for decision, status in ((CONFIRM, 204), (REVERT, 202)):
            uuid = self.active("vm")
            self.asked_for(uuid, {"os-stop": None})
            self.until_idle(uuid, "SHUTOFF")
            self.asked_for(uuid, MIGRATE)
            self.until_idle(uuid, "VERIFY_RESIZE")
            self.assertEqual(4, self.server(uuid)["OS-EXT-STS:power_state"])
            self.asked_for(uuid, decision, status)
            self.settled(uuid, "SHUTOFF", SMALL)
            self.gone(uuid)

    def test_a_server_may_move_again_and_again(self) -> None:
        uuid = self.active("vm")
        for _ in range(3):
            before = self.host(uuid)
            self.asked_for(uuid, MIGRATE)
            self.until_idle(uuid, "VERIFY_RESIZE")
            self.asked_for(uuid, CONFIRM, 204)
            self.settled(uuid, "ACTIVE", SMALL)
            self.assertNotEqual(before, self.host(uuid))
        self.assertEqual(["confirmed"] * 3, [one["status"] for one in self.migrations(uuid)])
        self.gone(uuid)

    def test_every_stage_is_an_event_of_the_action(self) -> None:
        uuid = self.active("vm")
        self.asked_for(uuid, MIGRATE)
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.assertEqual(
            [
                *("cold_migrate", "conductor_migrate_server"),
                *("compute_prep_resize", "compute_resize_instance", "compute_finish_resize"),
            ],
            [name for name, result in self.events(uuid, "migrate") if result == "Success"],
        )
        self.asked_for(uuid, REVERT)
        self.until_idle(uuid, "ACTIVE")
        self.assertEqual(
            [
                ("compute_revert_resize", "Success"),
                ("compute_finish_revert_resize", "Success"),
            ],
            self.events(uuid, "revertResize"),
        )

    def test_the_larger_size_counts_until_it_is_decided(self) -> None:
        uuid = self.active("vm")

        def counted() -> tuple[int, int]:
            absolute = self.get("compute", "/limits")["limits"]["absolute"]
            return absolute["totalCoresUsed"], absolute["totalRAMUsed"]

        self.asked_for(uuid, RESIZE)
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.assertEqual((2, 256), counted())
        self.asked_for(uuid, REVERT)
        self.until_idle(uuid, "ACTIVE")
        self.until("the small size counts", lambda: counted() == (1, 128))
        self.asked_for(uuid, RESIZE)
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.asked_for(uuid, CONFIRM, 204)
        self.settled(uuid, "ACTIVE", LARGE)
        self.assertEqual((2, 256), counted())
        self.asked_for(uuid, {"resize": {"flavorRef": "1"}})
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.assertEqual((2, 256), counted())
        self.asked_for(uuid, CONFIRM, 204)
        self.until("the small size counts", lambda: counted() == (1, 128))
        self.settled(uuid, "ACTIVE", SMALL)
        self.gone(uuid)
        self.until("nothing counts", lambda: counted() == (0, 0))

    def test_what_comes_twice_is_done_once(self) -> None:
        uuid = self.active("vm")
        self.wire.repeated = {"StartMove", "MoveInstance", "ReportInstances"}
        for decision, status in ((CONFIRM, 204), (REVERT, 202)):
            self.asked_for(uuid, MIGRATE)
            self.until_idle(uuid, "VERIFY_RESIZE")
            self.asked_for(uuid, decision, status)
            self.settled(uuid, "ACTIVE", SMALL)
        results = Counter(one["status"] for one in self.migrations(uuid))
        self.assertEqual({"confirmed": 1, "reverted": 1}, dict(results))
        self.wire.repeated = set()
        self.gone(uuid)

    def test_only_one_of_confirm_and_revert_is_heard(self) -> None:
        uuid = self.active("vm")
        self.asked_for(uuid, MIGRATE)
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.asked_for(uuid, REVERT)
        answer = self.act(uuid, CONFIRM)
        self.assertIn(answer.status_code, (400, 409), answer.text)
        self.settled(uuid, "ACTIVE", SMALL)
        for decision in (CONFIRM, REVERT):
            answer = self.act(uuid, decision)
            self.assertEqual(409, answer.status_code, answer.text)
            self.assertIn("vm_state active", answer.text)
        self.gone(uuid)

    def test_what_is_wrong_is_refused(self) -> None:
        uuid = self.active("vm")
        for flavor, says in (("1", "must change"), ("none", "could not be found")):
            answer = self.act(uuid, {"resize": {"flavorRef": flavor}})
            self.assertEqual(400, answer.status_code, answer.text)
            self.assertIn(says, answer.text)
        self.assertEqual([], self.migrations(uuid))
        self.asked_for(uuid, {"pause": None})
        self.until_idle(uuid, "PAUSED")
        for action in (RESIZE, MIGRATE):
            answer = self.act(uuid, action)
            self.assertEqual(409, answer.status_code, answer.text)
            self.assertIn("while it is in vm_state paused", answer.text)

    def test_a_server_that_waits_to_be_confirmed_can_be_deleted(self) -> None:
        for action in (RESIZE, MIGRATE):
            uuid = self.active("vm")
            self.asked_for(uuid, action)
            self.until_idle(uuid, "VERIFY_RESIZE")
            self.gone(uuid)
            self.assertEqual("confirmed", self.migrations(uuid)[0]["status"])


class SmallQuota(MovingCase):
    """A quota that holds one more core."""

    more = "[quota]\ncores = 2\n"

    def test_a_size_that_the_quota_does_not_hold_is_refused(self) -> None:
        uuid = self.active("vm")
        other = self.active("other")
        answer = self.act(uuid, RESIZE)
        self.assertEqual(403, answer.status_code, answer.text)
        self.assertIn("Quota exceeded for cores", answer.text)
        self.assertEqual([], self.migrations(uuid))
        self.delete(other)
        self.asked_for(uuid, RESIZE)
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.gone(uuid)


class OneHost(MovingCase):
    """A deployment of one host."""

    hosts = 1

    def test_a_server_changes_its_size_where_it_is(self) -> None:
        uuid = self.active("vm")
        self.asked_for(uuid, RESIZE)
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.asked_for(uuid, CONFIRM, 204)
        self.settled(uuid, "ACTIVE", LARGE)
        self.gone(uuid)

    def test_a_server_that_cannot_go_anywhere_stays_as_it_is(self) -> None:
        uuid = self.active("vm")
        self.asked_for(uuid, MIGRATE)
        self.until_migration(uuid, "error")
        self.settled(uuid, "ACTIVE", SMALL)
        path = f"/servers/{uuid}/os-instance-actions"
        self.assertEqual("Error", self.get("compute", path)["instanceActions"][0]["message"])
        names = ["cold_migrate", "conductor_migrate_server"]
        self.assertEqual([(name, "Error") for name in names], self.events(uuid, "migrate"))
        event = self.action(uuid, "migrate")["events"][0]
        self.assertIn("No valid host was found. 0 of 1 hosts fit", event["details"])
        self.assertLess(event["start_time"], event["finish_time"])
        self.gone(uuid)


class FullHosts(MovingCase):
    """Hosts that hold two cores each."""

    hosts = 2
    plays = {"vcpus": 2}
    more = "cpu_allocation_ratio = 1.0\n[quota]\ncores = -1\n"

    def test_a_server_goes_elsewhere_for_the_room_that_its_host_lacks(self) -> None:
        uuid = self.active("vm")
        before = self.host(uuid)
        self.asked_for(uuid, RESIZE)
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.assertNotEqual(before, self.host(uuid))
        self.asked_for(uuid, CONFIRM, 204)
        self.settled(uuid, "ACTIVE", LARGE)

    def test_a_server_for_which_there_is_no_room_stays_as_it_is(self) -> None:
        first, second = self.active("a"), self.active("b")
        self.asked_for(first, RESIZE)
        self.until_migration(first, "error")
        self.until_idle(first, "ACTIVE")
        self.until_held(TWICE)
        self.delete(second)
        self.settled(first, "ACTIVE", SMALL)
