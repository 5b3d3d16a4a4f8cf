"""``kilonova-manage cell``: what it prints and returns, for cells in every state."""

import msgspec

from kilonova.cli import cell_checks
from kilonova.conductor.cell_conductor import CellConductor
from kilonova.core.errors import Conflict, NotFound
from kilonova.core.ids import CELL0, CellUuid
from kilonova.core.quota import Limits
from kilonova.db import acceptance, build_requests, cells, instances
from kilonova.db.acceptance import Lot
from kilonova.db.engine import Database
from kilonova.placement import client
from kilonova.rpc.memory import MemoryBus
from kilonova.rpc.messages import Topic
from tests.functional.cli.manage_case import CELL, ManageCase
from tests.functional.db import servers
from tests.functional.db.api_database import NOW

EMPTY = "22222222-2222-4222-8222-222222222222"


class CellCommandsTest(ManageCase):
    """Two cells: one with a server on host h1, and an empty one."""

    def setUp(self) -> None:
        super().setUp()
        self.run_command("db", "sync")
        for uuid, name in ((CELL, "one"), (EMPTY, "empty")):
            self.run_command(
                *("cell", "create", "--name", name, "--uuid", uuid),
                *("--database-connection", self.url(name)),
                *("--transport-url", f"memory://{self.directory}/{name}"),
            )
        self.api_db = self._open("api")
        (self.server,) = servers.accepted(1)
        uuid = self.server.instance.uuid
        acceptance.accept(self.api_db, [Lot([self.server], Limits())])
        build_requests.take(self.api_db, [uuid], "c", NOW)
        build_requests.settle(self.api_db, {uuid: CellUuid(CELL)}, "c")
        instances.insert(self._open("one"), [servers.placed(uuid=uuid)])

    def _open(self, name: str) -> Database:
        database = Database(self.url(name))
        self.addCleanup(database.dispose)
        return database

    def _conduct(self, name: str, database: str) -> None:
        """Let a conductor listen on a cell's bus."""
        bus = MemoryBus(f"memory://{self.directory}/{name}")
        handlers = CellConductor(self._open(database), bus, client.load(self.conf))
        self.addCleanup(bus.serve(Topic.CELL_CONDUCTOR, "c", handlers).stop)

    def _verified(self, *words: str) -> tuple[int, dict[str, list[str]]]:
        """Return the exit status of ``cell verify`` and the fields of each cell."""
        code, said = self.run_command("cell", "verify", *words)
        head, *lines = said.splitlines()
        begins = [
            head.index(word) for word in ("State", "Database", "Message", "Conductor", "Hosts")
        ]
        ends = [*begins[1:], None]
        return code, {
            line.split()[0]: [
                line[begin:end].strip() for begin, end in zip(begins, ends, strict=True)
            ]
            for line in lines
        }

    def test_a_cell_that_works_is_well(self) -> None:
        self._conduct("one", "one")
        self.beat("h1", cell="one")
        self.run_command("cell", "discover-hosts")
        code, found = self._verified("one")
        self.assertEqual((0, ["enabled", "ok", "ok", "ok", "1 of 1 up"]), (code, found["one"]))

    def test_hosts_that_are_down_or_not_mapped_or_not_there_are_to_be_looked_at(self) -> None:
        self._conduct("one", "one")
        code, found = self._verified(CELL)
        self.assertEqual((1, "none"), (code, found["one"][-1]))
        self.beat("h1", cell="one")
        self.beat("h2", cell="one", ago=3600)
        code, found = self._verified("one")
        self.assertEqual((1, "1 of 2 up, 2 not mapped"), (code, found["one"][-1]))

    def test_each_part_that_is_missing_is_named(self) -> None:
        self.patch(cell_checks, "_ANSWER_WITHIN", 0.05)
        self.run_command("cell", "update", "empty", "--transport-url", "nothing://x:sesame@y/")
        code, found = self._verified()
        self.assertEqual(2, code)
        self.assertEqual(["enabled", "ok", "-", "-", "-"], found["cell0"])
        self.assertEqual(["enabled", "ok", "ok", "none answers", "none"], found["one"])
        self.assertEqual(["enabled", "ok", "does not answer", "-", "none"], found["empty"])
        self.run_command(
            "cell", "update", "one", "--database-connection", "sqlite:////nothing/here.db"
        )
        self.run_command("cell", "update", "empty", "--database-connection", self.url("new"))
        _, found = self._verified()
        self.assertEqual(
            ["does not answer", "has no tables"], [found[name][1] for name in ("one", "empty")]
        )

    def test_a_conductor_without_its_database_is_told_from_none(self) -> None:
        bus = MemoryBus(f"memory://{self.directory}/one")
        away = Database("sqlite:////nothing/here.db")
        handlers = CellConductor(away, bus, client.load(self.conf))
        self.addCleanup(bus.serve(Topic.CELL_CONDUCTOR, "c", handlers).stop)
        code, found = self._verified("one")
        self.assertEqual((2, "without its database"), (code, found["one"][3]))

    def test_a_cell_is_disabled_and_enabled_by_its_name_or_uuid(self) -> None:
        def disabled() -> list[str]:
            return [cell.name for cell in cells.list_cells(self.api_db) if cell.disabled]

        self.assertEqual(0, self.run_command("cell", "disable", "one")[0])
        self.assertEqual(["one"], disabled())
        self.assertRegex(self.run_command("cell", "list")[1], f"{CELL}  one +disabled")
        self.assertEqual(0, self.run_command("cell", "enable", CELL)[0])
        self.assertEqual([], disabled())
        self.assertRaises(NotFound, self.run_command, "cell", "disable", "other")
        self.assertRaises(NotFound, self.run_command, "cell", "disable", CELL0)

    def test_a_cell_is_drained_when_no_server_is_left(self) -> None:
        code, said = self.run_command("cell", "drain", "one")
        self.assertEqual(1, code)
        self.assertEqual(
            ["Host  Servers", "h1    1", "one is disabled; 1 servers are left."], said.splitlines()
        )
        instances.mark_deleted(self._open("one"), [self.server.instance.uuid], NOW)
        self.assertEqual(
            (0, "one is disabled and empty.\n"), self.run_command("cell", "drain", "one")
        )

    def test_a_cell_with_deleted_servers_is_deleted_if_they_are_to_be_forgotten(self) -> None:
        for more in ((), ("--force",)):
            self.assertRaises(Conflict, self.run_command, "cell", "delete", "one", *more)
        build_requests.queue_for_delete(self.api_db, self.server.instance.uuid)
        self.assertRaises(Conflict, self.run_command, "cell", "delete", "one")
        self.assertEqual(0, self.run_command("cell", "delete", "one", "--force")[0])
        self.assertEqual(["cell0", "empty"], [c.name for c in cells.list_cells(self.api_db)])
        mapping = cells.mapping_of(self.api_db, self.server.instance.uuid)
        self.assertIsNone(mapping and msgspec.to_builtins(mapping))

    def test_hosts_are_discovered_although_a_cell_is_away(self) -> None:
        self.beat("h1", cell="one")
        self.run_command(
            "cell", "update", "empty", "--database-connection", "sqlite:////nothing/here.db"
        )
        code, said = self.run_command("cell", "discover-hosts")
        self.assertEqual(1, code)
        self.assertIn("h1  one\n", said)
        self.assertIn("empty: The database does not answer", said)
