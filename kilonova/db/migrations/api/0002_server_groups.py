"""Server groups, and which servers are in them."""

import sqlalchemy as sa
from alembic import op

from kilonova.db import types

revision = "api_0002"
down_revision = "api_0001"


def upgrade() -> None:
    op.create_table(
        "server_groups",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("uuid", types.Uuid, nullable=False),
        sa.Column("project_id", types.Name, nullable=False),
        sa.Column("user_id", types.Name, nullable=False),
        sa.Column("name", types.Name, nullable=False),
        sa.Column("policy", types.Name, nullable=False),
        sa.Column("max_server_per_host", sa.Integer(), nullable=True),
        sa.Column("created_at", types.Moment, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uuid"),
    )
    op.create_index("server_groups_project", "server_groups", ["project_id", "id"])
    op.add_column("instance_mappings", sa.Column("group_uuid", types.Uuid, nullable=True))
    op.add_column("instance_mappings", sa.Column("chosen_host", types.Name, nullable=True))
    op.create_index(op.f("ix_instance_mappings_group_uuid"), "instance_mappings", ["group_uuid"])
    op.add_column(
        "quota_usages", sa.Column("server_groups", sa.Integer(), nullable=False, server_default="0")
    )
