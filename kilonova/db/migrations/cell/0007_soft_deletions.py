"""Since when servers are soft-deleted."""

import sqlalchemy as sa
from alembic import op

from kilonova.db import types

revision = "cell_0007"
down_revision = "cell_0006"


def upgrade() -> None:
    op.create_table(
        "soft_deletions",
        sa.Column("instance_uuid", types.Uuid, nullable=False),
        sa.Column("deleted_at", types.Moment, nullable=False),
        sa.PrimaryKeyConstraint("instance_uuid"),
    )
    op.create_index("soft_deletions_due", "soft_deletions", ["deleted_at"])
