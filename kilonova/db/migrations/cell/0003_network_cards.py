"""Servers have network cards, as their hosts report them."""

import sqlalchemy as sa
from alembic import op

from kilonova.db import types

revision = "cell_0003"
down_revision = "cell_0002"


def upgrade() -> None:
    op.add_column("instances", sa.Column("nics", types.Json, nullable=True))
