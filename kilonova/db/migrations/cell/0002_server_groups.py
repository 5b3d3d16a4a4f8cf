"""Which server group a server is in."""

import sqlalchemy as sa
from alembic import op

from kilonova.db import types

revision = "cell_0002"
down_revision = "cell_0001"


def upgrade() -> None:
    op.add_column("instances", sa.Column("group_uuid", types.Uuid, nullable=True))
    op.create_index(op.f("ix_instances_group_uuid"), "instances", ["group_uuid"])
