"""Which request a server's task is of, and who does it; a server's password."""

import sqlalchemy as sa
from alembic import op

from kilonova.db import types

revision = "cell_0004"
down_revision = "cell_0003"


def upgrade() -> None:
    op.add_column("instances", sa.Column("task_request", types.Name, nullable=True))
    op.add_column(
        "instances", sa.Column("task_worker", types.Name, nullable=False, server_default="")
    )
    op.add_column("instances", sa.Column("password", types.LongText, nullable=True))
