"""What is known of silent hosts, and what their fences said."""

import sqlalchemy as sa
from alembic import op

from kilonova.db import types

revision = "cell_0010"
down_revision = "cell_0009"


def upgrade() -> None:
    op.create_table(
        "host_fences",
        sa.Column("host", types.Name, nullable=False),
        sa.Column("since", types.Moment, nullable=False),
        sa.Column("verdict", types.Name, nullable=False),
        sa.Column("changed_at", types.Moment, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("token", types.Name, nullable=False),
        sa.Column("words", types.LongText, nullable=False),
        sa.PrimaryKeyConstraint("host"),
    )
