"""Alembic's environment, for all three schemas: ``kilonova.db.migrate`` hands it the connection."""

from alembic import context

from kilonova.db.migrate import METADATA
from kilonova.db.schemas import version_table

_schema = context.config.attributes["schema"]

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA[_schema],
    version_table=version_table(_schema),
    include_name=lambda name, kind, _parents: kind != "table" or name in METADATA[_schema].tables,
)
with context.begin_transaction():
    context.run_migrations()
