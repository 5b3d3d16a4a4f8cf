"""What the API notifies of: each change once, what is refused without its end, and nothing unless asked."""

from typing import Any

from kilonova.core.host import Service
from kilonova.core.ids import InstanceUuid
from kilonova.db.engine import Database
from kilonova.db.hosts import list_services
from tests.functional.api.api_case import ANN, ApiCase
from tests.functional.api.population import ACTIVE, FAILED, PUBLIC_KEY, Populated
from tests.functional.notified import DRIVER, Notified
from tests.functional.pipeline.wire import Statements

FLAVOR = {"id": "9", "name": "wide", "vcpus": 1, "ram": 512, "disk": 1}


class NotifiedTest(Populated):
    """Everything that there is."""

    def options(self) -> str:
        """Notify."""
        return super().options() + DRIVER

    def setUp(self) -> None:
        self.notified = Notified(self)
        super().setUp()
        # What the population itself is told as.
        self.notified.await_count(12)
        self.notified = Notified(self)

    def told(self, *types: str) -> list[dict[str, Any]]:
        """Expect just these types to have been told since, and return the data of each."""
        messages = self.notified.await_count(len(types))
        self.assertEqual(list(types), [message["event_type"] for message in messages])
        self.askers = {context["user_id"] for context in self.notified.contexts()}
        self.notified = Notified(self)
        self.publishers = {message["publisher_id"] for message in messages}
        return [message["payload"]["nova_object.data"] for message in messages]

    def test_flavors(self) -> None:
        self.asked(
            200, "POST", "/flavors", {"flavor": FLAVOR | {"os-flavor-access:is_public": False}}
        )
        (made,) = self.told("flavor.create")
        self.assertEqual({f"nova-api:{self.conf.host}"}, self.publishers)
        self.assertEqual(
            ("9", False, None), (made["flavorid"], made["is_public"], made["projects"])
        )
        self.asked(200, "PUT", "/flavors/9", {"flavor": {"description": "new"}})
        self.asked(
            200, "POST", "/flavors/9/os-extra_specs", {"extra_specs": {"hw:cpu_policy": "shared"}}
        )
        self.asked(200, "DELETE", "/flavors/9/os-extra_specs/hw:cpu_policy")
        self.asked(200, "POST", "/flavors/9/action", {"addTenantAccess": {"tenant": "p"}})
        changes = self.told(*["flavor.update"] * 4)
        self.assertEqual("new", changes[0]["description"])
        self.assertEqual({"hw:cpu_policy": "shared"}, changes[1]["extra_specs"])
        self.assertEqual({}, changes[2]["extra_specs"])
        self.assertEqual([[], [], [], ["p"]], [change["projects"] for change in changes])
        self.refused(409, "", "POST", "/flavors", {"flavor": FLAVOR})
        self.asked(202, "DELETE", "/flavors/9")
        self.refused(404, "", "DELETE", "/flavors/9")
        (gone,) = self.told("flavor.delete")
        self.assertEqual("wide", gone["name"])

    def test_services(self) -> None:
        service = self._service(self.cell_db)
        path = f"/os-services/{service.uuid}"
        self.asked(200, "PUT", path, {"status": "disabled", "disabled_reason": "r"})
        (changed,) = self.told("service.update")
        self.assertEqual({"nova-compute:h1"}, self.publishers)
        self.assertEqual((True, "r"), (changed["disabled"], changed["disabled_reason"]))
        body = {"host": "h1", "binary": "nova-compute", "forced_down": True}
        self.asked(200, "PUT", "/os-services/force-down", body, version="2.11")
        (changed,) = self.told("service.update")
        self.assertTrue(changed["forced_down"])
        self.refused(409, "servers", "DELETE", path)
        self.add_host("h9", 9)
        self.asked(204, "DELETE", f"/os-services/{self._service(self.cell_db, 'h9').uuid}")
        (gone,) = self.told("service.delete")
        self.assertEqual("h9", gone["host"])

    def _service(self, database: Database, host: str = "h1") -> Service:
        return list_services(database, host=host)[0]

    def test_aggregates_from_start_to_end(self) -> None:
        body = {"aggregate": {"name": "new", "availability_zone": "z9"}}
        made = self.asked(200, "POST", "/os-aggregates", body)["aggregate"]
        first, last = self.told("aggregate.create.start", "aggregate.create.end")
        self.assertEqual((None, {"availability_zone": "z9"}), (first["id"], first["metadata"]))
        self.assertEqual((made["id"], made["uuid"]), (last["id"], last["uuid"]))
        path = f"/os-aggregates/{made['id']}"
        self.add_host("h9", 9)
        self.asked(200, "POST", f"{path}/action", {"add_host": {"host": "h9"}})
        first, last = self.told("aggregate.add_host.start", "aggregate.add_host.end")
        self.assertEqual(([], ["h9"]), (first["hosts"], last["hosts"]))
        self.refused(400, "", "DELETE", path)
        self.told("aggregate.delete.start")
        self.asked(200, "POST", f"{path}/action", {"remove_host": {"host": "h9"}})
        self.asked(200, "POST", f"{path}/action", {"set_metadata": {"metadata": {"a": "b"}}})
        self.asked(200, "PUT", path, {"aggregate": {"name": "other"}})
        told = self.told(
            "aggregate.remove_host.start",
            "aggregate.remove_host.end",
            "aggregate.update_metadata.start",
            "aggregate.update_metadata.end",
            "aggregate.update_prop.start",
            "aggregate.update_prop.end",
        )
        self.assertEqual([["h9"], []], [data["hosts"] for data in told[:2]])
        self.assertEqual([None, "b"], [data["metadata"].get("a") for data in told[2:4]])
        self.assertEqual(["new", "other"], [data["name"] for data in told[4:]])
        self.asked(200, "DELETE", path)
        _, gone = self.told("aggregate.delete.start", "aggregate.delete.end")
        self.assertEqual("other", gone["name"])

    def test_key_pairs_without_what_is_private(self) -> None:
        key = {"name": "new", "public_key": PUBLIC_KEY}
        self.asked(201, "POST", "/os-keypairs", {"keypair": key}, token=ANN)
        first, last = self.told("keypair.import.start", "keypair.import.end")
        self.assertEqual({"ann"}, self.askers)
        self.assertEqual(("ann", None), (first["user_id"], first["fingerprint"]))
        self.assertEqual(PUBLIC_KEY, last["public_key"])
        self.asked(
            201, "POST", "/os-keypairs", {"keypair": {"name": "x"}}, version="2.2", token=ANN
        )
        first, last = self.told("keypair.create.start", "keypair.create.end")
        self.assertIsNone(first["public_key"])
        self.assertNotIn("PRIVATE", str(last))
        self.asked(204, "DELETE", "/os-keypairs/new", token=ANN)
        self.refused(404, "", "DELETE", "/os-keypairs/new", token=ANN)
        _, gone = self.told("keypair.delete.start", "keypair.delete.end")
        self.assertEqual(("ann", "new"), (gone["user_id"], gone["name"]))

    def test_server_groups(self) -> None:
        group = {"name": "g", "policy": "anti-affinity", "rules": {"max_server_per_host": 3}}
        made = self.asked(200, "POST", "/os-server-groups", {"server_group": group}, token=ANN)
        self.asked(204, "DELETE", f"/os-server-groups/{made['server_group']['id']}", token=ANN)
        first, last = self.told("server_group.create", "server_group.delete")
        self.assertEqual(first, last)
        self.assertEqual(
            ("anti-affinity", ["anti-affinity"], {"max_server_per_host": "3"}, "project-a"),
            (first["policy"], first["policies"], first["rules"], first["project_id"]),
        )

    def test_what_is_done_to_servers_here(self) -> None:
        path = f"/servers/{ACTIVE}"
        self.asked(202, "POST", f"{path}/action", {"lock": {"locked_reason": "r"}})
        self.asked(202, "POST", f"{path}/action", {"unlock": None})
        self.asked(200, "PUT", path, {"server": {"name": "renamed"}})
        self.asked(202, "POST", f"{path}/action", {"os-resetState": {"state": "error"}})
        locked, unlocked, renamed, reset = self.told(
            "instance.lock", "instance.unlock", "instance.update", "instance.update"
        )
        self.assertEqual((True, "r"), (locked["locked"], locked["locked_reason"]))
        self.assertEqual((False, None), (unlocked["locked"], unlocked["locked_reason"]))
        self.assertEqual("renamed", renamed["display_name"])
        self.assertEqual(f"vm-{ACTIVE[-1]}", renamed["old_display_name"])
        states = reset["state_update"]["nova_object.data"]
        self.assertEqual(("active", "error"), (states["old_state"], states["state"]))
        self.assertEqual(
            ("admin", "operators", "project-a"),
            (reset["action_initiator_user"], reset["action_initiator_project"], reset["tenant_id"]),
        )

    def test_a_server_without_a_host_is_deleted_by_the_api(self) -> None:
        self.asked(204, "DELETE", f"/servers/{FAILED}")
        first, last = self.told("instance.delete.start", "instance.delete.end")
        self.assertEqual({f"nova-api:{self.conf.host}"}, self.publishers)
        self.assertEqual(("error", "deleting"), (first["state"], first["task_state"]))
        self.assertEqual(("deleted", None, None), (last["state"], last["task_state"], last["host"]))
        self.assertIsNotNone(last["deleted_at"])

    def test_no_request_fails_by_what_nobody_can_be_told(self) -> None:
        unknown = InstanceUuid("99999999-0000-4000-8000-000000000001")
        self.refused(404, "", "PUT", f"/servers/{unknown}", {"server": {"name": "x"}})
        self.refused(404, "", "DELETE", "/flavors/none")
        self.told()


class SilentTest(ApiCase):
    """No driver is configured."""

    def test_nothing_is_told_and_nothing_is_looked_up_for_it(self) -> None:
        notified = Notified(self)
        self.asked(200, "POST", "/flavors", {"flavor": FLAVOR})
        statements = Statements(self)
        statements.during(lambda: self.asked(202, "DELETE", "/flavors/9"))
        self.assertEqual([], [text for _, text in statements.seen if text.startswith("SELECT")])
        self.assertEqual([], notified.await_count(0))
