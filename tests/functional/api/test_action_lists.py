"""Lists of instance actions: their pages and periods, from 2.58 on."""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from kilonova.core.ids import ProjectId, RequestId, UserId
from kilonova.core.instance import InstanceAction
from kilonova.db import actions
from tests.functional.api.api_case import ANN, CELL
from tests.functional.api.cells_case import CellsCase
from tests.functional.db.api_database import NOW

SECOND = timedelta(seconds=1)


class ActionListsTest(CellsCase):
    """A server with five actions beside its creation, of which each took a second."""

    def setUp(self) -> None:
        super().setUp()
        server = self.add(CELL)
        self.path = f"/servers/{server.uuid}/os-instance-actions"
        actions.record(
            self.cell_db,
            [
                InstanceAction(
                    action="reboot",
                    instance_uuid=server.uuid,
                    request_id=RequestId(f"req-{number}"),
                    user_id=UserId("ann"),
                    project_id=ProjectId("project-a"),
                    started_at=NOW + number * SECOND,
                    updated_at=NOW + (number + 1) * SECOND,
                )
                for number in range(1, 6)
            ],
        )

    def _page(self, query: str, version: str = "2.104") -> tuple[str, list[Any] | None]:
        """Return the numbers of a page's actions, and what the link to the next one asks."""
        page = self.asked(200, "GET", f"{self.path}{query}", version=version, token=ANN)
        links = page.get("links")
        asked = None if links is None else parse_qsl(urlsplit(links[0]["href"]).query)
        return "".join(one["request_id"][-1] for one in page["instanceActions"])[:5], asked

    def test_pages_follow_each_other_the_newest_first(self) -> None:
        self.assertEqual(("54", [("limit", "2"), ("marker", "req-4")]), self._page("?limit=2"))
        self.assertEqual("32", self._page("?limit=2&marker=req-4")[0])
        self.assertEqual("", self._page("?limit=0")[0])
        self.refused(400, "marker", "GET", f"{self.path}?marker=req-9", token=ANN)
        self.refused(400, "limit", "GET", f"{self.path}?limit=-1", token=ANN)

    def test_changes_are_of_a_period(self) -> None:
        since = f"{(NOW + 4 * SECOND).isoformat()}Z"
        before = f"{(NOW + 5 * SECOND).isoformat()}Z"
        self.assertEqual("543", self._page(f"?changes-since={since}", "2.58")[0])
        self.assertEqual("43", self._page(f"?changes-since={since}&changes-before={before}")[0])
        for query, says in (
            (f"changes-since={before}&changes-before={since}", "changes-since"),
            ("changes-since=yesterday", "changes-since"),
            (f"changes-since={since}&changes-since={since}", "changes-since"),
            ("colour=blue", "colour"),
        ):
            self.refused(400, says, "GET", f"{self.path}?{query}", token=ANN)

    def test_parameters_come_with_their_versions(self) -> None:
        since = f"?changes-since={NOW.isoformat()}Z"
        self.assertEqual(("54321", None), self._page("?limit=1", "2.57"))
        self.assertEqual("54321", self._page("?colour=blue", "2.57")[0])
        self.refused(
            400, "changes-before", "GET", f"{self.path}{since.replace('since', 'before')}",
            version="2.65", token=ANN,
        )  # fmt: skip
        self.refused(400, "colour", "GET", f"{self.path}?colour=blue", version="2.58", token=ANN)
