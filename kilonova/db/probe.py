"""Whether a database takes writes: a replica, or one whose disk is full, answers reads as always."""

import sqlalchemy as sa
from sqlalchemy import exc

from kilonova.core.errors import DatabaseUnavailable
from kilonova.db.engine import Database
from kilonova.db.schemas import Schema, version_table


def check(database: Database, schema: Schema) -> None:
    """Write the row that says which version a schema is at, as it is.

    Raises:
        DatabaseUnavailable: the database does not answer, takes no writes, or has no such schema.
    """
    version: sa.ColumnClause[str] = sa.column("version_num")
    change = sa.update(sa.table(version_table(schema), version)).values(version_num=version)
    try:
        database.write(lambda connection: connection.execute(change))
    except exc.ProgrammingError as error:
        raise DatabaseUnavailable(
            f"There is no {schema} schema: kilonova-manage db sync."
        ) from error
