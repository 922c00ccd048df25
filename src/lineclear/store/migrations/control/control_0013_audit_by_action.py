"""Audit rows are found by their action and time."""

from alembic import op

revision = "control_0013"
down_revision = "control_0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("audit_by_action", "audit", ["action", "at_us"])
