"""Databases that are away now and then, or answer too late: the real ones, on SQLite in memory.

They are kept from one world to the next, and emptied between: making them takes longer than a whole
storm. A world is one thread, and no transaction waits for anything, so each has one connection.
"""

import functools
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import greenlet
import sqlalchemy as sa
import testtools

from kilonova.core.errors import DatabaseUnavailable
from kilonova.db import cells as db_cells
from kilonova.db import engine
from kilonova.db.engine import Database
from kilonova.db.migrate import METADATA, upgrade
from kilonova.db.schemas import Schema
from tests.faults.world.kernel import Kernel

SCHEMAS: dict[str, Schema] = {
    "api": "api",
    "cell0": "cell",
    "cell1": "cell",
    "cell2": "cell",
    "placement": "placement",
}
T = TypeVar("T")


class _OneConnection(Database):
    """A database in memory, of which nobody need find out whether it answers: it does at once, or not."""

    def __init__(self, name: str) -> None:
        super().__init__(url_of(name))
        self.name = name
        self._only = sqlite3.connect(":memory:", check_same_thread=False)
        engine._prepare_sqlite(self._only, None)
        how: dict[str, Any] = {"creator": lambda: self._only, "poolclass": sa.StaticPool}
        how["pool_reset_on_return"] = None
        self._write = sa.create_engine("sqlite://", **how)
        sa.event.listen(self._write, "begin", engine._begin_immediate)
        self._read = sa.create_engine(
            "sqlite://", isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True, **how
        )
        upgrade(self, SCHEMAS[name])
        self._connection = self._read.connect()
        tables = METADATA[SCHEMAS[name]].sorted_tables[::-1]
        self._emptying = ";".join(str(table.delete()) for table in tables)

    def doubt(self) -> None:
        """See ``CellDatabase``."""

    def query(self, work: Callable[[sa.Connection], T]) -> T:
        """See ``Database``."""
        return work(self._connection)

    def peek(self, query: sa.Select[Any], wanted: Mapping[str, Any]) -> Sequence[Any]:
        """Return what a query finds, for who is no part of the world."""
        return self._connection.execute(query, wanted).all()

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """See ``Database``."""
        # The connection begins nothing by itself; a transaction is these two statements.
        self._only.execute("BEGIN")
        try:
            result = work(self._connection)
        except BaseException:
            self._only.execute("ROLLBACK")
            raise
        self._only.execute("COMMIT")
        return result

    def empty(self) -> None:
        """Forget everything that was stored."""
        self._only.executescript(self._emptying)


_database = functools.cache(_OneConnection)


def url_of(name: str) -> str:
    """Return what the cells' records call one of the databases."""
    return f"sqlite:///{name}"


class Storage:
    """The databases of one world, empty at first.

    Those in ``away`` do not answer. With ``odds`` a commit kills who commits, before or after it, or is
    answered by an error although it stands.
    """

    def __init__(self, case: testtools.TestCase, kernel: Kernel, names: Sequence[str]) -> None:
        self.names = names
        self.away: set[str] = set()
        self.crash: Callable[[str], None] = lambda _where: None
        self.loses_answer: Callable[[], bool] = lambda: False
        self._kernel = kernel
        for name in names:
            _database(name).empty()
        case.patch(db_cells, "CellDatabase", self._open)
        self._patch(case)

    def __getitem__(self, name: str) -> Database:
        """Return one of them."""
        return _database(name)

    def peek(self, name: str, query: sa.Select[Any], wanted: Mapping[str, Any]) -> Sequence[Any]:
        """Return what a query finds, whatever goes on; nothing else happens meanwhile."""
        return _database(name).peek(query, wanted)

    def _open(self, url: str, **_size: Any) -> Database:
        return _database(sa.make_url(url).database)

    def _patch(self, case: testtools.TestCase) -> None:
        query, write = _OneConnection.query, _OneConnection.write

        def checked_query(database: _OneConnection, work: Callable[[sa.Connection], T]) -> T:
            self._begin(database)
            return query(database, work)

        def checked_write(database: _OneConnection, work: Callable[[sa.Connection], T]) -> T:
            self._begin(database)
            self.crash("before a commit")
            result = write(database, work)
            self.crash("after a commit")
            if self._kernel.process is not None and self.loses_answer():
                raise DatabaseUnavailable("The connection was lost in the commit.")
            return result

        case.patch(_OneConnection, "query", checked_query)
        case.patch(_OneConnection, "write", checked_write)

    def _begin(self, database: _OneConnection) -> None:
        if self._kernel.over:
            raise greenlet.GreenletExit
        if self._kernel.process is None:
            return
        self._kernel.pause()
        if database.name in self.away:
            raise DatabaseUnavailable(f"The database {database.name} is away.")
