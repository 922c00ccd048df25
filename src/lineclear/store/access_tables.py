"""Tables of access: who there is, who may do what, and how they prove who they are.

Names and columns only; `store.access_rows` reads and writes them, `migrations/control` creates them. Times are
microseconds since 1970 UTC; JSON stands in text columns.
"""

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from lineclear.store.control_tables import CONTROL

principals = Table(
    "principals",
    CONTROL,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("display", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
)
"""People and service accounts; `issuer` and `subject` tell who signs in through an identity provider, else empty."""

grants = Table(
    "grants",
    CONTROL,
    Column("id", Text, primary_key=True),
    Column("principal", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_us", BigInteger, nullable=True),
    Column("is_sealed", Integer, nullable=False),
)
"""A role on a scope for a principal or `group:NAME`; a sealed one is in force only while its glass is broken."""

memberships = Table(
    "memberships",
    CONTROL,
    Column("principal", Text, primary_key=True),
    Column("group_name", Text, primary_key=True),
    Column("seen_us", BigInteger, nullable=False),
)
"""Groups that an identity provider named for a person at their last sign-in."""

tokens = Table(
    "tokens",
    CONTROL,
    Column("id", Text, primary_key=True),
    Column("mac", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("narrowed", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("used_us", BigInteger, nullable=True),
    Column("revoked_us", BigInteger, nullable=True),
)
"""Tokens of the admin port without the tokens: HMACs only; `narrowed` is a JSON list of [role, scope], `[]` = all."""

passwords = Table(
    "passwords",
    CONTROL,
    Column("principal", Text, primary_key=True),
    Column("hash", Text, nullable=False),
    Column("set_us", BigInteger, nullable=False),
)
"""Of people with an account here: argon2id, with its parameters and salt in the text."""

invitations = Table(
    "invitations",
    CONTROL,
    Column("hash", Text, primary_key=True),
    Column("principal", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
)
"""One-use links with which a person chooses a password; SHA-256 of their tokens only."""

openings = Table(
    "openings",
    CONTROL,
    Column("id", Text, primary_key=True),
    Column("grant_id", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("incident", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("opened_us", BigInteger, nullable=False),
    Column("ends_us", BigInteger, nullable=False),
    Column("reviewed_us", BigInteger, nullable=True),
    Column("reviewed_by", Text, nullable=False),
    Column("review", Text, nullable=False),
)
"""Every time a sealed role was opened; `ends_us` moves to the present when it is closed early."""
