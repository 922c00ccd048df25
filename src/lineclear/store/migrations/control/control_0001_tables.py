"""First tables of control: manifests, changes, releases, deployments, keys, secrets, revisions, audit."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Text

revision = "control_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "manifests",
        *_key("kind", "name"),
        *_texts("document", "digest", "owner", "change_id"),
        *_numbers("updated_us"),
    )
    op.create_table(
        "changes",
        *_key("id"),
        *_numbers("created_us"),
        *_texts("author", "approver", "state", "note", "plan_digest", "plan"),
        *_numbers("base_revision", "revision"),
    )
    op.create_table(
        "releases",
        *_key("digest"),
        *_texts("id", "route", "manifest"),
        *_numbers("created_us"),
        *_texts("change_id"),
    )
    op.create_table(
        "deployments",
        *_key("environment", "route"),
        *_numbers("generation"),
        *_texts("stable", "previous", "change_id"),
        *_numbers("updated_us"),
    )
    op.create_table(
        "keys",
        *_key("id"),
        *_texts("mac", "app", "environment"),
        *_numbers("created_us"),
        *_texts("created_by"),
        Column("expires_at", BigInteger, nullable=True),
        Column("revoked_us", BigInteger, nullable=True),
    )
    op.create_table("secrets", *_key("name"), Column("sealed", LargeBinary, nullable=False), *_numbers("updated_us"))
    op.create_table(
        "revisions",
        Column("revision", BigInteger, primary_key=True, autoincrement=False),
        *_numbers("epoch", "created_us"),
        *_texts("cause"),
    )
    op.create_table(
        "audit",
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("format", Integer, nullable=False),
        *_numbers("at_us"),
        *_texts("actor", "action", "object", "before", "after", "reason", "change_id", "previous_hash", "hash"),
    )


def _key(*names: str) -> list[Column[str]]:
    return [Column(name, Text, primary_key=True) for name in names]


def _texts(*names: str) -> list[Column[str]]:
    return [Column(name, Text, nullable=False) for name in names]


def _numbers(*names: str) -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False) for name in names]
