"""``kilonova-manage`` on databases in a directory: what it does, prints and returns."""

import sqlite3
from contextlib import closing
from datetime import timedelta

from kilonova.core.clock import utcnow
from kilonova.core.errors import Conflict, KilonovaError, NotFound
from kilonova.core.ids import CELL0
from kilonova.db import cells, leases
from kilonova.db.engine import Database
from tests.functional.cli.manage_case import CELL, ManageCase


class ManageTest(ManageCase):
    """The commands for databases, and what they say of cells."""

    def _with_cell(self) -> None:
        self.run_command("db", "sync")
        self.run_command("cell", "create", "--name", "one", "--uuid", CELL)

    def test_every_schema_that_is_configured_is_made_once_with_cell0(self) -> None:
        code, first = self.run_command("db", "sync")
        self.assertEqual(
            (0, ["api", "cell", "cell0", "placement"]),
            (code, sorted(line.split()[0] for line in first.splitlines())),
        )
        self.assertNotIn("up to date", first)
        code, second = self.run_command("db", "sync")
        self.assertEqual((0, 4), (code, second.count("up to date")))
        self.assertTrue((self.directory / "api_cell0.db").exists())
        api_db = Database(self.url("api"))
        self.addCleanup(api_db.dispose)
        self.assertEqual([CELL0], [cell.uuid for cell in cells.list_cells(api_db)])

    def test_only_what_is_configured_is_made(self) -> None:
        self.configure(f"[placement_database]\nconnection = {self.url('placement')}\n")
        self.assertEqual(
            (0, 1), (self.run_command("db", "sync")[0], len(list(self.directory.glob("*.db"))))
        )
        self.configure("")
        code, said = self.run_command("db", "sync")
        self.assertEqual(1, code)
        self.assertIn("[api_database]", said)

    def test_a_cell_is_made_with_the_urls_of_the_configuration_and_listed_without_passwords(
        self,
    ) -> None:
        self._with_cell()
        code, listed = self.run_command("cell", "list")
        self.assertEqual(0, code)
        (line,) = [line for line in listed.splitlines() if CELL in line]
        self.assertIn("one", line)
        self.assertIn("rabbit://nova:***@mq:5672/", line)
        self.assertIn(self.url("cell1"), line)
        self.assertNotIn("sesame", listed)
        self.assertIn("nova:sesame@mq", self.run_command("cell", "list", "--verbose")[1])

    def test_a_cell_is_changed_and_deleted(self) -> None:
        self._with_cell()
        self.assertEqual(1, self.run_command("cell", "update", CELL)[0])
        self.run_command("cell", "update", CELL, "--name", "two", "--disable")
        self.assertRegex(self.run_command("cell", "list")[1], f"{CELL}  two +disabled")
        self.run_command("cell", "update", CELL, "--enable")
        self.assertRegex(self.run_command("cell", "list")[1], f"{CELL}  two +enabled")
        self.assertEqual(0, self.run_command("cell", "delete", CELL)[0])
        self.assertNotIn(CELL, self.run_command("cell", "list")[1])
        self.assertRaises(NotFound, self.run_command, "cell", "delete", CELL)

    def test_a_cell_of_a_taken_name_is_refused(self) -> None:
        self._with_cell()
        self.assertRaises(Conflict, self.run_command, "cell", "create", "--name", "one")

    def test_hosts_that_have_reported_are_mapped_once(self) -> None:
        self._with_cell()
        self.beat("h1")
        self.assertEqual((0, "h1  one\n"), self.run_command("cell", "discover-hosts"))
        self.beat("h2")
        self.assertEqual((0, "h2  one\n"), self.run_command("cell", "discover-hosts"))
        self.assertEqual((0, ""), self.run_command("cell", "discover-hosts"))

    def test_the_check_says_that_no_broker_answers_and_that_a_schema_is_old(self) -> None:
        self._with_cell()
        self.beat("h1")
        code, said = self.run_command("status", "check")
        self.assertEqual(2, code)
        self.assertIn("FAIL  message bus: No broker takes connections.", said)
        self.assertNotIn("sesame", said)
        self.configure(self.databases, bus="memory://")
        with closing(sqlite3.connect(self.directory / "cell1.db")) as cell:
            cell.execute("UPDATE cell_schema_version SET version_num = 'cell_0001'")
            cell.commit()
        code, said = self.run_command("status", "check")
        self.assertEqual(2, code)
        self.assertIn("FAIL  cell one: its schema is not the newest", said)

    def test_the_check_says_that_no_converger_leads_any_more(self) -> None:
        self.configure(self.databases, bus="memory://")
        self._with_cell()
        self.beat("h1")
        api_db = Database(self.url("api"))
        leases.hold(api_db, "converger", "one", utcnow(), timedelta(seconds=30))
        code, said = self.run_command("status", "check")
        self.assertEqual((0, True), (code, "ok    a converger leads" in said))
        leases.let_go(api_db, "converger", "one")
        code, said = self.run_command("status", "check")
        self.assertEqual((1, True), (code, "WARN  no converger leads" in said))

    def test_the_check_says_what_is_missing_and_how_bad_that_is(self) -> None:
        self.configure(self.databases, bus="memory://")
        self.run_command("db", "sync")
        code, said = self.run_command("status", "check")
        self.assertEqual(2, code)
        self.assertIn("no cell", said)
        self.run_command("cell", "create", "--name", "one", "--uuid", CELL)
        code, said = self.run_command("status", "check")
        self.assertEqual(1, code)
        self.assertIn("WARN  cell one: 0 of 0 compute services up", said)
        self.beat("h1")
        self.assertEqual(0, self.run_command("status", "check")[0])
        self.beat("h2", ago=3600)
        code, said = self.run_command("status", "check")
        self.assertEqual(1, code)
        self.assertIn("1 of 2 compute services up", said)

    def test_the_check_of_databases_that_are_away_says_that_nothing_works(self) -> None:
        self._with_cell()
        away = f"sqlite:///{self.directory}/nothing/here.db"
        self.run_command("cell", "update", CELL, "--database-connection", away)
        code, said = self.run_command("status", "check")
        self.assertEqual(2, code)
        self.assertIn("FAIL  cell one", said)
        self.configure(f"[api_database]\nconnection = {away}\n")
        self.assertEqual(2, self.run_command("status", "check")[0])

    def test_the_check_asks_a_placement_that_the_configuration_names(self) -> None:
        self._with_cell()
        self.beat("h1")
        away = "[placement]\nauth_type = none\nendpoint_override = http://127.0.0.1:9\n"
        self.configure(self.databases + away, bus="memory://")
        code, said = self.run_command("status", "check")
        self.assertEqual(2, code)
        self.assertIn("FAIL  Placement: Placement does not answer", said)

    def test_without_an_api_database_commands_of_cells_say_so(self) -> None:
        self.configure("")
        error = self.assertRaises(KilonovaError, self.run_command, "cell", "list")
        self.assertIn("[api_database] connection", error.message)
