"""What others are notified of, from the user's request to the message."""

import time
from datetime import timedelta
from typing import Any

from kilonova.conductor import patience
from tests.functional.notified import DRIVER, Notified
from tests.functional.pipeline.case import PipelineCase
from tests.functional.pipeline.moving_case import MovingCase


class NotifiedCase(PipelineCase):
    """A deployment that notifies."""

    more = DRIVER

    def setUp(self) -> None:
        self.notified = Notified(self)
        super().setUp()

    def until_told(self, *types: str) -> None:
        """Wait until just this was told of servers, updates left aside."""
        self.until(
            f"told {types}",
            lambda: self.notified.types("instance.", without="instance.update") == list(types),
        )

    def data(self, event_type: str) -> dict[str, Any]:
        """Return the data of the last notification of a type."""
        data: dict[str, Any] = self.notified.messages(event_type)[-1]["payload"]["nova_object.data"]
        return data

    def steps(self) -> list[tuple[str | None, ...]]:
        """Return what every update says that a server was, and is."""
        told = []
        for message in self.notified.messages("instance.update"):
            update = message["payload"]["nova_object.data"]["state_update"]["nova_object.data"]
            names = ("old_state", "old_task_state", "state", "new_task_state")
            told.append(tuple(update[name] for name in names))
        return told


class OneHost(NotifiedCase):
    """Everything goes well."""

    def test_a_boot_a_stop_and_a_delete_are_told_from_start_to_end(self) -> None:
        uuid = self.create("vm", metadata={"a": "b"}, tags=["t"])
        host = self.until_status(uuid, "ACTIVE")["OS-EXT-SRV-ATTR:host"]
        self.act(uuid, {"os-stop": None})
        self.until_status(uuid, "SHUTOFF")
        self.delete(uuid)
        self.until_told(
            "instance.create.start",
            "instance.create.end",
            "instance.power_off.start",
            "instance.power_off.end",
            "instance.delete.start",
            "instance.shutdown.start",
            "instance.shutdown.end",
            "instance.delete.end",
        )
        for message in self.notified.messages("instance."):
            self.assertEqual(f"nova-compute:{host}", message["publisher_id"])
            self.assertEqual("INFO", message["priority"])
            data = message["payload"]["nova_object.data"]
            self.assertEqual(uuid, data["uuid"])
            self.assertEqual(
                ("admin", self.project),
                (data["action_initiator_user"], data["action_initiator_project"]),
            )
            self.assertTrue(data["request_id"].startswith("req-"))
        self.assertEqual(
            [
                ("building", "scheduling", "building", "spawning"),
                ("building", "spawning", "active", None),
                ("active", "powering-off", "stopped", None),
                ("stopped", "deleting", "deleted", None),
            ],
            self.steps(),
        )
        self.assertEqual("powering-off", self.data("instance.power_off.start")["task_state"])
        self.assertEqual("shutdown", self.data("instance.power_off.end")["power_state"])
        self.assertIsNone(self.data("instance.delete.start")["deleted_at"])
        self.assertIsNotNone(self.data("instance.delete.end")["deleted_at"])
        self.assertEqual({"a": "b"}, self.data("instance.create.end")["metadata"])
        self.assertEqual(["t"], self.data("instance.create.end")["tags"])
        self.assertIsNotNone(self.data("instance.create.end")["launched_at"])

    def test_images_that_actions_are_about_are_told(self) -> None:
        uuid = self.create("vm")
        self.until_status(uuid, "ACTIVE")
        copy = self.act(uuid, {"createImage": {"name": "copy"}}).json()["image_id"]
        self.until("it is copied", lambda: "instance.snapshot.end" in self.notified.types())
        self.act(uuid, {"rescue": {"rescue_image_ref": self.image}})
        self.until_status(uuid, "RESCUE")
        self.until("it is rescued", lambda: "instance.rescue.end" in self.notified.types())
        self.assertEqual(copy, self.data("instance.snapshot.start")["snapshot_image_id"])
        self.assertEqual(copy, self.data("instance.snapshot.end")["snapshot_image_id"])
        self.assertEqual(self.image, self.data("instance.rescue.end")["rescue_image_ref"])

    def test_what_holds_no_task_is_told_whole(self) -> None:
        uuid = self.create("vm")
        self.until_status(uuid, "ACTIVE")
        self.act(uuid, {"trigger_crash_dump": None})
        dump = "instance.trigger_crash_dump"
        self.until("both", lambda: self.notified.types(dump) == [f"{dump}.start", f"{dump}.end"])

    def test_a_delete_is_told_only_when_it_is_done(self) -> None:
        uuid = self.create("vm")
        self.until_status(uuid, "ACTIVE")
        self.deployment.stop_part("placement")
        self.ask("compute", "DELETE", f"/servers/{uuid}")
        self.until("the host has done it", lambda: self.events(uuid, "delete") != [])
        time.sleep(1)
        self.assertEqual([], self.notified.types("instance.delete"))
        self.patch(patience, "NOT_DELETED", timedelta(seconds=1))
        self.deployment.start_part("placement")
        once = ["instance.delete.start", "instance.delete.end"]
        self.until("it is done", lambda: self.notified.types("instance.delete") == once)

    def test_a_host_is_told_of_when_it_is_new(self) -> None:
        (made,) = self.notified.messages("service.create")
        data = made["payload"]["nova_object.data"]
        self.assertEqual(f"nova-compute:{data['host']}", made["publisher_id"])
        self.assertEqual(("compute", False, 1), (data["topic"], data["disabled"], data["version"]))


class Failures(NotifiedCase):
    """Two hosts on which nothing is spawned, and nothing stopped."""

    hosts = 2
    script = [
        {"step": "spawn", "server": "bad", "error": "out of luck"},
        {"step": "stop", "error": "it hangs"},
    ]

    def test_every_host_that_fails_tells_and_then_the_conductor(self) -> None:
        uuid = self.create("bad")
        self.until_status(uuid, "ERROR")
        once = ["instance.create.start", "instance.create.error"]
        self.until_told(*once, *once)
        failed = self.notified.messages("instance.create.error")
        self.assertEqual({"ERROR"}, {message["priority"] for message in failed})
        self.assertEqual(2, len({message["publisher_id"] for message in failed}))
        fault = self.data("instance.create.error")["fault"]["nova_object.data"]
        self.assertEqual("BuildFailed", fault["exception"])
        self.assertIn("out of luck", fault["exception_message"])
        self.assertIn("Traceback", fault["traceback"])
        self.until("it is in error", lambda: self.steps()[-1][2:] == ("error", None))
        last = self.notified.messages("instance.update")[-1]
        self.assertTrue(last["publisher_id"].startswith("nova-conductor:"))
        self.assertIsNone(last["payload"]["nova_object.data"]["host"])

    def test_an_action_that_fails_is_told_with_its_fault(self) -> None:
        uuid = self.create("good")
        self.until_status(uuid, "ACTIVE")
        self.act(uuid, {"os-stop": None})
        self.until("it failed", lambda: "instance.power_off.error" in self.notified.types())
        self.assertEqual(
            ["instance.power_off.start", "instance.power_off.error"],
            self.notified.types("instance.power_off"),
        )
        fault = self.data("instance.power_off.error")["fault"]["nova_object.data"]
        self.assertIn("it hangs", fault["exception_message"])


class Moves(MovingCase, NotifiedCase):
    """Three hosts. What one host has done and what the next begins may be told in either order."""

    def told_of(self, *names: str) -> None:
        """Wait until each of these was told once, from start to end, and nothing else of a move."""
        wanted = sorted(f"instance.{name}.{phase}" for name in names for phase in ("start", "end"))

        def told() -> bool:
            types = self.notified.types("instance.", without="instance.update")
            parts = [one for one in types if not one.startswith("instance.create")]
            ordered = all(
                parts.index(f"instance.{name}.start") < parts.index(f"instance.{name}.end")
                for name in names
                if f"instance.{name}.end" in parts
            )
            return sorted(parts) == wanted and ordered

        self.until(f"{wanted} is told, not {self.notified.types('instance.')}", told)

    def test_each_part_of_a_resize_is_told_by_its_host(self) -> None:
        uuid = self.active("vm")
        source = self.host(uuid)
        self.asked_for(uuid, {"resize": {"flavorRef": "large"}})
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.told_of("resize_prep", "resize", "resize_finish")
        arrived = self.data("instance.resize_finish.end")
        self.assertEqual(("resized", None), (arrived["state"], arrived["task_state"]))
        self.assertEqual(self.host(uuid), arrived["host"])
        (sent,) = self.notified.messages("instance.resize.end")
        self.assertEqual(f"nova-compute:{source}", sent["publisher_id"])
        (made,) = self.notified.messages("instance.resize_finish.end")
        self.assertEqual(f"nova-compute:{arrived['host']}", made["publisher_id"])
        self.asked_for(uuid, {"confirmResize": None}, 204)
        self.told_of("resize_prep", "resize", "resize_finish", "resize_confirm")

    def test_a_guest_that_runs_on_is_told_to_be_elsewhere(self) -> None:
        uuid = self.active("vm")
        self.asked_for(uuid, {"os-migrateLive": {"host": None, "block_migration": "auto"}})
        names = ("live_migration_pre", "live_migration_post_dest", "live_migration_post")
        self.told_of(*names)
        self.assertEqual(self.host(uuid), self.data("instance.live_migration_post.end")["host"])

    def test_a_server_is_shelved_and_back(self) -> None:
        uuid = self.active("vm")
        self.asked_for(uuid, {"shelve": None})
        self.told_of("shelve", "shelve_offload")
        self.until_idle(uuid, "SHELVED_OFFLOADED")
        self.asked_for(uuid, {"unshelve": None})
        self.told_of("shelve", "shelve_offload", "unshelve")


class NoHost(NotifiedCase):
    """A server that fits nowhere."""

    def test_a_server_without_a_host_is_told_to_be_in_error(self) -> None:
        flavor = {"id": "huge", "name": "huge", "vcpus": 4096, "ram": 128, "disk": 1}
        self.ask("compute", "POST", "/flavors", {"flavor": flavor})
        quota = {"quota_set": {"cores": -1}}
        self.ask("compute", "PUT", f"/os-quota-sets/{self.project}", quota)
        uuid = self.create("vm", flavorRef="huge")
        self.until_status(uuid, "ERROR")
        self.until("it is told", lambda: self.notified.types("instance.") == ["instance.update"])
        self.assertEqual([("building", "scheduling", "error", None)], self.steps())
        data = self.data("instance.update")
        self.assertEqual((uuid, None, "admin"), (data["uuid"], data["host"], data["user_id"]))
        self.assertEqual("admin", data["action_initiator_user"])
