"""Asking all cells at once: one that fails, hangs or has other tables is silent, and holds up nothing."""

import threading
import time

import sqlalchemy as sa

from kilonova.core.errors import DatabaseUnavailable
from kilonova.core.ids import CELL0, CellUuid
from kilonova.db import cells
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.db.scatter import gather, gather_from
from tests.functional.db.api_database import ApiDatabaseTest
from tests.functional.db.test_cells import A, B, cell

C = CellUuid("33333333-3333-4333-8333-333333333333")
PATIENCE = 0.3


class ScatterTest(ApiDatabaseTest):
    """cell0 and three cells, whose databases are files."""

    def setUp(self) -> None:
        super().setUp()
        for uuid, name in ((CELL0, "zero"), (A, "a"), (B, "b"), (C, "c")):
            cells.create_cell(
                self.db, cell(uuid, name, f"sqlite:///{self.directory}/{name}.sqlite")
            )
        self.cells = Cells(self.db, pool_size=2, patience=PATIENCE)
        self.addCleanup(self.cells.dispose)
        self.hung = threading.Event()
        self.addCleanup(self.hung.set)

    def _name(self, database: Database) -> str:
        name = str(database.url.database).rpartition("/")[2]
        if name == "b.sqlite":
            self.hung.wait(10)
        return name

    def test_the_cells_that_can_have_hosts_answer_or_all(self) -> None:
        self.hung.set()
        self.assertEqual({A, B, C}, set(gather(self.cells, self._name).answers))
        answers = gather(self.cells, self._name, hosts_only=False).answers
        self.assertEqual(
            {CELL0: "zero.sqlite", A: "a.sqlite", B: "b.sqlite", C: "c.sqlite"}, answers
        )

    def test_a_cell_that_hangs_costs_the_timeout_and_takes_no_more_threads_than_its_own(
        self,
    ) -> None:
        before = threading.active_count()
        for _ in range(6):
            began = time.monotonic()
            found = gather(self.cells, self._name)
            self.assertLess(time.monotonic() - began, PATIENCE + 0.5)
            self.assertEqual(({A, C}, {B}), (set(found.answers), set(found.silent)))
        # Two of each cell, and one that looks.
        self.assertLessEqual(threading.active_count() - before, 3 * 2 + 1)
        self.hung.set()
        self.assertEqual(frozenset(), gather(self.cells, self._name).silent)

    def test_each_cell_is_asked_its_own(self) -> None:
        found = gather_from(self.cells, {A: lambda _: 1, C: lambda _: 2})
        self.assertEqual(({A: 1, C: 2}, frozenset()), (found.answers, found.silent))

    def test_one_that_fails_or_has_other_tables_is_silent(self) -> None:
        def away(_: Database) -> int:
            raise DatabaseUnavailable("away")

        def other(_: Database) -> int:
            raise sa.exc.ProgrammingError("SELECT", {}, Exception("no such column"))

        found = gather_from(self.cells, {A: lambda _: 1, B: away, C: other})
        self.assertEqual(({A: 1}, {B, C}), (found.answers, found.silent))

    def test_what_is_wrong_in_the_code_is_not_hidden(self) -> None:
        def wrong(_: Database) -> int:
            raise LookupError("wrong")

        self.assertRaises(LookupError, gather, self.cells, wrong)
