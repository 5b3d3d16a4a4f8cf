"""Brings a database to the newest version of one of the three schemas, with Alembic.

Each schema has its own line of versions and its own version table, so they may share a database.
"""

from importlib import resources

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import exc

from kilonova.core.errors import DatabaseUnavailable
from kilonova.db.api_schema import ApiBase
from kilonova.db.cell_schema import CellBase
from kilonova.db.engine import Database
from kilonova.db.placement_schema import PlacementBase
from kilonova.db.schemas import Schema, version_table

METADATA: dict[Schema, sa.MetaData] = {
    "api": ApiBase.metadata,
    "cell": CellBase.metadata,
    "placement": PlacementBase.metadata,
}


def upgrade(database: Database, schema: Schema) -> bool:
    """Bring ``schema`` to its newest version; False if it was there already. Safe to repeat.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """
    config = alembic_config(schema)
    newest = newest_version(schema)
    try:
        with database.engine.begin() as connection:
            if current_version(connection, schema) == newest:
                return False
            config.attributes |= {"connection": connection, "schema": schema}
            command.upgrade(config, "head")
    except exc.OperationalError as error:
        cause = str(error.orig).partition("\n")[0]
        raise DatabaseUnavailable(f"The {schema} database does not answer: {cause}") from error
    return True


def is_newest(database: Database, schema: Schema) -> bool:
    """Whether a database is at the newest version of a schema.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """
    newest = ScriptDirectory.from_config(alembic_config(schema)).get_current_head()
    with database.read() as connection:
        return current_version(connection, schema) == newest


def current_version(connection: sa.Connection, schema: Schema) -> str | None:
    """Return the version that a schema is at, or None if it is not there."""
    context = MigrationContext.configure(connection, opts={"version_table": version_table(schema)})
    return context.get_current_revision()


def newest_version(schema: Schema) -> str | None:
    """Return the version that ``upgrade`` brings a schema to."""
    return ScriptDirectory.from_config(alembic_config(schema)).get_current_head()


def alembic_config(schema: Schema) -> Config:
    """Return Alembic's configuration for one schema."""
    here = str(resources.files("kilonova.db").joinpath("migrations"))
    config = Config()
    config.set_main_option("script_location", here)
    config.set_main_option("version_locations", f"{here}/{schema}")
    config.set_main_option("path_separator", "os")
    return config
