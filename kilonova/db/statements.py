"""Statements that each database spells in its own way."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase


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
    if not rows:
        return
    statement: Any
    match connection.dialect.name:
        case "sqlite":
            statement = sqlite.insert(table).on_conflict_do_nothing()
        case "postgresql":
            statement = postgresql.insert(table).on_conflict_do_nothing()
        case _:
            unchanged = {key: table.c[key]}
            statement = mysql.insert(table).on_duplicate_key_update(unchanged)
    connection.execute(statement, list(rows))
