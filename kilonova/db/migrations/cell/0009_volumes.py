"""Servers have volumes, and each volume of a server can be found by itself."""

import sqlalchemy as sa
from alembic import op

from kilonova.db import types

revision = "cell_0009"
down_revision = "cell_0008"


def upgrade() -> None:
    op.add_column("instances", sa.Column("volumes", types.Json, nullable=True))
    op.create_table(
        "volume_attachments",
        sa.Column("instance_uuid", types.Uuid, nullable=False),
        sa.Column("volume_id", types.Name, nullable=False),
        sa.Column("stage", types.Name, nullable=False),
        sa.Column("changed_at", types.Moment, nullable=False),
        sa.PrimaryKeyConstraint("instance_uuid", "volume_id"),
    )
    op.create_index("volume_attachments_of", "volume_attachments", ["volume_id"])
    op.create_index("volume_attachments_at", "volume_attachments", ["stage", "changed_at"])
