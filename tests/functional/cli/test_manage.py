"""``kilonova-manage`` on databases in a directory: what it does, prints and returns."""

import io
import sqlite3
import tempfile
from contextlib import closing, redirect_stdout
from datetime import timedelta
from pathlib import Path

import testtools

from kilonova.cli import manage
from kilonova.core import settings
from kilonova.core.clock import utcnow
from kilonova.core.errors import Conflict, KilonovaError, NotFound
from kilonova.core.host import NodeReport
from kilonova.core.ids import CELL0, HostName, NodeName, ProviderUuid
from kilonova.db import cells, hosts, leases
from kilonova.db.engine import Database

CELL = "11111111-1111-4111-8111-111111111111"


class ManageTest(testtools.TestCase):
    """An empty directory, and a configuration of databases in it."""

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.databases = (
            f"[api_database]\nconnection = {self._url('api')}\n"
            f"[database]\nconnection = {self._url('cell1')}\n"
            f"[placement_database]\nconnection = {self._url('placement')}\n"
        )
        self._configure(self.databases)

    def _url(self, name: str) -> str:
        return f"sqlite:///{self.directory / name}.db"

    def _configure(self, text: str, bus: str = "rabbit://nova:sesame@mq:5672/") -> None:
        path = self.directory / "kilonova.conf"
        path.write_text(f"[DEFAULT]\ntransport_url = {bus}\n{text}")
        self.conf = settings.read_config(["--config-file", str(path)], prog="kilonova-manage")

    def _run(self, *words: str) -> tuple[int, str]:
        """Run a command and return its exit status and what it printed."""
        options = manage._parser().parse_args(words)
        printed = io.StringIO()
        with redirect_stdout(printed):
            code = options.command(self.conf, options)
        return code, printed.getvalue()

    def _with_cell(self) -> None:
        self._run("db", "sync")
        self._run("cell", "create", "--name", "one", "--uuid", CELL)

    def _beat(self, host: str, ago: float = 0.0) -> None:
        report = NodeReport(
            node=NodeName(host),
            provider_uuid=ProviderUuid(host),
            hypervisor_type="QEMU",
            hypervisor_version=1,
            host_ip="192.0.2.1",
            vcpus=1,
            memory_mb=1,
            disk_gb=1,
        )
        database = Database(self._url("cell1"))
        self.addCleanup(database.dispose)
        service = (hosts.COMPUTE, HostName(host), "compute")
        hosts.beat(database, service, [report], utcnow() - timedelta(seconds=ago))

    def test_every_schema_that_is_configured_is_made_once_with_cell0(self) -> None:
        code, first = self._run("db", "sync")
        self.assertEqual(
            (0, ["api", "cell", "cell0", "placement"]),
            (code, sorted(line.split()[0] for line in first.splitlines())),
        )
        self.assertNotIn("up to date", first)
        code, second = self._run("db", "sync")
        self.assertEqual((0, 4), (code, second.count("up to date")))
        self.assertTrue((self.directory / "api_cell0.db").exists())
        api_db = Database(self._url("api"))
        self.addCleanup(api_db.dispose)
        self.assertEqual([CELL0], [cell.uuid for cell in cells.list_cells(api_db)])

    def test_only_what_is_configured_is_made(self) -> None:
        self._configure(f"[placement_database]\nconnection = {self._url('placement')}\n")
        self.assertEqual(
            (0, 1), (self._run("db", "sync")[0], len(list(self.directory.glob("*.db"))))
        )
        self._configure("")
        code, said = self._run("db", "sync")
        self.assertEqual(1, code)
        self.assertIn("[api_database]", said)

    def test_a_cell_is_made_with_the_urls_of_the_configuration_and_listed_without_passwords(
        self,
    ) -> None:
        self._with_cell()
        code, listed = self._run("cell", "list")
        self.assertEqual(0, code)
        (line,) = [line for line in listed.splitlines() if CELL in line]
        self.assertIn("one", line)
        self.assertIn("rabbit://nova:***@mq:5672/", line)
        self.assertIn(self._url("cell1"), line)
        self.assertNotIn("sesame", listed)
        self.assertIn("nova:sesame@mq", self._run("cell", "list", "--verbose")[1])

    def test_a_cell_is_changed_and_deleted(self) -> None:
        self._with_cell()
        self.assertEqual(1, self._run("cell", "update", CELL)[0])
        self._run("cell", "update", CELL, "--name", "two", "--disable")
        self.assertRegex(self._run("cell", "list")[1], f"{CELL}  two +disabled")
        self._run("cell", "update", CELL, "--enable")
        self.assertRegex(self._run("cell", "list")[1], f"{CELL}  two +enabled")
        self.assertEqual(0, self._run("cell", "delete", CELL)[0])
        self.assertNotIn(CELL, self._run("cell", "list")[1])
        self.assertRaises(NotFound, self._run, "cell", "delete", CELL)

    def test_a_cell_of_a_taken_name_is_refused(self) -> None:
        self._with_cell()
        self.assertRaises(Conflict, self._run, "cell", "create", "--name", "one")

    def test_hosts_that_have_reported_are_mapped_once(self) -> None:
        self._with_cell()
        self._beat("h1")
        self.assertEqual((0, "h1  one\n"), self._run("cell", "discover-hosts"))
        self._beat("h2")
        self.assertEqual((0, "h2  one\n"), self._run("cell", "discover-hosts"))
        self.assertEqual((0, ""), self._run("cell", "discover-hosts"))

    def test_the_check_says_that_no_broker_answers_and_that_a_schema_is_old(self) -> None:
        self._with_cell()
        self._beat("h1")
        code, said = self._run("status", "check")
        self.assertEqual(2, code)
        self.assertIn("FAIL  message bus: No broker takes connections.", said)
        self.assertNotIn("sesame", said)
        self._configure(self.databases, bus="memory://")
        with closing(sqlite3.connect(self.directory / "cell1.db")) as cell:
            cell.execute("UPDATE cell_schema_version SET version_num = 'cell_0001'")
            cell.commit()
        code, said = self._run("status", "check")
        self.assertEqual(2, code)
        self.assertIn("FAIL  cell one: its schema is not the newest", said)

    def test_the_check_says_that_no_converger_leads_any_more(self) -> None:
        self._configure(self.databases, bus="memory://")
        self._with_cell()
        self._beat("h1")
        api_db = Database(self._url("api"))
        leases.hold(api_db, "converger", "one", utcnow(), timedelta(seconds=30))
        code, said = self._run("status", "check")
        self.assertEqual((0, True), (code, "ok    a converger leads" in said))
        leases.let_go(api_db, "converger", "one")
        code, said = self._run("status", "check")
        self.assertEqual((1, True), (code, "WARN  no converger leads" in said))

    def test_the_check_says_what_is_missing_and_how_bad_that_is(self) -> None:
        self._configure(self.databases, bus="memory://")
        self._run("db", "sync")
        code, said = self._run("status", "check")
        self.assertEqual(2, code)
        self.assertIn("no cell", said)
        self._run("cell", "create", "--name", "one", "--uuid", CELL)
        code, said = self._run("status", "check")
        self.assertEqual(1, code)
        self.assertIn("WARN  cell one: 0 of 0 compute services up", said)
        self._beat("h1")
        self.assertEqual(0, self._run("status", "check")[0])
        self._beat("h2", ago=3600)
        code, said = self._run("status", "check")
        self.assertEqual(1, code)
        self.assertIn("1 of 2 compute services up", said)

    def test_the_check_of_databases_that_are_away_says_that_nothing_works(self) -> None:
        self._with_cell()
        away = f"sqlite:///{self.directory}/nothing/here.db"
        self._run("cell", "update", CELL, "--database-connection", away)
        code, said = self._run("status", "check")
        self.assertEqual(2, code)
        self.assertIn("FAIL  cell one", said)
        self._configure(f"[api_database]\nconnection = {away}\n")
        self.assertEqual(2, self._run("status", "check")[0])

    def test_without_an_api_database_commands_of_cells_say_so(self) -> None:
        self._configure("")
        error = self.assertRaises(KilonovaError, self._run, "cell", "list")
        self.assertIn("[api_database] connection", error.message)
