"""People, service accounts, grants, tokens, passwords, invitations, emergencies."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, Text

revision = "control_0005"
down_revision = "control_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "principals",
        *_key("name"),
        *_texts("kind", "team", "display", "state", "issuer", "subject"),
        *_times("created_us"),
        *_texts("created_by"),
    )
    op.create_table(
        "grants",
        *_key("id"),
        *_texts("principal", "role", "scope"),
        *_times("created_us"),
        *_texts("created_by"),
        _perhaps("expires_us"),
        Column("is_sealed", Integer, nullable=False),
    )
    op.create_table("memberships", *_key("principal", "group_name"), *_times("seen_us"))
    op.create_table(
        "tokens",
        *_key("id"),
        *_texts("mac", "principal", "label", "narrowed"),
        *_times("created_us"),
        *_texts("created_by"),
        *_times("expires_us"),
        _perhaps("used_us"),
        _perhaps("revoked_us"),
    )
    op.create_table("passwords", *_key("principal"), *_texts("hash"), *_times("set_us"))
    op.create_table(
        "invitations",
        *_key("hash"),
        *_texts("principal"),
        *_times("created_us"),
        *_texts("created_by"),
        *_times("expires_us"),
    )
    op.create_table(
        "openings",
        *_key("id"),
        *_texts("grant_id", "principal", "role", "scope", "incident", "reason"),
        *_times("opened_us", "ends_us"),
        _perhaps("reviewed_us"),
        *_texts("reviewed_by", "review"),
    )


def _key(*names: str) -> list[Column[str]]:
    return [Column(name, Text, primary_key=True) for name in names]


def _texts(*names: str) -> list[Column[str]]:
    return [Column(name, Text, nullable=False) for name in names]


def _times(*names: str) -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False) for name in names]


def _perhaps(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=True)
