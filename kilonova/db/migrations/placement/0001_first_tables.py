"""The first tables."""

import sqlalchemy as sa
from alembic import op

from kilonova.db import types

revision = "placement_0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "consumers",
        sa.Column("uuid", types.Uuid, nullable=False),
        sa.Column("project_id", types.Name, nullable=False),
        sa.Column("user_id", types.Name, nullable=False),
        sa.Column("consumer_type", types.Name, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("updated_at", types.Moment, nullable=False),
        sa.PrimaryKeyConstraint("uuid"),
    )
    op.create_index("consumers_project", "consumers", ["project_id", "user_id"], unique=False)
    op.create_table(
        "custom_names",
        sa.Column("kind", types.Name, nullable=False),
        sa.Column("name", types.Name, nullable=False),
        sa.PrimaryKeyConstraint("kind", "name"),
    )
    op.create_table(
        "resource_providers",
        sa.Column("uuid", types.Uuid, nullable=False),
        sa.Column("name", types.Name, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("parent_uuid", types.Uuid, nullable=True),
        sa.Column("root_uuid", types.Uuid, nullable=False),
        sa.Column("spot", types.BigId, nullable=False),
        sa.Column(
            "root_spot",
            types.BigId,
            sa.Computed("CASE WHEN root_uuid = uuid THEN spot END", persisted=True),
            nullable=True,
        ),
        sa.Column("updated_at", types.Moment, nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_uuid"],
            ["resource_providers.uuid"],
        ),
        sa.PrimaryKeyConstraint("uuid"),
        sa.UniqueConstraint("name"),
    )
    op.create_index(
        op.f("ix_resource_providers_root_uuid"), "resource_providers", ["root_uuid"], unique=False
    )
    op.create_index(
        op.f("ix_resource_providers_parent_uuid"),
        "resource_providers",
        ["parent_uuid"],
        unique=False,
    )
    op.create_index(
        "resource_providers_roots", "resource_providers", ["root_spot", "uuid"], unique=False
    )
    op.create_table(
        "allocations",
        sa.Column("consumer_uuid", types.Uuid, nullable=False),
        sa.Column("provider_uuid", types.Uuid, nullable=False),
        sa.Column("resource_class", types.Name, nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["consumer_uuid"],
            ["consumers.uuid"],
        ),
        sa.ForeignKeyConstraint(
            ["provider_uuid"],
            ["resource_providers.uuid"],
        ),
        sa.PrimaryKeyConstraint("consumer_uuid", "provider_uuid", "resource_class"),
    )
    op.create_index(
        op.f("ix_allocations_provider_uuid"), "allocations", ["provider_uuid"], unique=False
    )
    op.create_table(
        "inventories",
        sa.Column("provider_uuid", types.Uuid, nullable=False),
        sa.Column("resource_class", types.Name, nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("reserved", sa.Integer(), nullable=False),
        sa.Column("min_unit", sa.Integer(), nullable=False),
        sa.Column("max_unit", sa.Integer(), nullable=False),
        sa.Column("step_size", sa.Integer(), nullable=False),
        sa.Column("allocation_ratio", sa.Double(), nullable=False),
        sa.Column("capacity", types.BigId, nullable=False),
        sa.Column("used", types.BigId, nullable=False),
        sa.Column(
            "free", types.BigId, sa.Computed("capacity - used", persisted=True), nullable=True
        ),
        sa.CheckConstraint("used >= 0", name="inventories_used"),
        sa.ForeignKeyConstraint(
            ["provider_uuid"],
            ["resource_providers.uuid"],
        ),
        sa.PrimaryKeyConstraint("provider_uuid", "resource_class"),
    )
    op.create_index(
        "inventories_room",
        "inventories",
        ["resource_class", "free", "provider_uuid"],
        unique=False,
    )
    op.create_table(
        "provider_aggregates",
        sa.Column("provider_uuid", types.Uuid, nullable=False),
        sa.Column("aggregate_uuid", types.Uuid, nullable=False),
        sa.ForeignKeyConstraint(["provider_uuid"], ["resource_providers.uuid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("provider_uuid", "aggregate_uuid"),
    )
    op.create_index(
        op.f("ix_provider_aggregates_aggregate_uuid"),
        "provider_aggregates",
        ["aggregate_uuid"],
        unique=False,
    )
    op.create_table(
        "provider_traits",
        sa.Column("provider_uuid", types.Uuid, nullable=False),
        sa.Column("trait", types.Name, nullable=False),
        sa.ForeignKeyConstraint(["provider_uuid"], ["resource_providers.uuid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("provider_uuid", "trait"),
    )
    op.create_index(op.f("ix_provider_traits_trait"), "provider_traits", ["trait"], unique=False)
