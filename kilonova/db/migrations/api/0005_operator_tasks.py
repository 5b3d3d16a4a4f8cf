"""Tasks that operators let be done, and what came of them."""

import sqlalchemy as sa
from alembic import op

from kilonova.db import types

revision = "api_0005"
down_revision = "api_0004"


def upgrade() -> None:
    op.create_table(
        "operator_tasks",
        sa.Column("id", types.Uuid, nullable=False),
        sa.Column("state", types.Name, nullable=False),
        sa.Column("created_at", types.Moment, nullable=False),
        sa.Column("seen_at", types.Moment, nullable=False),
        sa.Column("worker", types.Name, nullable=False),
        sa.Column("task", types.Json, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("operator_tasks_age", "operator_tasks", ["created_at", "id"], unique=False)
    op.create_table(
        "operator_task_results",
        sa.Column("task_id", types.Uuid, nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("lines", types.Json, nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["operator_tasks.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("task_id", "place"),
    )
