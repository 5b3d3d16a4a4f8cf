"""What statements are made of, and those that each database spells in its own way.

Statements that a boot waits for are made once, at import, with parameters: making one takes longer than
sending it.
"""

import functools
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.sql.functions import FunctionElement

from kilonova.db.types import Moment


def table_of(mapped: type[DeclarativeBase]) -> sa.Table:
    """Return the table of a typed mapping, for statements that need no session."""
    table = mapped.__table__
    if not isinstance(table, sa.Table):
        raise TypeError(f"{mapped.__name__} is not mapped to one table")
    return table


def insert_if_absent(
    connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], key: str
) -> None:
    """Insert the rows that meet no unique index; leave those that are there as they are.

    ``key`` is any column of the index (MariaDB has to set one to itself).
    """
    if rows:
        connection.execute(_unless_there(table, key, connection.dialect.name), list(rows))


@functools.cache
def _unless_there(table: sa.Table, key: str, dialect: str) -> Any:
    match dialect:
        case "sqlite":
            return sqlite.insert(table).on_conflict_do_nothing()
        case "postgresql":
            return postgresql.insert(table).on_conflict_do_nothing()
        case _:
            return mysql.insert(table).on_duplicate_key_update({key: table.c[key]})


def among(column: sa.Column[Any], name: str) -> sa.ColumnElement[bool]:
    """Return the condition that a column is one of the values given as the parameter ``name``."""
    return column.in_(sa.bindparam(name, expanding=True))


class database_now(FunctionElement[datetime]):
    """The time by the database's own clock, in UTC, as the type ``Moment`` holds it.

    It is that of the statement, not of the beginning of its transaction.
    """

    type = Moment
    inherit_cache = True


@compiles(database_now, "sqlite")
def _sqlite_now(_element: Any, _compiler: Any, **_more: Any) -> str:
    # SQLite knows milliseconds only; the text is as long as those that it is compared with.
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


@compiles(database_now, "postgresql")
def _postgresql_now(_element: Any, _compiler: Any, **_more: Any) -> str:
    return "(clock_timestamp() AT TIME ZONE 'UTC')"


@compiles(database_now, "mysql", "mariadb")
def _mariadb_now(_element: Any, _compiler: Any, **_more: Any) -> str:
    return "UTC_TIMESTAMP(6)"
