"""Migrations: servers on their way from one host to another."""

import sqlalchemy as sa
from alembic import op

from kilonova.db import types

revision = "cell_0005"
down_revision = "cell_0004"


def upgrade() -> None:
    op.create_table(
        "migrations",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("uuid", types.Uuid, nullable=False),
        sa.Column("instance_uuid", types.Uuid, nullable=False),
        sa.Column("kind", types.Name, nullable=False),
        sa.Column("stage", types.Name, nullable=False),
        sa.Column("status", types.Name, nullable=False),
        sa.Column("source_host", types.Name, nullable=False),
        sa.Column("destination_host", types.Name, nullable=True),
        sa.Column("user_id", types.Name, nullable=False),
        sa.Column("project_id", types.Name, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("wish", types.Name, nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("driver", types.Name, nullable=False),
        sa.Column("driven_at", types.Moment, nullable=False),
        sa.Column("created_at", types.Moment, nullable=False),
        sa.Column("updated_at", types.Moment, nullable=False),
        sa.Column("progress", types.Json, nullable=False),
        sa.Column("document", types.Json, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uuid"),
    )
    op.create_index("migrations_of", "migrations", ["instance_uuid", "stage"], unique=False)
    op.create_index("migrations_at", "migrations", ["stage", "updated_at"], unique=False)
    op.create_index("migrations_from", "migrations", ["source_host", "stage"], unique=False)
    op.create_index("migrations_to", "migrations", ["destination_host", "stage"], unique=False)
    op.create_index("migrations_unsettled", "migrations", ["settled", "stage"], unique=False)
    op.create_index("migrations_listed", "migrations", ["created_at", "id"], unique=False)
