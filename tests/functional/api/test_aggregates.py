"""Host aggregates through the API."""

from typing import Any

from kilonova.core.clock import utcnow
from kilonova.core.flavor import Flavor
from kilonova.core.ids import (
    FlavorId,
    HostName,
    InstanceUuid,
    ProjectId,
    RequestId,
    UserId,
)
from kilonova.core.instance import Instance, InstanceAction, Wishes
from kilonova.db import instances
from kilonova.db.instances import Placed
from tests.functional.api.api_case import ANN, ApiCase

UUID = InstanceUuid("bbbbbbbb-0000-4000-8000-000000000001")


class AggregatesTest(ApiCase):
    """Two compute hosts, h1 and h2."""

    def setUp(self) -> None:
        super().setUp()
        self.add_host("h1", 1)
        self.add_host("h2", 2)

    def _create(self, name: str = "rack", zone: str | None = None) -> dict[str, Any]:
        body = {"aggregate": {"name": name, "availability_zone": zone}}
        made: dict[str, Any] = self.asked(200, "POST", "/os-aggregates", body)["aggregate"]
        return made

    def _act(self, number: int, **action: Any) -> dict[str, Any]:
        path = f"/os-aggregates/{number}/action"
        changed: dict[str, Any] = self.asked(200, "POST", path, action)["aggregate"]
        return changed

    def _boot_on(self, host: str) -> None:
        now = utcnow()
        server = Instance(
            uuid=UUID,
            name="vm",
            hostname="vm",
            project_id=ProjectId("project-a"),
            user_id=UserId("ann"),
            flavor=Flavor(flavor_id=FlavorId("1"), name="f", vcpus=1, memory_mb=512, root_gb=1),
            image=None,
            wishes=Wishes(),
            created_at=now,
            host=HostName(host),
        )
        action = InstanceAction(
            action="create",
            instance_uuid=UUID,
            request_id=RequestId("req-1"),
            user_id=UserId("ann"),
            project_id=ProjectId("project-a"),
            started_at=now,
        )
        instances.insert(self.cell_db, [Placed(instance=server, action=action)])

    def test_an_aggregate_is_made_changed_and_deleted(self) -> None:
        made = self._create(zone="z1")
        self.assertEqual(
            ("rack", "z1", False), (made["name"], made["availability_zone"], made["deleted"])
        )
        self.assertEqual({"uuid"}, made.keys() & {"uuid", "hosts", "metadata"})
        number = made["id"]
        path = f"/os-aggregates/{number}"
        changed = self.asked(200, "PUT", path, {"aggregate": {"name": "rack2"}})["aggregate"]
        self.assertEqual(("rack2", "z1"), (changed["name"], changed["availability_zone"]))
        self._act(number, set_metadata={"metadata": {"ssd": "true", "gone": "1"}})
        self._act(number, add_host={"host": "h1"})
        shown = self._act(number, set_metadata={"metadata": {"gone": None}})
        self.assertEqual({"availability_zone": "z1", "ssd": "true"}, shown["metadata"])
        self.assertEqual(["h1"], shown["hosts"])
        self.assertEqual([shown], self.asked(200, "GET", "/os-aggregates")["aggregates"])
        self.assertEqual(shown, self.asked(200, "GET", path)["aggregate"])
        self.refused(400, "hosts", "DELETE", path)
        self._act(number, remove_host={"host": "h1"})
        self.asked(200, "DELETE", path)
        self.refused(404, str(number), "GET", path)

    def test_a_taken_name_is_a_conflict(self) -> None:
        self._create("one")
        number = self._create("two")["id"]
        self.refused(409, "one", "POST", "/os-aggregates", {"aggregate": {"name": "one"}})
        self.refused(409, "one", "PUT", f"/os-aggregates/{number}", {"aggregate": {"name": "one"}})

    def test_a_host_is_in_one_zone_only(self) -> None:
        first, second = self._create("one", "z1")["id"], self._create("two", "z2")["id"]
        self._act(first, add_host={"host": "h1"})
        path = f"/os-aggregates/{second}"
        self.refused(409, "h1", "POST", f"{path}/action", {"add_host": {"host": "h1"}})
        loose = self._create("loose")["id"]
        self._act(loose, add_host={"host": "h1"})
        path = f"/os-aggregates/{loose}"
        self.refused(400, "h1", "PUT", path, {"aggregate": {"availability_zone": "z2"}})
        body = {"set_metadata": {"metadata": {"availability_zone": "z2"}}}
        self.refused(400, "h1", "POST", f"{path}/action", body)

    def test_a_host_with_servers_stays_in_its_zone(self) -> None:
        number = self._create("one", "z1")["id"]
        self._act(number, add_host={"host": "h1"})
        self._boot_on("h1")
        path = f"/os-aggregates/{number}"
        self.refused(409, "h1", "POST", f"{path}/action", {"remove_host": {"host": "h1"}})
        self.refused(400, "h1", "PUT", path, {"aggregate": {"availability_zone": "z2"}})
        self.refused(400, "h1", "PUT", path, {"aggregate": {"availability_zone": None}})
        self._boot_is_seen_by_operators()
        self._act(number, set_metadata={"metadata": {"ssd": "true"}})
        self._act(number, add_host={"host": "h2"})

    def _boot_is_seen_by_operators(self) -> None:
        (shown,) = self.asked(
            200, "GET", "/os-hypervisors?hypervisor_hostname_pattern=h1&with_servers=1"
        )["hypervisors"]
        self.assertEqual([{"uuid": UUID, "name": "vm"}], shown["servers"])
        (service,) = self.asked(200, "GET", "/os-services?host=h1")["services"]
        self.refused(409, "h1", "DELETE", f"/os-services/{service['id']}")

    def test_what_is_wrong_is_named_and_nothing_is_made(self) -> None:
        for field, value in (
            ("name", ""),
            ("name", "n" * 256),
            ("name", None),
            ("availability_zone", "a:b"),
            ("availability_zone", ""),
            ("colour", "blue"),
        ):
            body = {"aggregate": {"name": "x", field: value}}
            self.refused(400, field, "POST", "/os-aggregates", body)
        self.assertEqual([], self.asked(200, "GET", "/os-aggregates")["aggregates"])
        number = self._create()["id"]
        path = f"/os-aggregates/{number}"
        self.refused(400, "name", "PUT", path, {"aggregate": {"name": "  "}})
        self.refused(400, "aggregate", "PUT", path, {"aggregate": {}})
        for action in (
            {},
            {"paint": {}},
            {"add_host": {"host": "a b"}},
            {"add_host": {}},
            {"add_host": {"host": "h1"}, "remove_host": {"host": "h1"}},
            {"set_metadata": {"metadata": {"a": 1}}},
            {"set_metadata": {"metadata": {"availability_zone": ""}}},
            {"set_metadata": {"metadata": {"availability_zone": "a:b"}}},
        ):
            self.refused(400, "", "POST", f"{path}/action", action)
        self.refused(400, "id", "GET", "/os-aggregates/rack")
        self.refused(400, "id", "GET", "/os-aggregates/" + "9" * 5000)
        self.refused(400, "id", "GET", "/os-aggregates/-")
        self.refused(404, "-1", "GET", "/os-aggregates/-1")
        self.refused(404, "-1", "DELETE", "/os-aggregates/-1")
        self.refused(404, "77", "GET", "/os-aggregates/77")
        self.refused(404, "77", "DELETE", "/os-aggregates/77")
        self.refused(404, "77", "PUT", "/os-aggregates/77", {"aggregate": {"name": "x"}})

    def test_tenants_neither_see_nor_change_aggregates(self) -> None:
        number = self._create()["id"]
        path = f"/os-aggregates/{number}"
        body = {"aggregate": {"name": "x"}}
        for method, where, what in (
            ("GET", "/os-aggregates", None),
            ("POST", "/os-aggregates", body),
            ("GET", path, None),
            ("PUT", path, body),
            ("DELETE", path, None),
            ("POST", f"{path}/action", {"add_host": {"host": "h1"}}),
        ):
            self.refused(403, "os-aggregates", method, where, what, token=ANN)
