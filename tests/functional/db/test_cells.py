"""Cells: their mappings, their hosts, and the databases behind them."""

import testscenarios

from kilonova.core.errors import Conflict, NotFound
from kilonova.core.ids import CELL0, CellUuid, HostName
from kilonova.core.quota import Limits
from kilonova.db import acceptance, build_requests, cells
from kilonova.db.acceptance import Lot
from kilonova.db.cells import Cell, Cells
from tests.functional.db.api_database import NOW, ApiDatabaseTest
from tests.functional.db.databases import statements_of
from tests.functional.db.servers import accepted

load_tests = testscenarios.load_tests_apply_scenarios

A = CellUuid("11111111-1111-4111-8111-111111111111")
B = CellUuid("22222222-2222-4222-8222-222222222222")
H1, H2 = HostName("h1"), HostName("h2")


def cell(uuid: CellUuid, name: str, connection: str = "sqlite://") -> Cell:
    """Return a cell's mapping."""
    return Cell(uuid=uuid, name=name, transport_url="memory://", database_connection=connection)


class MappingsTest(ApiDatabaseTest):
    """One cell is mapped."""

    def setUp(self) -> None:
        super().setUp()
        cells.create_cell(self.db, cell(A, "a"))

    def test_cells_are_listed_cell0_first(self) -> None:
        cells.create_cell(self.db, cell(CELL0, "zero"))
        self.assertEqual((cell(CELL0, "zero"), cell(A, "a")), cells.list_cells(self.db))

    def test_a_taken_name_or_uuid_is_a_conflict(self) -> None:
        for taken in (cell(A, "other"), cell(B, "a")):
            self.assertRaises(Conflict, cells.create_cell, self.db, taken)
        self.assertEqual((cell(A, "a"),), cells.list_cells(self.db))

    def test_a_changed_cell_is_read_changed(self) -> None:
        cells.update_cell(self.db, A, {"disabled": True, "name": "b"})
        (changed,) = cells.list_cells(self.db)
        self.assertEqual((True, "b"), (changed.disabled, changed.name))
        self.assertRaises(NotFound, cells.update_cell, self.db, B, {"name": "c"})

    def test_a_host_stays_in_the_cell_where_it_was_found_first(self) -> None:
        cells.create_cell(self.db, cell(B, "b"))
        cells.map_hosts(self.db, A, [H1])
        cells.map_hosts(self.db, B, [H1, H2])
        self.assertEqual({H1: A, H2: B}, cells.mapped_hosts(self.db))
        cells.unmap_host(self.db, H1)
        cells.map_hosts(self.db, B, [H1])
        self.assertEqual({H1: B, H2: B}, cells.mapped_hosts(self.db))

    def test_mapping_no_hosts_asks_the_database_nothing(self) -> None:
        self.assertEqual([], statements_of(self.db, lambda: cells.map_hosts(self.db, A, [])))

    def test_an_empty_cell_goes_with_its_hosts(self) -> None:
        cells.map_hosts(self.db, A, [H1])
        cells.delete_cell(self.db, A)
        self.assertEqual(((), {}), (cells.list_cells(self.db), cells.mapped_hosts(self.db)))
        self.assertRaises(NotFound, cells.delete_cell, self.db, A)

    def test_a_cell_with_servers_stays_with_its_hosts(self) -> None:
        cells.map_hosts(self.db, A, [H1])
        (one,) = accepted(1)
        uuid = one.instance.uuid
        acceptance.accept(self.db, [Lot([one], Limits())])
        build_requests.take(self.db, [uuid], "d", NOW)
        build_requests.settle(self.db, {uuid: A}, "d")
        error = self.assertRaises(Conflict, cells.delete_cell, self.db, A)
        self.assertIn("1 servers", error.message)
        self.assertEqual({H1: A}, cells.mapped_hosts(self.db))


class CellsTest(ApiDatabaseTest):
    """What a service keeps of them."""

    def setUp(self) -> None:
        super().setUp()
        cells.create_cell(self.db, cell(A, "a", f"sqlite:///{self.directory}/a.sqlite"))
        self.cells = Cells(self.db)
        self.addCleanup(self.cells.dispose)

    def test_a_cell_that_is_known_is_asked_for_once(self) -> None:
        self.assertEqual("a", self.cells.get(A).name)
        seen = statements_of(self.db, lambda: [self.cells.get(A), self.cells.all()])
        self.assertEqual([], seen)

    def test_a_cell_that_came_later_is_found_when_it_is_asked_for(self) -> None:
        self.assertEqual(1, len(self.cells.all()))
        self.assertRaises(NotFound, self.cells.get, B)
        cells.create_cell(self.db, cell(B, "b"))
        self.assertEqual("b", self.cells.get(B).name)
        self.assertEqual(2, len(self.cells.all()))

    def test_a_cell_that_changed_is_seen_after_a_refresh(self) -> None:
        before = self.cells.database(A)
        self.assertIs(before, self.cells.database(A))
        moved = f"sqlite:///{self.directory}/b.sqlite"
        cells.update_cell(self.db, A, {"database_connection": moved})
        self.cells.refresh()
        self.assertEqual(moved, str(self.cells.database(A).url))
