"""A cell's database: one of several, any of which may be away while the others serve.

Owns how one that does not answer is found out, let alone, and found again: see ``breaker``.
"""

import os
import socket
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from sqlalchemy import event, exc, pool

from kilonova.core.errors import DatabaseUnavailable
from kilonova.db.breaker import Breaker
from kilonova.db.engine import Database, translate

T = TypeVar("T")

_LOOK = 5
"""Seconds for which a look waits for the driver."""


class CellDatabase(Database):
    """A database behind a breaker."""

    def __init__(self, url: str, *, pool_size: int = 10, echo: bool = False) -> None:
        super().__init__(url, pool_size=pool_size, echo=echo)
        sockets = _Sockets()
        for engine in self.engines:
            event.listen(engine, "connect", sockets.note)
        self._breaker = Breaker(_look_at(self.url), sockets.shut)

    @property
    def is_worth_another_try(self) -> bool:
        """Not when the connection was lost because the breaker cut it."""
        return not self._breaker.is_shut

    def doubt(self) -> None:
        """Find out whether the database answers: something that was asked of it takes too long."""
        self._breaker.doubt()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Yield a connection for SELECTs; see ``Database``."""
        with self._breaker.passing(), super().read() as connection:
            yield connection

    def query(self, work: Callable[[sa.Connection], T]) -> T:
        """Run SELECTs; see ``Database``."""
        with self._breaker.passing():
            return super().query(work)

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Run a transaction; see ``Database``."""
        with self._breaker.passing():
            return super().write(work)


class _Sockets:
    """The sockets under a database's connections, in use or not."""

    def __init__(self) -> None:
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()

    def note(self, connection: Any, _record: Any) -> None:
        """Remember a new connection, if it has a socket."""
        if _number_of(connection) is not None:
            self._connections.add(connection)

    def shut(self) -> None:
        """Let every statement that waits on one of them fail now."""
        for connection in list(self._connections):
            # One may be closed meanwhile.
            with suppress(OSError):
                number = _number_of(connection)
                if number is not None and number >= 0:
                    with socket.socket(fileno=os.dup(number)) as under:
                        under.shutdown(socket.SHUT_RDWR)


def _number_of(connection: Any) -> int | None:
    """Return the file descriptor of a driver's connection; PyMySQL has no public name for it."""
    under = getattr(connection, "_sock", connection)
    with suppress(AttributeError, OSError, psycopg.Error):
        return int(under.fileno())
    return None


def _look_at(url: sa.URL) -> Callable[[], None]:
    """Return what asks a database one thing, over a connection that nobody else uses.

    It knows the URL alone, so that a breaker does not keep its database alive.
    """
    options: dict[str, Any] = {"connect_timeout": _LOOK}
    if url.get_backend_name() == "sqlite":
        options = {"timeout": _LOOK}
    elif url.drivername.endswith("+pymysql"):
        options["read_timeout"] = _LOOK
    engine = sa.create_engine(url, poolclass=pool.NullPool, connect_args=options)

    def look() -> None:
        try:
            with engine.connect() as connection:
                connection.execute(sa.text("SELECT 1"))
        except exc.DBAPIError as error:
            found = translate(error)
            # Any other error is an answer.
            if isinstance(found, DatabaseUnavailable):
                raise found from error

    return look
