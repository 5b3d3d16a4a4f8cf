"""What projects used, through the API."""

from datetime import datetime, timedelta
from typing import Any

from kilonova.core.clock import utcnow
from kilonova.core.flavor import Flavor
from kilonova.core.ids import CellUuid, FlavorId, InstanceUuid, ProjectId, RequestId, UserId
from kilonova.core.instance import Instance, InstanceAction, Wishes
from kilonova.core.quota import Limits
from kilonova.core.scheduling import RequestSpec
from kilonova.core.states import VmState
from kilonova.db import cells, instances
from kilonova.db.acceptance import Accepted, Lot, accept
from kilonova.db.instances import Placed
from tests.functional.api.api_case import ANN, ApiCase

URL = "/os-simple-tenant-usage"
FLAVOR = Flavor(
    flavor_id=FlavorId("1"), name="f", vcpus=2, memory_mb=1024, root_gb=1, ephemeral_gb=2
)


def uuid(number: int) -> InstanceUuid:
    """Return the UUID of the server of a number."""
    return InstanceUuid(f"bbbbbbbb-0000-4000-8000-{number:012}")


class UsagesTest(ApiCase):
    """Servers that ran, some of them gone."""

    def _ran(self, number: int, project: str, hours: float, ended: datetime | None = None) -> None:
        now = utcnow()
        server = Instance(
            uuid=uuid(number),
            name=f"vm{number}",
            hostname="vm",
            project_id=ProjectId(project),
            user_id=UserId("ann"),
            flavor=FLAVOR,
            image=None,
            wishes=Wishes(),
            created_at=now,
            launched_at=(ended or now) - timedelta(hours=hours),
            vm_state=VmState.ACTIVE,
        )
        spec = RequestSpec(
            project_id=server.project_id, user_id=server.user_id, flavor=FLAVOR, image=None
        )
        accepted = Accepted(instance=server, spec=spec, request_id=RequestId("req-1"))
        accept(self.api_db, [Lot([accepted], Limits())])
        action = InstanceAction(
            action="create",
            instance_uuid=server.uuid,
            request_id=RequestId("req-1"),
            user_id=server.user_id,
            project_id=server.project_id,
            started_at=now,
        )
        instances.insert(self.cell_db, [Placed(instance=server, action=action)])
        if ended is not None:
            instances.mark_deleted(self.cell_db, [server.uuid], ended)

    def _list(self, query: str = "", **how: str) -> dict[str, Any]:
        begin = (utcnow() - timedelta(hours=10)).isoformat()
        return self.asked(
            200, "GET", f"{URL}{query}{'&' if '?' in query else '?'}start={begin}", **how
        )

    def test_projects_are_added_up_with_deleted_servers(self) -> None:
        self._ran(1, "project-a", 2)
        self._ran(2, "project-a", 3, ended=utcnow() - timedelta(hours=1))
        self._ran(3, "project-b", 99)
        found = {one["tenant_id"]: one for one in self._list()["tenant_usages"]}
        self.assertEqual({"project-a", "project-b"}, found.keys())
        self.assertAlmostEqual(5, found["project-a"]["total_hours"], places=1)
        self.assertAlmostEqual(10, found["project-a"]["total_vcpus_usage"], places=1)
        self.assertAlmostEqual(15, found["project-a"]["total_local_gb_usage"], places=1)
        self.assertAlmostEqual(10, found["project-b"]["total_hours"], places=1)
        self.assertNotIn("server_usages", found["project-a"])

    def test_a_project_sees_its_own_servers(self) -> None:
        self._ran(1, "project-a", 3, ended=utcnow() - timedelta(hours=1))
        usage = self._list("/project-a", token=ANN)["tenant_usage"]
        (server,) = usage["server_usages"]
        self.assertEqual(
            ("vm1", "terminated", 3), (server["name"], server["state"], server["local_gb"])
        )
        self.assertEqual(3 * 3600, server["uptime"])
        self.refused(403, "show", "GET", f"{URL}/project-b", token=ANN)
        self.refused(403, "list", "GET", URL, token=ANN)

    def test_a_project_that_used_nothing_has_an_empty_usage(self) -> None:
        self.assertEqual({}, self._list("/project-a")["tenant_usage"])

    def test_without_a_start_there_is_no_usage(self) -> None:
        self._ran(1, "project-a", 1)
        self.assertEqual([], self.asked(200, "GET", URL)["tenant_usages"])
        self.assertEqual({}, self.asked(200, "GET", f"{URL}/project-a")["tenant_usage"])

    def test_pages_begin_with_2_40(self) -> None:
        for number in (1, 2, 3):
            self._ran(number, "project-a", 1)
        first = self._list("?limit=2&detailed=1")
        (usage,) = first["tenant_usages"]
        self.assertEqual([uuid(1), uuid(2)], [one["instance_id"] for one in usage["server_usages"]])
        self.assertIn(f"marker={uuid(2)}", first["tenant_usages_links"][0]["href"])
        (usage,) = self._list(f"?limit=2&detailed=1&marker={uuid(2)}")["tenant_usages"]
        self.assertEqual([uuid(3)], [one["instance_id"] for one in usage["server_usages"]])
        self.assertNotIn("tenant_usages_links", self._list("?limit=2", version="2.39"))
        self.refused(400, "marker", "GET", f"{URL}?marker={uuid(9)}&start=2020-01-01T00:00:00")

    def test_a_period_that_makes_no_sense_is_refused(self) -> None:
        for query, says in (
            ("start=yesterday", "start"),
            ("start=2020-01-01T00:00:00&end=x", "end"),
            ("start=2020-01-02T00:00:00&end=2020-01-01T00:00:00", "start"),
            ("start=2020-01-01T00:00:00&colour=blue", "colour"),
        ):
            self.refused(400, says, "GET", f"{URL}?{query}")

    def test_a_dead_cell_is_left_out(self) -> None:
        self._ran(1, "project-a", 1)
        dead = cells.Cell(
            uuid=CellUuid("dddddddd-dddd-4ddd-8ddd-dddddddddddd"),
            name="dead",
            transport_url="memory://",
            database_connection=f"sqlite:///{self.directory}/nothing/here.sqlite",
        )
        cells.create_cell(self.api_db, dead)
        self.assertEqual(1, len(self._list()["tenant_usages"]))
