"""Who gave each sealed value."""

from alembic import op
from sqlalchemy import Column, Text

revision = "control_0004"
down_revision = "control_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("secrets", Column("set_by", Text, nullable=False, server_default=""))
