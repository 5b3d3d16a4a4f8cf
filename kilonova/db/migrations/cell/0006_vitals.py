"""What hosts tell of how their servers are."""

import sqlalchemy as sa
from alembic import op

from kilonova.db import types

revision = "cell_0006"
down_revision = "cell_0005"


def upgrade() -> None:
    op.create_table(
        "host_vitals",
        sa.Column("host", types.Name, nullable=False),
        sa.Column("at", types.Moment, nullable=False),
        sa.Column("vitals", types.Json, nullable=False),
        sa.PrimaryKeyConstraint("host"),
    )
