"""The first tables."""

import sqlalchemy as sa
from alembic import op

from kilonova.db import types

revision = "api_0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "aggregates",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("uuid", types.Uuid, nullable=False),
        sa.Column("name", types.Name, nullable=False),
        sa.Column("metadata", types.Json, nullable=False),
        sa.Column("created_at", types.Moment, nullable=False),
        sa.Column("updated_at", types.Moment, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("uuid"),
    )
    op.create_table(
        "build_requests",
        sa.Column("instance_uuid", types.Uuid, nullable=False),
        sa.Column("project_id", types.Name, nullable=False),
        sa.Column("request_id", types.Name, nullable=False),
        sa.Column("created_at", types.Moment, nullable=False),
        sa.Column("driver", types.Name, nullable=False),
        sa.Column("driven_at", types.Moment, nullable=False),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.Column("instance", types.Json, nullable=False),
        sa.PrimaryKeyConstraint("instance_uuid"),
    )
    op.create_index(
        "build_requests_listed",
        "build_requests",
        ["project_id", "created_at", "instance_uuid"],
        unique=False,
    )
    op.create_index(
        op.f("ix_build_requests_driven_at"), "build_requests", ["driven_at"], unique=False
    )
    op.create_table(
        "cell_mappings",
        sa.Column("uuid", types.Uuid, nullable=False),
        sa.Column("name", types.Name, nullable=False),
        sa.Column("transport_url", types.LongText, nullable=False),
        sa.Column("database_connection", types.LongText, nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("uuid"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "flavors",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("flavor_id", types.Name, nullable=False),
        sa.Column("name", types.Name, nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mb", sa.Integer(), nullable=False),
        sa.Column("root_gb", sa.Integer(), nullable=False),
        sa.Column("ephemeral_gb", sa.Integer(), nullable=False),
        sa.Column("swap_mb", sa.Integer(), nullable=False),
        sa.Column("rxtx_factor", sa.Double(), nullable=False),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("description", types.LongText, nullable=True),
        sa.Column("extra_specs", types.Json, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("flavor_id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "key_pairs",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("user_id", types.Name, nullable=False),
        sa.Column("name", types.Name, nullable=False),
        sa.Column("kind", types.Name, nullable=False),
        sa.Column("fingerprint", types.Name, nullable=False),
        sa.Column("public_key", types.LongText, nullable=False),
        sa.Column("created_at", types.Moment, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("key_pairs_user", "key_pairs", ["user_id", "name"], unique=True)
    op.create_table(
        "leases",
        sa.Column("name", types.Name, nullable=False),
        sa.Column("holder", types.Name, nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("expires_at", types.Moment, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "key_pair_usages",
        sa.Column("user_id", types.Name, nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("user_id"),
    )
    op.create_table(
        "quota_classes",
        sa.Column("name", types.Name, nullable=False),
        sa.Column("resource", types.Name, nullable=False),
        sa.Column("hard_limit", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", "resource"),
    )
    op.create_table(
        "quota_usages",
        sa.Column("project_id", types.Name, nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("cores", sa.Integer(), nullable=False),
        sa.Column("ram", types.BigId, nullable=False),
        sa.PrimaryKeyConstraint("project_id"),
    )
    op.create_table(
        "quotas",
        sa.Column("project_id", types.Name, nullable=False),
        sa.Column("user_id", types.Name, nullable=False),
        sa.Column("resource", types.Name, nullable=False),
        sa.Column("hard_limit", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "user_id", "resource"),
    )
    op.create_table(
        "request_specs",
        sa.Column("instance_uuid", types.Uuid, nullable=False),
        sa.Column("spec", types.Json, nullable=False),
        sa.PrimaryKeyConstraint("instance_uuid"),
    )
    op.create_table(
        "aggregate_hosts",
        sa.Column("aggregate_id", types.BigId, nullable=False),
        sa.Column("host", types.Name, nullable=False),
        sa.ForeignKeyConstraint(["aggregate_id"], ["aggregates.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("aggregate_id", "host"),
    )
    op.create_index(op.f("ix_aggregate_hosts_host"), "aggregate_hosts", ["host"], unique=False)
    op.create_table(
        "flavor_projects",
        sa.Column("flavor_id", types.Name, nullable=False),
        sa.Column("project_id", types.Name, nullable=False),
        sa.ForeignKeyConstraint(["flavor_id"], ["flavors.flavor_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("flavor_id", "project_id"),
    )
    op.create_table(
        "host_mappings",
        sa.Column("host", types.Name, nullable=False),
        sa.Column("cell_uuid", types.Uuid, nullable=False),
        sa.ForeignKeyConstraint(
            ["cell_uuid"],
            ["cell_mappings.uuid"],
        ),
        sa.PrimaryKeyConstraint("host"),
    )
    op.create_index(
        op.f("ix_host_mappings_cell_uuid"), "host_mappings", ["cell_uuid"], unique=False
    )
    op.create_table(
        "instance_mappings",
        sa.Column("instance_uuid", types.Uuid, nullable=False),
        sa.Column("cell_uuid", types.Uuid, nullable=True),
        sa.Column("project_id", types.Name, nullable=False),
        sa.Column("user_id", types.Name, nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mb", sa.Integer(), nullable=False),
        sa.Column("created_at", types.Moment, nullable=False),
        sa.Column("queued_for_delete", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["cell_uuid"],
            ["cell_mappings.uuid"],
        ),
        sa.PrimaryKeyConstraint("instance_uuid"),
    )
    op.create_index(
        "instance_mappings_project",
        "instance_mappings",
        ["project_id", "queued_for_delete"],
        unique=False,
    )
    op.create_index(
        op.f("ix_instance_mappings_cell_uuid"), "instance_mappings", ["cell_uuid"], unique=False
    )
