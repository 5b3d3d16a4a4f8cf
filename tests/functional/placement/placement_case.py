"""The databases that Placement's tests run on: SQLite always, the others where a server is given.

``KILONOVA_TEST_MARIADB`` and ``KILONOVA_TEST_POSTGRESQL`` hold SQLAlchemy URLs of servers, short of a
database's name.
"""

import os
import tempfile
import uuid
from typing import Any, ClassVar

import sqlalchemy as sa
import testtools

from kilonova.db.engine import Database
from kilonova.db.migrate import METADATA, upgrade

_SERVERS = {
    "MariaDB": ("KILONOVA_TEST_MARIADB", "mysql"),
    "PostgreSQL": ("KILONOVA_TEST_POSTGRESQL", "postgres"),
}
"""Backend -> the variable that holds its URL, and a database that is always there."""


def everywhere(tests: type) -> dict[str, type]:
    """Return a class of tests for each database that is given, by name."""
    given = ["SQLite"] + [
        name for name, (variable, _) in _SERVERS.items() if variable in os.environ
    ]
    return {
        f"{tests.__name__}On{backend}": type(
            f"{tests.__name__}On{backend}",
            (tests, PlacementCase),
            {"backend": backend, "__module__": tests.__module__, "__doc__": tests.__doc__},
        )
        for backend in given
    }


class PlacementCase(testtools.TestCase):
    """A test with Placement's tables, empty, in ``self.db``. The class has one database."""

    backend: ClassVar[str] = "SQLite"
    url: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        """Make the database."""
        super().setUpClass()
        if cls.backend == "SQLite":
            directory = tempfile.TemporaryDirectory()
            cls.addClassCleanup(directory.cleanup)
            cls.url = f"sqlite:///{directory.name}/placement.sqlite"
        else:
            variable, maintenance = _SERVERS[cls.backend]
            name = f"placement_{uuid.uuid4().hex}"
            cls.url = os.environ[variable] + name
            _run(os.environ[variable] + maintenance, f"CREATE DATABASE {name}")
            drop = f"DROP DATABASE {name}" + (" (FORCE)" if cls.backend == "PostgreSQL" else "")
            cls.addClassCleanup(_run, os.environ[variable] + maintenance, drop)
        database = Database(cls.url)
        upgrade(database, "placement")
        database.dispose()

    def setUp(self) -> None:
        """Empty the tables."""
        super().setUp()
        self.db = Database(self.url)
        self.addCleanup(self.db.dispose)
        self.db.write(_empty)


def _empty(connection: sa.Connection) -> None:
    tables = METADATA["placement"].tables
    # A provider that is another's parent would stay.
    connection.execute(sa.update(tables["resource_providers"]).values(parent_uuid=None))
    for table in reversed(METADATA["placement"].sorted_tables):
        connection.execute(sa.delete(table))


def _run(url: str, statement: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def used_and_allocated(database: Database) -> dict[tuple[str, str], tuple[int, int]]:
    """Return what is used, and the sum of what is allocated, of each class of each provider."""
    tables: Any = METADATA["placement"].tables
    inventories, allocations = tables["inventories"], tables["allocations"]
    key = (allocations.c.provider_uuid, allocations.c.resource_class)
    sums = sa.select(*key, sa.func.sum(allocations.c.used)).group_by(*key)

    def work(connection: sa.Connection) -> dict[tuple[str, str], tuple[int, int]]:
        allocated = {(row[0], row[1]): int(row[2]) for row in connection.execute(sums)}
        used = {
            (row.provider_uuid, row.resource_class): row.used
            for row in connection.execute(sa.select(inventories))
        }
        return {key: (used.get(key, 0), allocated.get(key, 0)) for key in used | allocated}

    return database.query(work)
