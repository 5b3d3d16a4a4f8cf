"""Schemas are brought up to date with rows in them, and while services of the version before still write.

Migrations expand: they add, so that what the version before writes still fits, and its rows can be read.
What is no longer used is removed by a later version (the contraction), never by the one that stops to use
it. Rows are written by today's code and carried into an older schema, as far as that has columns for them.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, ClassVar

import msgspec
import sqlalchemy as sa
import testscenarios
from alembic import command
from alembic.script import ScriptDirectory

from kilonova.core.context import service_context
from kilonova.core.ids import InstanceUuid
from kilonova.core.migration import Kind, of_server
from kilonova.core.quota import Limits
from kilonova.core.report import InstanceReport
from kilonova.core.states import PowerState, VmState
from kilonova.db import (
    acceptance,
    build_requests,
    desired,
    flavors,
    hosts,
    instances,
    moves,
    quotas,
    reports,
    request_specs,
)
from kilonova.db.acceptance import Lot
from kilonova.db.engine import Database
from kilonova.db.flavors import FlavorQuery
from kilonova.db.migrate import METADATA, alembic_config, is_newest, upgrade
from kilonova.db.schemas import Schema
from tests.functional.db.api_database import NOW, flavor
from tests.functional.db.databases import DatabaseCase
from tests.functional.db.servers import H1, PROJECT, accepted, placed
from tests.functional.db.test_desired import template, wanted

load_tests = testscenarios.load_tests_apply_scenarios


def versions(schema: Schema) -> list[str]:
    """Return a schema's versions, the oldest first."""
    script = ScriptDirectory.from_config(alembic_config(schema))
    return [one.revision for one in reversed(list(script.walk_revisions()))]


def bring_to(database: Database, schema: Schema, version: str) -> None:
    """Bring a database to some version of a schema."""
    config = alembic_config(schema)
    with database.engine.begin() as connection:
        config.attributes |= {"connection": connection, "schema": schema}
        command.upgrade(config, version)


class UpgradeCase(DatabaseCase):
    """Rows of today, and databases of yesterday."""

    _made = 0

    def earlier(self, schema: Schema) -> list[str]:
        """Return the versions before today's; on a server, where each takes seconds, the last of them."""
        found = versions(schema)[:-1]
        return found[-1:] if self.server_url else found

    def old(self, schema: Schema, version: str) -> Database:
        """Return a database at a version of a schema."""
        self._made += 1
        database = Database(self.database_url(f"{version}_{self._made}"))
        self.addCleanup(database.dispose)
        bring_to(database, schema, version)
        return database

    def carry(self, source: Database, target: Database, columns: dict[str, list[str]]) -> None:
        """Write what is in one database into another, as one does that knows these columns alone."""
        tables = _reflected(source)
        for table in tables.sorted_tables:
            if table.name in columns and "schema_version" not in table.name:
                names = [name for name in columns[table.name] if name in table.c]
                query = sa.select(*(table.c[name] for name in names))
                rows = [
                    dict(row)
                    for row in source.query(lambda c, q=query: c.execute(q).mappings().all())
                ]  # type: ignore[misc]
                if rows:
                    insert = sa.insert(table)
                    target.write(lambda c, i=insert, r=rows: c.execute(i, r))  # type: ignore[misc]


def _reflected(database: Database) -> sa.MetaData:
    found = sa.MetaData()
    # By a connection that leaves no transaction open: MariaDB's would hold up the next change of a table.
    with database.read() as connection:
        found.reflect(connection)
    return found


def _columns(database: Database) -> dict[str, list[str]]:
    tables = _reflected(database).tables
    return {name: [column.name for column in table.c] for name, table in tables.items()}


class CellUpgradeTest(UpgradeCase):
    """A cell's database with a server, its host, and a move."""

    def test_a_cell_of_any_earlier_version_is_read_by_todays_code(self) -> None:
        today = self.open("cell", "cell")
        kept = self._fill(today)
        before, newest = versions("cell")[-2:]
        for version in self.earlier("cell"):
            for written_late in (False, True):
                old = self.old("cell", version)
                columns = _columns(old)
                if written_late:
                    # By services of that version, which run on while the schema is brought up to date.
                    self.assertTrue(upgrade(old, "cell"))
                    self.carry(today, old, columns)
                else:
                    self.carry(today, old, columns)
                    self.assertTrue(upgrade(old, "cell"))
                self.assertTrue(is_newest(old, "cell"), newest)
                found = instances.get(old, kept.uuid)
                assert found is not None
                if version == before:
                    self.assertEqual(instances.get(today, kept.uuid), found)
                    self.assertEqual(moves.find(today), moves.find(old))
                self.assertEqual(
                    (kept.uuid, kept.name, kept.flavor), (found.uuid, found.name, found.flavor)
                )
                self.assertEqual([H1], [one.host for one in hosts.list_services(old)])
                self._goes_on(old, found.uuid)

    def _fill(self, cell: Database) -> Any:
        one = placed(vm_state=VmState.ACTIVE, power_state=PowerState.RUNNING, task_state=None)
        instances.insert(cell, [one])
        hosts.beat(cell, (hosts.COMPUTE, H1, "compute"), None, NOW)
        context = msgspec.structs.replace(service_context(), user_id=one.instance.user_id)
        move = of_server(one.instance, Kind.MIGRATION, context, NOW)
        cell.write(lambda c: moves.insert(c, move))
        return one.instance

    def _goes_on(self, cell: Database, uuid: InstanceUuid) -> None:
        """What today's services write first is taken."""
        hosts.beat(cell, (hosts.COMPUTE, H1, "compute"), (), NOW + timedelta(minutes=1))
        report = InstanceReport(
            instance_uuid=uuid,
            epoch=1,
            request_id=service_context().request_id,
            vm_state=VmState.STOPPED,
            power_state=PowerState.SHUTDOWN,
            number=hosts.count_start(cell, H1) << 32,
        )
        self.assertEqual((), reports.apply(cell, H1, [report], NOW).refused)
        more = placed()
        instances.insert(cell, [more])
        self.assertIsNotNone(instances.get(cell, more.instance.uuid))


class ApiUpgradeTest(UpgradeCase):
    """An API database with accepted servers, a flavor and what is desired."""

    def test_an_api_database_of_any_earlier_version_is_read_by_todays_code(self) -> None:
        today = self.open("api", "api")
        waiting = accepted(2)
        acceptance.accept(today, [Lot(waiting, Limits())])
        flavors.create(today, flavor())
        desired.create(today, wanted(), template(), None, Limits())
        for version in self.earlier("api"):
            old = self.old("api", version)
            columns = _columns(old)
            upgrade(old, "api")
            self.carry(today, old, columns)
            later = NOW + timedelta(days=1)
            uuids = sorted(one.instance.uuid for one in waiting)
            self.assertEqual(
                uuids, sorted(build_requests.stale(old, later, untouched=timedelta(seconds=1)))
            )
            for uuid in uuids:
                self.assertEqual(
                    request_specs.spec_of(today, uuid), request_specs.spec_of(old, uuid)
                )
            self.assertEqual(quotas.used_by(today, PROJECT), quotas.used_by(old, PROJECT))
            wanted_ = FlavorQuery()
            self.assertEqual(
                flavors.list_flavors(today, wanted_), flavors.list_flavors(old, wanted_)
            )
            acceptance.accept(old, [Lot(accepted(1), Limits())])


class ExpandTest(UpgradeCase):
    """What one migration may do to what was there."""

    contracted: ClassVar[frozenset[tuple[str, str]]] = frozenset()
    """(version, column) that a version removes, two versions after the last that used it."""

    def test_migrations_only_add_what_those_who_do_not_know_it_can_leave_out(self) -> None:
        for schema in METADATA:
            database = Database(self.database_url(f"steps_{schema}"))
            self.addCleanup(database.dispose)
            known: dict[str, dict[str, Any]] = {}
            for version in versions(schema):
                bring_to(database, schema, version)
                found = _shape(database)
                self.assertEqual([], list(self._broken(version, known, found)), version)
                known = found

    def _broken(
        self, version: str, before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]
    ) -> Iterable[str]:
        for table, columns in before.items():
            for name, old in columns.items():
                new = after.get(table, {}).get(name)
                if new is None:
                    if (version, f"{table}.{name}") not in self.contracted:
                        yield f"{table}.{name} is gone"
                elif (old["type"], old["nullable"]) != (new["type"], new["nullable"]):
                    yield f"{table}.{name} was {old}, and is {new}"
            for name in after.get(table, {}).keys() - columns.keys():
                added = after[table][name]
                if not added["nullable"] and added["default"] is None:
                    yield f"{table}.{name} has to be given by all who write"


def _shape(database: Database) -> dict[str, dict[str, Any]]:
    with database.read() as connection:
        inspector = sa.inspect(connection)
        return {
            table: {
                column["name"]: {
                    "type": str(column["type"]),
                    "nullable": column["nullable"],
                    "default": column.get("default"),
                }
                for column in inspector.get_columns(table)
            }
            for table in inspector.get_table_names()
            if "schema_version" not in table
        }
