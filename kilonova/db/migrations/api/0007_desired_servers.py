"""Servers that are desired, of which one is to run at each index."""

import sqlalchemy as sa
from alembic import op

from kilonova.db import types

revision = "api_0007"
down_revision = "api_0006"


def upgrade() -> None:
    op.create_table(
        "desired_servers",
        sa.Column("uuid", types.Uuid, nullable=False),
        sa.Column("project_id", types.Name, nullable=False),
        sa.Column("user_id", types.Name, nullable=False),
        sa.Column("name", types.Name, nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("deleting", sa.Boolean(), nullable=False),
        sa.Column("group_uuid", types.Uuid, nullable=True),
        sa.Column("created_at", types.Moment, nullable=False),
        sa.Column("updated_at", types.Moment, nullable=False),
        sa.PrimaryKeyConstraint("uuid"),
    )
    op.create_index("desired_servers_name", "desired_servers", ["project_id", "name"], unique=True)
    op.create_table(
        "desired_generations",
        sa.Column("desired_uuid", types.Uuid, nullable=False),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("template", types.Json, nullable=False),
        sa.ForeignKeyConstraint(["desired_uuid"], ["desired_servers.uuid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("desired_uuid", "generation"),
    )
    op.create_table(
        "desired_slots",
        sa.Column("desired_uuid", types.Uuid, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("server", types.Uuid, nullable=True),
        sa.Column("ending", types.Name, nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failed_at", types.Moment, nullable=True),
        sa.Column("reason", types.LongText, nullable=True),
        sa.ForeignKeyConstraint(["desired_uuid"], ["desired_servers.uuid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("desired_uuid", "number"),
    )
    op.create_index("desired_slots_server", "desired_slots", ["server"], unique=True)
