"""Databases that are away now and then, or answer too late: the real ones, on SQLite files in memory.

The files and their engines are kept from one world to the next, and emptied between: making them takes
longer than a whole storm.
"""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import greenlet
import sqlalchemy as sa
import testtools

from kilonova.core.errors import DatabaseUnavailable
from kilonova.db import cells as db_cells
from kilonova.db.engine import Database
from kilonova.db.migrate import METADATA, Schema, upgrade
from tests.faults.world.kernel import Kernel

SCHEMAS: dict[str, Schema] = {
    "api": "api",
    "cell0": "cell",
    "cell1": "cell",
    "cell2": "cell",
    "placement": "placement",
}
T = TypeVar("T")


@functools.cache
def _directory() -> Path:
    shared = Path("/dev/shm")
    made = tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None)
    _kept.append(made)
    return Path(made.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []


class _Doubted(Database):
    """A database of which nobody need find out whether it answers: it does at once, or not."""

    def doubt(self) -> None:
        """See ``CellDatabase``."""


@functools.cache
def _database(name: str) -> Database:
    database = _Doubted(url_of(name))
    for engine in database.engines:
        sa.event.listen(engine, "connect", _hurry)
    upgrade(database, SCHEMAS[name])
    return database


def _hurry(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")


def url_of(name: str) -> str:
    """Return the URL of one of the databases."""
    return f"sqlite:///{_directory()}/{name}.sqlite"


class Storage:
    """The databases of one world, empty at first.

    Those in ``away`` do not answer. With ``odds`` a commit kills who commits, before or after it, or is
    answered by an error although it stands.
    """

    def __init__(self, case: testtools.TestCase, kernel: Kernel) -> None:
        self.away: set[str] = set()
        self.crash: Callable[[str], None] = lambda _where: None
        self.loses_answer: Callable[[], bool] = lambda: False
        self._kernel = kernel
        self._by_url = {url_of(name): (name, _database(name)) for name in SCHEMAS}
        for name in SCHEMAS:
            _empty(name)
        case.patch(db_cells, "CellDatabase", self._open)
        self._patch(case)

    def __getitem__(self, name: str) -> Database:
        """Return one of them."""
        return _database(name)

    def peek(self, name: str, query: sa.Select[Any]) -> list[Any]:
        """Return what a query finds, whatever goes on; nothing else happens meanwhile."""
        with _database(name).read() as connection:
            return list(connection.execute(query).all())

    def _open(self, url: str, **_size: Any) -> Database:
        return self._by_url[url][1]

    def _patch(self, case: testtools.TestCase) -> None:
        query, write = Database.query, Database.write

        def checked_query(database: Database, work: Callable[[sa.Connection], T]) -> T:
            self._begin(database)
            return query(database, work)

        def checked_write(database: Database, work: Callable[[sa.Connection], T]) -> T:
            self._begin(database)
            self.crash("before a commit")
            result = write(database, work)
            self.crash("after a commit")
            if self._kernel.process is not None and self.loses_answer():
                raise DatabaseUnavailable("The connection was lost in the commit.")
            return result

        case.patch(Database, "query", checked_query)
        case.patch(Database, "write", checked_write)

    def _begin(self, database: Database) -> None:
        if self._kernel.over:
            raise greenlet.GreenletExit
        if self._kernel.process is None:
            return
        self._kernel.pause()
        name, _ = self._by_url[str(database.url)]
        if name in self.away:
            raise DatabaseUnavailable(f"The database {name} is away.")


def _empty(name: str) -> None:
    database = _database(name)
    tables = METADATA[SCHEMAS[name]].sorted_tables

    def work(connection: sa.Connection) -> None:
        for table in reversed(tables):
            connection.execute(table.delete())

    database.write(work)
