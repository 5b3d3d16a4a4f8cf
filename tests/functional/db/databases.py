"""Databases for tests: SQLite in a temporary directory, and on the servers that the environment names.

``KILONOVA_TEST_MARIADB`` and ``KILONOVA_TEST_POSTGRESQL`` are SQLAlchemy URLs of servers, short of a
database's name. A module whose tests are to run on every one of them says
``load_tests = testscenarios.load_tests_apply_scenarios``.
"""

import os
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import testtools

from kilonova.db.engine import Database
from kilonova.db.migrate import Schema, upgrade

_SERVERS = {
    "SQLite": "",
    "MariaDB": os.environ.get("KILONOVA_TEST_MARIADB"),
    "PostgreSQL": os.environ.get("KILONOVA_TEST_POSTGRESQL"),
}


class DatabaseCase(testtools.TestCase):
    """A test with databases of its own. ``server_url`` is empty for SQLite."""

    scenarios = [(name, {"server_url": url}) for name, url in _SERVERS.items() if url is not None]
    server_url = ""

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def database_url(self, name: str) -> str:
        """Return the URL of an empty database of the test's own."""
        if not self.server_url:
            return f"sqlite:///{self.directory / name}.sqlite"
        database = f"{name}_{uuid.uuid4().hex[:12]}"
        self._administer(f"CREATE DATABASE {database}")
        self.addCleanup(self._administer, f"DROP DATABASE {database}")
        return self.server_url + database

    def open(self, name: str, schema: Schema) -> Database:
        """Return a database at the newest version of a schema."""
        database = Database(self.database_url(name))
        self.addCleanup(database.dispose)
        upgrade(database, schema)
        return database

    def _administer(self, statement: str) -> None:
        url = sa.make_url(self.server_url)
        if url.get_backend_name() == "postgresql":
            url = url.set(database="postgres")
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)


def statements_of(database: Database, work: Callable[[], Any]) -> list[str]:
    """Return the statements that a database is sent during some work."""
    seen: list[str] = []

    def note(*event: Any) -> None:
        seen.append(event[2])

    for engine in database.engines:
        sa.event.listen(engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        for engine in database.engines:
            sa.event.remove(engine, "before_cursor_execute", note)
    return seen
