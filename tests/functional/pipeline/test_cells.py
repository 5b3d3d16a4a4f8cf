"""Several cells in one deployment: servers over all of them, and one that goes away and comes back."""

import sqlite3
from contextlib import closing
from datetime import timedelta

from kilonova.conductor import patience
from kilonova.core.ids import InstanceUuid
from kilonova.db import build_requests, cells
from tests.functional.pipeline.cells_case import CELL2, CELL3, CELLS, CellsCase
from tests.functional.pipeline.wire import Outage, Wire


class ThreeCellsTest(CellsCase):
    """Three cells of two hosts."""

    hosts = 2
    more = "[quota]\ninstances = -1\ncores = -1\nram = -1\n[scheduler]\nhost_refresh_interval = 1\n"

    def setUp(self) -> None:
        for name in ("UNTOUCHED", "NOT_BEGUN", "NOT_DELETED"):
            self.patch(patience, name, timedelta(seconds=0.5))
        self.patch(build_requests, "LEASE", timedelta(seconds=3))
        super().setUp()
        self.add_cell("cell2")
        self.add_cell("cell3")
        self.outage = Outage(self)
        self.wire = Wire(self)

    def in_cells(self, uuids: list[str]) -> dict[str, list[str]]:
        """Return servers by cell, as their hosts say and as they are mapped, which must be the same."""
        found: dict[str, list[str]] = {}
        for uuid in uuids:
            cell = self.cell_of(self.server(uuid))
            mapping = cells.mapping_of(self.api_db, InstanceUuid(uuid))
            assert mapping is not None
            self.assertEqual(CELLS[cell], mapping.cell_uuid)
            found.setdefault(cell, []).append(uuid)
        return found

    def test_one_request_fills_all_cells_evenly_and_is_listed_and_deleted_as_one(self) -> None:
        uuids = self.boot(12)
        spread = self.in_cells(uuids)
        self.assertEqual([4, 4, 4], [len(spread[cell]) for cell in CELLS])
        self.assertEqual(sorted(uuids), sorted(server["id"] for server in self.servers()))
        for uuid in uuids:
            self.assertEqual(204, self.ask("compute", "DELETE", f"/servers/{uuid}").status_code)
        self.until("all are gone", lambda: not self.servers())
        self.assert_nothing_left()

    def test_a_cell_that_goes_away_takes_its_own_servers_and_hosts_with_it_and_nothing_else(
        self,
    ) -> None:
        uuids = self.boot(6)
        lost = self.in_cells(uuids)["cell2"]
        self.outage.away.add("cell2")
        for path in ("/servers", "/servers/detail"):
            listed = self.get("compute", path)["servers"]
            self.assertEqual(uuids, [server["id"] for server in listed])
            unknown = [server["id"] for server in listed if server.get("status") == "UNKNOWN"]
            self.assertEqual(sorted(lost), sorted(unknown))
        self.assertEqual("UNKNOWN", self.server(lost[0])["status"])
        for method, body in (("DELETE", None), ("POST", {"os-stop": None})):
            path = f"/servers/{lost[0]}" + ("/action" if body else "")
            answer = self.ask("compute", method, path, body)
            self.assertEqual(503, answer.status_code, answer.text)
            self.assertIn("does not answer. Try again later.", answer.text)
        # As many as would have gone to all three; at most the first of them are tried there in vain.
        new = [self.create(f"new-{number}") for number in range(6)]
        for uuid in new:
            self.until_status(uuid, "ACTIVE")
        self.assertEqual({"cell1", "cell3"}, set(self.in_cells(new)))
        self.outage.away.clear()
        for uuid in (*uuids, *new):
            self.until_status(uuid, "ACTIVE")
            self.delete(uuid)
        self.assert_nothing_left()

    def test_a_server_that_was_written_into_a_cell_that_then_went_away_is_built_once(self) -> None:
        self.outage.refused.add("UPDATE instance_mappings SET cell_uuid")
        uuid = self.create("vm")

        def written() -> list[str]:
            return [name for name in CELLS if uuid in self._instances_in(name)]

        self.until("it is in a cell", lambda: bool(written()))
        # So that nobody is just about to map it there.
        self.deployment.stop_part("conductor")
        (cell,) = written()
        self.outage.away.add(cell)
        self.outage.refused.clear()
        self.deployment.start_part("conductor")
        shown = self.until_status(uuid, "ACTIVE")
        self.assertNotEqual(cell, self.cell_of(shown))
        self.outage.away.clear()
        self.until("it is gone from there", lambda: len(written()) == 1)
        self.assertEqual([uuid], [server["id"] for server in self.servers()])
        self.assertEqual(1, self.wire.counts()["BuildInstance"])
        self.assertEqual({"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1}, self.held())
        self.delete(uuid)
        self.assert_nothing_left()

    def _instances_in(self, name: str) -> list[str]:
        # Not through SQLAlchemy, so that it works while the database is away.
        with closing(sqlite3.connect(self.state / f"{name}.db")) as connection:
            return [row[0] for row in connection.execute("SELECT uuid FROM instances")]

    def test_a_disabled_cell_keeps_its_servers_and_gets_no_new_ones(self) -> None:
        before = self.in_cells(self.boot(6))
        self.disable("cell3")
        # As many as there are hosts: one of them at least would go there.
        self.until("the scheduler knows", lambda: "cell3" not in self.in_cells(self.boot(6)))
        self.assertEqual(2, len(self.hosts_of("cell3")))
        host = sorted(self.hosts_of("cell3"))[0]
        refused = self.until_status(self.create("vm", host=host), "ERROR")
        self.assertIn("disabled", refused["fault"]["message"])
        for uuid in before["cell3"]:
            self.assertEqual(202, self.act(uuid, {"os-stop": None}).status_code)
            self.until_status(uuid, "SHUTOFF")
        self.disable("cell3", disabled=False)
        self.until("it is used again", lambda: "cell3" in self.in_cells(self.boot(3)))

    def test_the_hosts_of_all_cells_are_mapped_without_a_command(self) -> None:
        self.until(
            "all are mapped",
            lambda: set(cells.mapped_hosts(self.api_db).values()) == set(CELLS.values()),
        )
        for name, cell in (("cell2", CELL2), ("cell3", CELL3)):
            self.assertEqual(self.hosts_of(name), cells.hosts_in(self.api_db, cell))
