"""Keep where a server may be built, and how far its host's reports have come."""

import sqlalchemy as sa
from alembic import op

from kilonova.db import types

revision = "cell_0008"
down_revision = "cell_0007"


def upgrade() -> None:
    op.add_column("instances", sa.Column("destinations", types.Json, nullable=True))
    op.add_column(
        "instances", sa.Column("reported", sa.BigInteger, nullable=False, server_default="0")
    )
    op.create_index("instances_ended", "instances", ["terminated_at"])
    for name in ("starts", "started"):
        op.add_column("services", sa.Column(name, sa.Integer, nullable=False, server_default="0"))
