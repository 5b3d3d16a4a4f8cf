"""Keep under which fence each consumer claimed."""

import sqlalchemy as sa
from alembic import op

revision = "placement_0002"
down_revision = "placement_0001"


def upgrade() -> None:
    op.add_column("consumers", sa.Column("fence", sa.Integer, nullable=False, server_default="0"))
