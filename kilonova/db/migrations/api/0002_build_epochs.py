"""Count how often a build request was taken."""

import sqlalchemy as sa
from alembic import op

revision = "api_0002"
down_revision = "api_0001"


def upgrade() -> None:
    op.add_column(
        "build_requests", sa.Column("epoch", sa.Integer, nullable=False, server_default="0")
    )
