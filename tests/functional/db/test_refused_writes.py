"""Databases that answer and take no writes, and connections that are lost in a transaction."""

from collections.abc import Callable
from typing import Any

import falcon.testing
import sqlalchemy as sa
import testscenarios

from kilonova.core.errors import DatabaseUnavailable
from kilonova.db import probe
from kilonova.db.api_schema import QuotaUsage
from kilonova.db.engine import Database
from kilonova.db.statements import table_of
from kilonova.http import health
from kilonova.http.health import Health, WithHealth
from tests.functional.db.api_database import ApiDatabaseTest
from tests.functional.db.databases import administer

load_tests = testscenarios.load_tests_apply_scenarios

_usages = table_of(QuotaUsage)
_ROWS = 2000
"""More than a page of them."""


class Projects(ApiDatabaseTest):
    """A small table, which holds one row."""

    def setUp(self) -> None:
        super().setUp()
        self.db.write(lambda c: self.add(c, "first"))

    def add(self, connection: sa.Connection, *projects: str) -> None:
        """Write rows."""
        rows = [{"project_id": one, "instances": 0, "cores": 0, "ram": 0} for one in projects]
        connection.execute(sa.insert(_usages), rows)

    def projects(self, database: Database) -> list[str]:
        """Return what is there."""
        query = sa.select(_usages.c.project_id).order_by(_usages.c.project_id)
        return list(database.query(lambda c: c.execute(query).scalars().all()))

    def each_connection(self, database: Database, statement: Callable[[], str]) -> None:
        """Say something whenever one of SQLite's connections is used."""

        def say(connection: Any, *_event: object) -> None:
            connection.execute(statement())

        for engine in database.engines:
            sa.event.listen(engine, "checkout", say)


class ReadOnlyTest(Projects):
    """A replica, or a server that an operator made read-only."""

    def setUp(self) -> None:
        super().setUp()
        self.only_read = False
        url = self.db.url
        if url.get_backend_name() == "mysql":
            # An administrator would be let write.
            user = f"u_{(url.database or '')[-12:]}"
            self.say(f"CREATE USER {user}@'127.0.0.1'")
            self.addCleanup(self.say, f"DROP USER {user}@'127.0.0.1'")
            self.say(
                f"GRANT SELECT, INSERT, UPDATE, DELETE ON {url.database}.* TO {user}@'127.0.0.1'"
            )
            url = url.set(username=user, host="127.0.0.1")
        self.served = Database(url.render_as_string(hide_password=False))
        self.addCleanup(self.served.dispose)
        if self.served.is_sqlite:
            self.each_connection(
                self.served, lambda: f"PRAGMA query_only = {'ON' if self.only_read else 'OFF'}"
            )
        self.addCleanup(self.switch, only_read=False)
        self.patch(health, "_REMEMBERED", 0.0)
        checks = Health({"database": lambda: probe.check(self.served, "api")})
        self.service = falcon.testing.TestClient(WithHealth(None, checks))

    def is_ready(self) -> tuple[int, str]:
        """Return what a service with this database says of itself."""
        said = self.service.simulate_get("/healthcheck")
        return said.status_code, said.json["dependencies"]["database"]

    def say(self, statement: str) -> None:
        """Tell the server something as its administrator."""
        administer(self.server_url, statement)

    def switch(self, *, only_read: bool) -> None:
        """Let the database be read-only, or not any more."""
        self.only_read = only_read
        if self.server_url.startswith("mysql"):
            self.say(f"SET GLOBAL read_only = {int(only_read)}")
        elif self.server_url:
            name = self.db.url.database
            self.say(f"ALTER DATABASE {name} SET default_transaction_read_only = {only_read}")
        if only_read and self.server_url.startswith("postgresql"):
            # Sessions stay as they began: those that began read-only are left to be found out.
            mine = f"datname = '{self.db.url.database}'"
            self.say(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}")  # noqa: S608

    def test_writes_are_refused_with_that_reason_reads_go_on_and_it_heals_by_itself(self) -> None:
        self.assertEqual(["first"], self.projects(self.served))
        self.assertEqual((200, "ok"), self.is_ready())
        self.switch(only_read=True)
        for _ in range(2):
            error = self.assertRaises(
                DatabaseUnavailable, self.served.write, lambda c: self.add(c, "second", "third")
            )
            self.assertEqual("The database takes no writes: it is read-only.", error.message)
            self.assertEqual(["first"], self.projects(self.served))
            self.assertEqual((503, error.message), self.is_ready())
        self.switch(only_read=False)
        self.assertEqual((200, "ok"), self.is_ready())
        self.served.write(lambda c: self.add(c, "second", "third"))
        self.assertEqual(["first", "second", "third"], self.projects(self.served))


class FullTest(Projects):
    """SQLite's file cannot grow."""

    scenarios = [("SQLite", {"server_url": ""})]

    def setUp(self) -> None:
        super().setUp()
        self.most = 1
        # One that is too small for what is there already means what is there.
        self.each_connection(self.db, lambda: f"PRAGMA max_page_count = {self.most}")

    def test_writes_are_refused_with_that_reason_whole_and_go_on_when_there_is_room(self) -> None:
        many = [f"project-{n:05}" for n in range(_ROWS)]
        error = self.assertRaises(DatabaseUnavailable, self.db.write, lambda c: self.add(c, *many))
        self.assertEqual("The database takes no writes: its disk is full.", error.message)
        self.assertEqual(["first"], self.projects(self.db))
        self.most = 1 << 20
        self.db.write(lambda c: self.add(c, *many))
        self.assertEqual(["first", *many], self.projects(self.db))


class LostConnectionTest(Projects):
    """A server that ends a connection of its own accord."""

    def setUp(self) -> None:
        if not self.server_url:
            self.skipTest("SQLite has no server.")
        super().setUp()

    def end(self, connection: sa.Connection) -> None:
        """Let the server end a connection."""
        if self.server_url.startswith("mysql"):
            number = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()
            administer(self.server_url, f"KILL {number}")
        else:
            number = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            administer(self.server_url, f"SELECT pg_terminate_backend({number})")

    def test_a_transaction_that_loses_it_before_its_commit_is_done_once_over_another(self) -> None:
        attempts: list[int] = []

        def work(connection: sa.Connection) -> None:
            self.add(connection, "second")
            attempts.append(1)
            if len(attempts) == 1:
                self.end(connection)
            self.add(connection, "third")

        self.db.write(work)
        self.assertEqual(2, len(attempts))
        self.assertEqual(["first", "second", "third"], self.projects(self.db))

    def test_a_read_that_loses_it_is_done_over_another(self) -> None:
        attempts: list[int] = []

        def work(connection: sa.Connection) -> list[str]:
            attempts.append(1)
            if len(attempts) == 1:
                self.end(connection)
            return list(connection.execute(sa.select(_usages.c.project_id)).scalars().all())

        self.assertEqual(["first"], self.db.query(work))
        self.assertEqual(2, len(attempts))
