"""Servers that are deleted, kept for a while, and restored or reclaimed."""

import sqlite3
from contextlib import closing

from tests.functional.notified import DRIVER, Notified
from tests.functional.pipeline.test_actions import ActionCase

COUNTED = ("totalInstancesUsed", "totalCoresUsed", "totalRAMUsed")


class SoftDeleteCase(ActionCase):
    """A deployment that keeps deleted servers."""

    def put_away(self, uuid: str) -> None:
        """Delete a server as its owner, and wait until nothing is under way."""
        answer = self.ask("compute", "DELETE", f"/servers/{uuid}")
        self.assertEqual(204, answer.status_code, answer.text)
        self.until("it is over", lambda: self.server(uuid)["OS-EXT-STS:task_state"] is None)

    def used(self) -> tuple[int, ...]:
        """Return the servers, VCPUs and MiB that count for the project."""
        absolute = self.get("compute", "/limits")["limits"]["absolute"]
        return tuple(absolute[name] for name in COUNTED)

    def listed(self, query: str = "") -> list[str]:
        """Return the UUIDs of a list."""
        return [s["id"] for s in self.get("compute", f"/servers{query}")["servers"]]


class KeptTest(SoftDeleteCase):
    """For an hour, so that nothing is reclaimed meanwhile."""

    more = "reclaim_instance_interval = 3600\n"

    def test_a_deleted_server_is_shut_down_counts_for_nothing_and_comes_back(self) -> None:
        uuid = self.boot()
        used = self.used()
        self.put_away(uuid)
        self.assertEqual(("SOFT_DELETED", 4), self.status(uuid))
        self.assertEqual((0, 0, 0), self.used())
        self.assertEqual({"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1}, self.held())
        self.assertEqual([("compute_soft_delete_instance", "Success")], self.events(uuid, "delete"))
        self.refused(uuid, {"os-start": None}, "vm_state soft-delete")
        self.do(uuid, {"restore": None})
        self.assertEqual(("ACTIVE", 1), self.status(uuid))
        self.assertEqual(used, self.used())
        self.assertEqual([("compute_restore_instance", "Success")], self.events(uuid, "restore"))
        self.refused(uuid, {"restore": None}, "vm_state active")
        self.assertEqual(["create", "delete", "restore"], self.actions(uuid))

    def test_lists_show_it_only_to_who_asks_for_what_is_deleted(self) -> None:
        uuid, other = self.boot(), self.boot("other")
        self.put_away(uuid)
        for query, expected in (
            ("", [other]),
            ("?deleted=True", [uuid]),
            ("?status=SOFT_DELETED", [uuid]),
            ("?deleted=True&status=SOFT_DELETED", [uuid]),
            ("?deleted=True&soft_deleted=False", []),
            ("?soft_deleted=True", [other, uuid]),
            ("?changes-since=2020-01-01T00:00:00Z", [other, uuid]),
        ):
            self.assertEqual(expected, self.listed(query), query)

    def test_deleting_it_again_changes_nothing_and_forcing_ends_it(self) -> None:
        uuid = self.boot()
        self.put_away(uuid)
        self.put_away(uuid)
        self.assertEqual("SOFT_DELETED", self.status(uuid)[0])
        self.assertEqual(202, self.act(uuid, {"forceDelete": None}).status_code)
        self.until("it is gone", lambda: self.listed("?deleted=True&soft_deleted=False") == [uuid])
        self.until("nothing is held", lambda: not any(self.held().values()))
        self.assertEqual((0, 0, 0), self.used())

    def test_it_is_not_restored_into_a_project_that_is_full(self) -> None:
        uuid = self.boot()
        self.put_away(uuid)
        quota = {"quota_set": {"instances": 0, "force": True}}
        path = f"/os-quota-sets/{self.project}"
        self.assertEqual(200, self.ask("compute", "PUT", path, quota).status_code)
        answer = self.act(uuid, {"restore": None})
        self.assertEqual(403, answer.status_code)
        self.assertIn("Quota exceeded for instances", answer.text)
        self.assertEqual((0, 0, 0), self.used())
        self.assertEqual("SOFT_DELETED", self.status(uuid)[0])

    def test_what_is_busy_or_in_no_state_to_be_kept_is_deleted_for_good(self) -> None:
        uuid = self.boot()
        self.do(uuid, {"shelve": None})
        self.assertEqual(204, self.ask("compute", "DELETE", f"/servers/{uuid}").status_code)
        self.until(
            "it is gone",
            lambda: self.ask("compute", "GET", f"/servers/{uuid}").status_code == 404,
        )

    def test_it_comes_back_to_its_server_group(self) -> None:
        wanted = {"server_group": {"name": "g", "policy": "soft-affinity"}}
        made = self.ask("compute", "POST", "/os-server-groups", wanted).json()["server_group"]
        server = {
            "server": {"name": "vm", "flavorRef": "1", "imageRef": self.image, "networks": "none"},
            "os:scheduler_hints": {"group": made["id"]},
        }
        uuid = self.ask("compute", "POST", "/servers", server).json()["server"]["id"]
        self.until_status(uuid, "ACTIVE")
        path = f"/os-server-groups/{made['id']}"
        self.put_away(uuid)
        self.assertEqual([], self.get("compute", path)["server_group"]["members"])
        self.do(uuid, {"restore": None})
        self.assertEqual([uuid], self.get("compute", path)["server_group"]["members"])


class ToldTest(SoftDeleteCase):
    """What others are notified of."""

    more = f"reclaim_instance_interval = 3600\n{DRIVER}"

    def setUp(self) -> None:
        self.notified = Notified(self)
        super().setUp()

    def test_others_are_told_that_it_is_kept_and_that_it_is_back(self) -> None:
        uuid = self.boot()
        self.put_away(uuid)
        self.do(uuid, {"restore": None})
        expected = [
            f"instance.{what}.{phase}"
            for what in ("create", "soft_delete", "restore")
            for phase in ("start", "end")
        ]
        self.until(
            "they are told",
            lambda: self.notified.types("instance.", without="instance.update") == expected,
        )


class ReclaimedTest(SoftDeleteCase):
    """For no longer than the next round of the converger."""

    more = "reclaim_instance_interval = 2\n"

    def test_what_nobody_restores_is_deleted_for_good(self) -> None:
        uuid, kept = self.boot(), self.boot("kept")
        self.put_away(kept)
        self.do(kept, {"restore": None})
        self.assertEqual(204, self.ask("compute", "DELETE", f"/servers/{uuid}").status_code)
        self.until(
            "it is reclaimed",
            lambda: self.ask("compute", "GET", f"/servers/{uuid}").status_code == 404,
        )
        self.assertEqual(("ACTIVE", 1), self.status(kept))
        self.until(
            "only the other one is held",
            lambda: self.held() == {"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1},
        )
        self.assertEqual(1, self.used()[0])
        self.until("no note is left", lambda: not self.notes())

    def notes(self) -> int:
        """Return how many servers are noted as soft-deleted."""
        with closing(sqlite3.connect(self.state / "cell1.db")) as connection:
            query = "SELECT count(*) FROM soft_deletions"
            return int(connection.execute(query).fetchone()[0])
