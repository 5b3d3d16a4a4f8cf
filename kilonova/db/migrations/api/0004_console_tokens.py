"""Tokens of consoles."""

import sqlalchemy as sa
from alembic import op

from kilonova.db import types

revision = "api_0004"
down_revision = "api_0003"


def upgrade() -> None:
    op.create_table(
        "console_tokens",
        sa.Column("token_hash", types.Name, nullable=False),
        sa.Column("instance_uuid", types.Uuid, nullable=False),
        sa.Column("console_type", types.Name, nullable=False),
        sa.Column("address", types.Json, nullable=False),
        sa.Column("expires_at", types.Moment, nullable=False),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    for column in ("instance_uuid", "expires_at"):
        name = op.f(f"ix_console_tokens_{column}")
        op.create_index(name, "console_tokens", [column], unique=False)
