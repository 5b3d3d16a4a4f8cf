"""The first tables."""

import sqlalchemy as sa
from alembic import op

from kilonova.db import types

revision = "cell_0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "compute_nodes",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("provider_uuid", types.Uuid, nullable=False),
        sa.Column("host", types.Name, nullable=False),
        sa.Column("node", types.Name, nullable=False),
        sa.Column("updated_at", types.Moment, nullable=False),
        sa.Column("report", types.Json, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("provider_uuid"),
    )
    op.create_index(op.f("ix_compute_nodes_host"), "compute_nodes", ["host"], unique=False)
    op.create_index(
        op.f("ix_compute_nodes_updated_at"), "compute_nodes", ["updated_at"], unique=False
    )
    op.create_table(
        "instance_action_events",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("instance_uuid", types.Uuid, nullable=False),
        sa.Column("request_id", types.Name, nullable=False),
        sa.Column("name", types.Name, nullable=False),
        sa.Column("host", types.Name, nullable=True),
        sa.Column("started_at", types.Moment, nullable=False),
        sa.Column("finished_at", types.Moment, nullable=True),
        sa.Column("result", types.Name, nullable=True),
        sa.Column("details", types.LongText, nullable=True),
        sa.Column("traceback", types.LongText, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "instance_action_events_of",
        "instance_action_events",
        ["instance_uuid", "request_id", "name", "started_at"],
        unique=True,
    )
    op.create_table(
        "instance_actions",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("instance_uuid", types.Uuid, nullable=False),
        sa.Column("request_id", types.Name, nullable=False),
        sa.Column("action", types.Name, nullable=False),
        sa.Column("user_id", types.Name, nullable=False),
        sa.Column("project_id", types.Name, nullable=False),
        sa.Column("started_at", types.Moment, nullable=False),
        sa.Column("updated_at", types.Moment, nullable=True),
        sa.Column("message", types.LongText, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "instance_actions_of",
        "instance_actions",
        ["instance_uuid", "request_id", "action"],
        unique=True,
    )
    op.create_table(
        "instance_faults",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("instance_uuid", types.Uuid, nullable=False),
        sa.Column("code", sa.Integer(), nullable=False),
        sa.Column("message", types.LongText, nullable=False),
        sa.Column("details", types.LongText, nullable=False),
        sa.Column("created_at", types.Moment, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("instance_faults_of", "instance_faults", ["instance_uuid", "id"], unique=False)
    op.create_table(
        "instances",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("uuid", types.Uuid, nullable=False),
        sa.Column("project_id", types.Name, nullable=False),
        sa.Column("user_id", types.Name, nullable=False),
        sa.Column("name", types.Name, nullable=False),
        sa.Column("hostname", types.Name, nullable=False),
        sa.Column("description", types.LongText, nullable=True),
        sa.Column("host", types.Name, nullable=True),
        sa.Column("node", types.Name, nullable=True),
        sa.Column("availability_zone", types.Name, nullable=True),
        sa.Column("flavor_id", types.Name, nullable=False),
        sa.Column("image_id", types.Name, nullable=True),
        sa.Column("key_name", types.Name, nullable=True),
        sa.Column("reservation_id", types.Name, nullable=False),
        sa.Column("vm_state", types.Name, nullable=False),
        sa.Column("task_state", types.Name, nullable=True),
        sa.Column("power_state", sa.Integer(), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("locked_by", types.Name, nullable=True),
        sa.Column("locked_reason", types.LongText, nullable=True),
        sa.Column("access_ipv4", types.Name, nullable=True),
        sa.Column("access_ipv6", types.Name, nullable=True),
        sa.Column("root_device_name", types.Name, nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("begun_epoch", sa.Integer(), nullable=False),
        sa.Column("builder", types.Name, nullable=False),
        sa.Column("created_at", types.Moment, nullable=False),
        sa.Column("updated_at", types.Moment, nullable=True),
        sa.Column("launched_at", types.Moment, nullable=True),
        sa.Column("terminated_at", types.Moment, nullable=True),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("tags", types.LongText, nullable=False),
        sa.Column("metadata", types.Json, nullable=False),
        sa.Column("fixed", types.Json, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uuid"),
    )
    op.create_index("instances_all", "instances", ["deleted", "created_at", "uuid"], unique=False)
    op.create_index("instances_busy", "instances", ["task_state", "updated_at"], unique=False)
    op.create_index("instances_host", "instances", ["host", "deleted"], unique=False)
    op.create_index(
        "instances_listed",
        "instances",
        ["project_id", "deleted", "created_at", "uuid"],
        unique=False,
    )
    op.create_table(
        "services",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("uuid", types.Uuid, nullable=False),
        sa.Column("binary", types.Name, nullable=False),
        sa.Column("host", types.Name, nullable=False),
        sa.Column("topic", types.Name, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_reason", types.LongText, nullable=True),
        sa.Column("forced_down", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", types.Moment, nullable=False),
        sa.Column("last_seen", types.Moment, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uuid"),
    )
    op.create_index("services_named", "services", ["binary", "host"], unique=True)
