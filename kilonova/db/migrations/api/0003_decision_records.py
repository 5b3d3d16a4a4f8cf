"""How decisions came about, and why a build request waits for its own."""

import sqlalchemy as sa
from alembic import op

from kilonova.db import types

revision = "api_0003"
down_revision = "api_0002"


def upgrade() -> None:
    op.create_table(
        "decisions",
        sa.Column("decision_id", types.Uuid, nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("created_at", types.Moment, nullable=False),
        sa.Column("instance_uuid", types.Uuid, nullable=False),
        sa.Column("request_id", types.Name, nullable=False),
        sa.Column("host", types.Name, nullable=True),
        sa.Column("record", types.Json, nullable=True),
        sa.PrimaryKeyConstraint("decision_id", "place"),
    )
    op.create_index("decisions_age", "decisions", ["created_at", "place"], unique=False)
    op.create_index(
        op.f("ix_decisions_instance_uuid"), "decisions", ["instance_uuid"], unique=False
    )
    op.create_index(op.f("ix_decisions_request_id"), "decisions", ["request_id"], unique=False)
    op.add_column("build_requests", sa.Column("waits_for", types.LongText, nullable=True))
