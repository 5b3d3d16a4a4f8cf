"""Servers have shares, and each share of a server can be found by itself."""

import sqlalchemy as sa
from alembic import op

from kilonova.db import types

revision = "cell_0011"
down_revision = "cell_0010"


def upgrade() -> None:
    op.add_column("instances", sa.Column("shares", types.Json, nullable=True))
    op.create_table(
        "share_attachments",
        sa.Column("instance_uuid", types.Uuid, nullable=False),
        sa.Column("share_id", types.Name, nullable=False),
        sa.Column("tag", types.Name, nullable=False),
        sa.Column("stage", types.Name, nullable=False),
        sa.Column("changed_at", types.Moment, nullable=False),
        sa.PrimaryKeyConstraint("instance_uuid", "share_id"),
    )
    op.create_index("share_attachments_of", "share_attachments", ["share_id"])
    op.create_index("share_attachments_at", "share_attachments", ["stage", "changed_at"])
    op.create_index(
        "share_attachments_tagged", "share_attachments", ["instance_uuid", "tag"], unique=True
    )
