"""Orders about network cards are kept until they have ended."""

import sqlalchemy as sa
from alembic import op

from kilonova.db import types

revision = "cell_0012"
down_revision = "cell_0011"


def upgrade() -> None:
    op.create_table(
        "card_orders",
        sa.Column("instance_uuid", types.Uuid, nullable=False),
        sa.Column("request_id", types.Name, nullable=False),
        sa.Column("wanted", types.Json, nullable=False),
        sa.Column("changed_at", types.Moment, nullable=False),
        sa.PrimaryKeyConstraint("instance_uuid", "request_id"),
    )
    op.create_index("card_orders_at", "card_orders", ["changed_at"])
