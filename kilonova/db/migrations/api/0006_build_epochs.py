"""Count how often a build request was taken."""

import sqlalchemy as sa
from alembic import op

revision = "api_0006"
down_revision = "api_0005"


def upgrade() -> None:
    op.add_column(
        "build_requests", sa.Column("epoch", sa.Integer, nullable=False, server_default="0")
    )
