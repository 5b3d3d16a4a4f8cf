"""What the API says of servers whose cell is away: as much as is known, or that it is; nothing else."""

import re
from typing import Any

from kilonova.api.resources import ROUTES
from kilonova.api.servers import tasks
from kilonova.core.ids import CellUuid, InstanceUuid
from tests.functional.api.api_case import ANN
from tests.functional.api.bodies import OLD_ACTIONS
from tests.functional.api.population import (
    ACTIVE,
    FAILED,
    IMAGE,
    REQUEST,
    VOLUME,
    WAITING,
    Populated,
)
from tests.functional.api.test_tenants import bodies_of

AWAY = CellUuid("dddddddd-dddd-4ddd-8ddd-dddddddddddd")
NEAR = InstanceUuid("bbbbbbbb-0000-4000-8000-000000000008")
SENTENCE = f"The cell of instance {ACTIVE} does not answer. Try again later."
_BASE = {"id", "status", "links"}
_LISTED = _BASE | {"tenant_id", "created"}
_SHOWN = _LISTED | {
    "user_id",
    "flavor",
    "image",
    "OS-EXT-AZ:availability_zone",
    "OS-EXT-STS:power_state",
}


class CellAwayTest(Populated):
    """One server in a cell that is away, one in a cell that answers, one that waits for its cell."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(tasks, "HOST_SECONDS", 0.01)
        self.add_cell(AWAY, "away", f"sqlite:///{self.directory}/nothing/here.sqlite")
        self.remap(ACTIVE, AWAY)

    def _listed(self, query: str = "", version: str = "2.96", **how: str) -> dict[str, Any]:
        path = f"/servers/detail{query}"
        servers = self.asked(200, "GET", path, version=version, **{"token": ANN} | how)["servers"]
        return {server["id"]: server for server in servers}

    def test_every_route_of_such_a_server_says_that_its_cell_is_away(self) -> None:
        ids = {
            "server_id": ACTIVE,
            "request_id": REQUEST,
            "network": "public",
            "port_id": "99999999-9999-4999-8999-999999999999",
            "migration_id": "1",
            "tag": "red",
            "volume_id": VOLUME,
            "share_id": IMAGE.image_id,
            "key": "colour",
        }
        asked = 0
        for route in ROUTES:
            if not route.path.startswith("/servers/{server_id}"):
                continue
            path = re.sub(r"{(\w+)}", lambda found: ids[found[1]], route.path)
            version = ".".join(map(str, route.when.until))
            for body in bodies_of(route):
                answer = self.ask(route.method, path, body, version=version)
                what = f"{route.method} {path} {body}: {answer.text}"
                if (route.method, route.path) == ("GET", "/servers/{server_id}"):
                    self.assertEqual("UNKNOWN", answer.json["server"]["status"])
                elif answer.status_code != 410:
                    self.assertEqual(503, answer.status_code, what)
                    self.assertEqual(SENTENCE, answer.json["serviceUnavailable"]["message"], what)
                    asked += 1
        for body in OLD_ACTIONS:
            answer = self.ask("POST", f"/servers/{ACTIVE}/action", body, version="2.5")
            self.assertIn(answer.status_code, (503, 410), f"{body}: {answer.text}")
        self.assertGreater(asked, 60)

    def test_lists_have_of_it_what_its_mapping_says(self) -> None:
        for version in ("2.69", "2.104"):
            shown = self._listed(version=version)
            self.assertEqual({ACTIVE, FAILED, WAITING}, shown.keys())
            self.assertEqual(_LISTED, shown[ACTIVE].keys())
            lost = shown[ACTIVE]
            self.assertEqual(("UNKNOWN", "project-a"), (lost["status"], lost["tenant_id"]))
            self.assertEqual("ERROR", shown[FAILED]["status"])
            brief = self.asked(200, "GET", "/servers", version=version, token=ANN)["servers"]
            (known,) = [server for server in brief if server["id"] == ACTIVE]
            self.assertEqual(_BASE, known.keys())
        self.assertEqual({FAILED, WAITING}, self._listed(version="2.68").keys())

    def test_what_only_its_cell_knows_leaves_it_out(self) -> None:
        for query in (
            "?status=ACTIVE",
            "?name=vm",
            "?image=dddddddd-0000-4000-8000-000000000001",
            "?flavor=1",
            "?tags=red",
            "?locked=false",
            "?changes-since=2001-01-01T00:00:00Z",
            "?changes-before=2101-01-01T00:00:00Z",
            "?availability_zone=z1",
            "?sort_key=display_name",
            "?sort_key=created_at&sort_key=vm_state",
        ):
            self.assertNotIn(ACTIVE, self._listed(query), query)

    def test_what_its_mapping_knows_does_not(self) -> None:
        for query in ("?limit=10", "?sort_key=created_at&sort_dir=asc", "?deleted=False"):
            self.assertIn(ACTIVE, self._listed(query), query)
        everybodys = self._listed("?all_tenants=1&project_id=project-a", token="admin:operators")
        self.assertIn(ACTIVE, everybodys)
        theirs = self._listed("?all_tenants=1&project_id=project-b", token="admin:operators")
        self.assertEqual({}, theirs)

    def test_one_is_shown_with_what_its_request_says(self) -> None:
        path = f"/servers/{ACTIVE}"
        shown = self.asked(200, "GET", path, version="2.69", token=ANN)["server"]
        self.assertEqual(_SHOWN, shown.keys())
        self.assertEqual((0, "ann"), (shown["OS-EXT-STS:power_state"], shown["user_id"]))
        self.assertEqual(IMAGE.image_id, shown["image"]["id"])
        self.assertEqual("small", shown["flavor"]["original_name"])
        shown = self.asked(200, "GET", path, version="2.71", token=ANN)["server"]
        self.assertEqual(_SHOWN | {"server_groups"}, shown.keys())
        self.refused(503, SENTENCE, "GET", path, version="2.68", token=ANN)
        self.refused(404, ACTIVE, "GET", path, version="2.69", token="bob:project-b")

    def test_it_counts_as_it_did_before(self) -> None:
        limits = self.asked(200, "GET", "/limits", token=ANN)["limits"]["absolute"]
        used = ("totalInstancesUsed", "totalCoresUsed", "totalRAMUsed")
        self.assertEqual([3, 3, 1536], [limits[name] for name in used])
        detail = self.asked(200, "GET", "/os-quota-sets/project-a/detail")["quota_set"]
        self.assertEqual(3, detail["instances"]["in_use"])

    def test_events_for_it_may_be_sent_again_and_keep_no_others_back(self) -> None:
        def event(server: str) -> dict[str, str]:
            return {"name": "network-changed", "server_uuid": server, "tag": "t"}

        self.add_server(NEAR)
        path, both = "/os-server-external-events", [event(ACTIVE), event(NEAR)]
        told = self.asked(207, "POST", path, {"events": both})["events"]
        self.assertEqual([503, 200], [one["code"] for one in told])
        self.assertEqual(["failed", "completed"], [one["status"] for one in told])
        self.refused(503, "do not answer", "POST", path, {"events": [event(ACTIVE)]})

    def test_lists_of_other_things_have_those_of_the_other_cells(self) -> None:
        self.add_host("h2", 2)
        start = "start=2020-01-01T00:00:00"
        for path, key in (
            ("/os-hypervisors/detail", "hypervisors"),
            ("/os-services", "services"),
            ("/os-availability-zone/detail", "availabilityZoneInfo"),
            (f"/os-simple-tenant-usage?{start}", "tenant_usages"),
            ("/os-server-groups", "server_groups"),
            ("/os-aggregates", "aggregates"),
        ):
            token = ANN if key == "server_groups" else "admin:operators"
            self.assertTrue(self.asked(200, "GET", path, token=token)[key], path)
        self.asked(200, "GET", "/os-migrations")
