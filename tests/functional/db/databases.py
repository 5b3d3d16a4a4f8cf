"""Databases for tests: SQLite in a temporary directory, and on the servers that the environment names.

``KILONOVA_TEST_MARIADB`` and ``KILONOVA_TEST_POSTGRESQL`` are SQLAlchemy URLs of servers, short of a
database's name. A module whose tests are to run on every one of them says
``load_tests = testscenarios.load_tests_apply_scenarios``.
"""

import atexit
import functools
import os
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import testtools

from kilonova.db.api_schema import ApiBase
from kilonova.db.cell_schema import CellBase
from kilonova.db.engine import Database
from kilonova.db.migrate import upgrade
from kilonova.db.placement_schema import PlacementBase, Provider
from kilonova.db.schemas import Schema
from kilonova.db.statements import table_of

_SERVERS = {
    "SQLite": "",
    "MariaDB": os.environ.get("KILONOVA_TEST_MARIADB"),
    "PostgreSQL": os.environ.get("KILONOVA_TEST_POSTGRESQL"),
}


_TABLES = {"api": ApiBase.metadata, "cell": CellBase.metadata, "placement": PlacementBase.metadata}
_kept: dict[tuple[str, str, Schema], str] = {}
"""The databases on servers that this process made: making tables anew for every test would be slow."""


class DatabaseCase(testtools.TestCase):
    """A test with databases of its own. ``server_url`` is empty for SQLite."""

    scenarios = [(name, {"server_url": url}) for name, url in _SERVERS.items() if url is not None]
    server_url = ""
    counts = False
    """Whether it tells rows by their numbers, so that its databases must count from 1."""

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def database_url(self, name: str) -> str:
        """Return the URL of an empty database of the test's own."""
        if not self.server_url:
            return f"sqlite:///{self.directory / name}.sqlite"
        return make(self.server_url, name)

    def open(self, name: str, schema: Schema) -> Database:
        """Return a database at the newest version of a schema, with nothing in it."""
        key = (self.server_url, name, schema)
        kept = None if self.counts else _kept.get(key)
        database = Database(kept or self.database_url(name))
        self.addCleanup(database.dispose)
        if kept:
            database.write(lambda connection: _empty(connection, schema))
            return database
        if database.url.get_backend_name() == "sqlite":
            Path(str(database.url.database)).write_bytes(empty_file(schema))
            return database
        upgrade(database, schema)
        if self.server_url and not self.counts:
            _kept[key] = database.url.render_as_string(hide_password=False)
        return database


@functools.cache
def empty_file(schema: Schema) -> bytes:
    """Return the file of an empty SQLite database: making its tables once saves every test the time."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "empty.sqlite"
        database = Database(f"sqlite:///{path}")
        upgrade(database, schema)
        database.dispose()
        return path.read_bytes()


def make(server_url: str, name: str) -> str:
    """Make a database on a server, which goes with this process, and return its URL."""
    database = f"{name}_{uuid.uuid4().hex[:12]}"
    administer(server_url, f"CREATE DATABASE {database}")
    # PostgreSQL drops no database that somebody still has a connection to.
    force = " WITH (FORCE)" if server_url.startswith("postgresql") else ""
    atexit.register(administer, server_url, f"DROP DATABASE {database}{force}")
    return server_url + database


def administer(server_url: str, statement: str) -> None:
    """Tell a server something as its administrator."""
    url = sa.make_url(server_url)
    if url.get_backend_name() == "postgresql":
        url = url.set(database="postgres")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)


def _empty(connection: sa.Connection, schema: Schema) -> None:
    if schema == "placement":
        # A provider that is another's parent would stay.
        connection.execute(sa.update(table_of(Provider)).values(parent_uuid=None))
    for table in reversed(_TABLES[schema].sorted_tables):
        connection.execute(sa.delete(table))


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
