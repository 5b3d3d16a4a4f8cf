"""What one user of a project uses is found by an index, for those who have limits of their own."""

from alembic import op

revision = "api_0008"
down_revision = "api_0007"


def upgrade() -> None:
    # The new one first: a foreign key of MariaDB's, or a reader, is never without any.
    columns = ["project_id", "queued_for_delete", "user_id"]
    op.create_index("instance_mappings_owner", "instance_mappings", columns)
    op.drop_index("instance_mappings_project", "instance_mappings")
