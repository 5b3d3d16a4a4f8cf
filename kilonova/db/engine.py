"""One database: its connection pools, its transactions, and the translation of its errors.

Owns how a transaction begins, is retried and fails. Knows no table.

Two pools stand on one URL. ``read()`` hands out connections in autocommit, so that a single SELECT is a
single round trip; ``write(work)`` runs ``work`` in a transaction and runs it again when the database
chose it as the victim of a deadlock or dropped the connection before the commit was sent.
"""

import functools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event, exc

from kilonova.core.errors import DatabaseUnavailable
from kilonova.core.name_pattern import NamePattern

T = TypeVar("T")

_ATTEMPTS = 8
_GREETING, _ANSWER = 5, 60
"""Seconds that MariaDB has to greet a new connection, and to answer a statement."""
_RETRIED = {1205, 1213, "40001", "40P01", "55P03"}
"""Lock wait timeout and deadlock (MariaDB), serialization failure, deadlock, lock not available (SQL)."""


class Database:
    """A database by its SQLAlchemy URL. Nothing is connected until the first statement."""

    def __init__(self, url: str, *, pool_size: int = 10, echo: bool = False) -> None:
        self.url = sa.make_url(url)
        common: dict[str, Any] = {"echo": echo, "pool_recycle": 1800}
        if self.is_sqlite:
            common["connect_args"] = {"timeout": 30, "check_same_thread": False}
        elif self.url.drivername.endswith("+pymysql"):
            common["connect_args"] = {
                "connect_timeout": 5,
                "read_timeout": _GREETING,
                "charset": "utf8mb4",
                # MySQL would cut GROUP_CONCAT off after 1024 bytes, and say nothing.
                "init_command": "SET SESSION group_concat_max_len = 16777216",
            }
        elif self.url.get_backend_name() == "postgresql":
            common["connect_args"] = {"connect_timeout": 5}
        common |= {"pool_size": pool_size, "max_overflow": pool_size * 2, "pool_timeout": 15}
        # Whoever takes a connection of this pool ends its own transaction, so giving it back is free.
        self._write = sa.create_engine(
            self.url, isolation_level=self._isolation(), pool_reset_on_return=None, **common
        )
        self._read = sa.create_engine(
            self.url,
            isolation_level="AUTOCOMMIT",
            pool_reset_on_return=None,
            skip_autocommit_rollback=True,
            **common,
        )
        event.listen(self._write, "handle_error", _let_go_if_read_only)
        if self.is_sqlite:
            for engine in (self._write, self._read):
                event.listen(engine, "connect", _prepare_sqlite)
            event.listen(self._write, "begin", _begin_immediate)
        elif self.url.drivername.endswith("+pymysql"):
            for engine in (self._write, self._read):
                event.listen(engine, "connect", _let_it_take_time)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the embedded database (one writer at a time)."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def engine(self) -> sa.Engine:
        """The engine of transactions, for migrations and for tests that count statements."""
        return self._write

    @property
    def engines(self) -> tuple[sa.Engine, sa.Engine]:
        """Both engines: (transactions, reads)."""
        return self._write, self._read

    @property
    def is_worth_another_try(self) -> bool:
        """Whether work that lost its connection should be done again over another."""
        return True

    def _isolation(self) -> Any:
        # READ COMMITTED: no gap locks, so claims and inserts on different rows never meet.
        return "SERIALIZABLE" if self.is_sqlite else "READ COMMITTED"

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Yield a connection for SELECTs only.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        try:
            with self._read.connect() as connection:
                yield connection
        except exc.DBAPIError as error:
            raise translate(error) from error
        except exc.TimeoutError as error:
            raise DatabaseUnavailable("The database's connection pool is exhausted.") from error

    def query(self, work: Callable[[sa.Connection], T]) -> T:
        """Run SELECTs, once more if the pooled connection turned out to be dead.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        try:
            with self._read.connect() as connection:
                return work(connection)
        except exc.DBAPIError as error:
            if not error.connection_invalidated or not self.is_worth_another_try:
                raise translate(error) from error
        except exc.TimeoutError as error:
            raise DatabaseUnavailable("The database's connection pool is exhausted.") from error
        with self.read() as connection:
            return work(connection)

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Run ``work`` in one transaction and return what it returns.

        ``work`` may run several times, so it must touch nothing but the connection. Whatever it raises
        rolls the transaction back and is passed on.

        Raises:
            DatabaseUnavailable: the database does not answer, refuses again and again, or takes no writes.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            sent = False
            try:
                with self._write.connect() as connection, connection.begin():
                    result = work(connection)
                    sent = True
                return result
            except exc.IntegrityError:
                raise
            except exc.DBAPIError as error:
                lost = error.connection_invalidated and not sent and self.is_worth_another_try
                again = lost and (attempt == 1 or _why_refused(error.orig) is None)
                if not (again or _codes(error.orig) & _RETRIED) or attempt == _ATTEMPTS:
                    raise translate(error) from error
                time.sleep(random.uniform(0, 0.01 * 2**attempt))
            except exc.TimeoutError as error:
                raise DatabaseUnavailable("The database's connection pool is exhausted.") from error
        raise AssertionError("unreachable")

    def dispose(self) -> None:
        """Close every pooled connection."""
        for engine in self.engines:
            engine.dispose()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # Autocommit at the driver: BEGIN is ours, so that a writer takes its lock at once (no upgrade
    # from a read lock, hence no SQLITE_BUSY in the middle of a transaction).
    connection.isolation_level = None
    # In place of Python's own, which a user's pattern could keep busy for ever.
    connection.create_function("regexp", 2, _regexp, deterministic=True)
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.close()


def _let_it_take_time(connection: Any, _record: Any) -> None:
    # The driver has one limit for all that it reads, and no public way to change it.
    connection._read_timeout = _ANSWER


_pattern = functools.lru_cache(maxsize=64)(NamePattern)


def _regexp(pattern: str, text: str | None) -> bool:
    return text is not None and _pattern(pattern).matches(text)


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _codes(error: BaseException | None) -> frozenset[Any]:
    """Return what tells what a driver's error is: MariaDB's number, SQL's state, SQLite's name."""
    if error is None:
        return frozenset()
    # What follows the second word of SQLite's says how it came about.
    name = "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])
    # Of several errors of MariaDB's the state is the same, and says nothing.
    return frozenset({name, getattr(error, "sqlstate", None), *error.args[:1]})


def translate(error: exc.DBAPIError) -> Exception:
    """Return what a caller should see. The text names no URL and no statement's values."""
    refused = _why_refused(error.orig)
    if refused is not None:
        return DatabaseUnavailable(f"The database takes no writes: {refused}.")
    if error.connection_invalidated or isinstance(error, exc.OperationalError | exc.InterfaceError):
        cause = type(error.orig).__name__ if error.orig else type(error).__name__
        return DatabaseUnavailable(f"The database does not answer ({cause}).")
    return error


_READ_ONLY = {1290, 1792, 1836, "25006", "SQLITE_READONLY"}
_FULL = {1021, 1114, "53100", "SQLITE_FULL"}
"""Codes of MariaDB, of SQL's classes 25 and 53 (PostgreSQL), and SQLite's names."""


def _why_refused(error: BaseException | None) -> str | None:
    """Return why a database that answers refuses every write, if that is what the driver's error says."""
    codes = _codes(error)
    if codes & _READ_ONLY:
        return "it is read-only"
    return "its disk is full" if codes & _FULL else None


def _let_go_if_read_only(context: sa.ExceptionContext) -> None:
    # What was the primary server, or a session that began while writes were off, stays read-only; the
    # next connection may be to one that is not.
    if _codes(context.original_exception) & _READ_ONLY:
        context.is_disconnect = True
