"""Control's tables: what people wrote, what was released, who may call, and the audit trail.

Names and columns only; `store.control_rows` reads and writes them, `migrations/control` creates them. Times are
microseconds since 1970 UTC; JSON stands in text columns.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text

CONTROL = MetaData()

manifests = Table(
    "manifests",
    CONTROL,
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("document", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("change_id", Text, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("filed", Text, nullable=False),
)
"""The last applied state of each noun; `owner` is a `ManagedBy`, `filed` what a file said last, empty if none did."""

changes = Table(
    "changes",
    CONTROL,
    Column("id", Text, primary_key=True),
    Column("created_us", BigInteger, nullable=False),
    Column("author", Text, nullable=False),
    Column("approver", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("plan_digest", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("base_revision", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("content_digest", Text, nullable=False),
    Column("needs", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("co_authors", Text, nullable=False),
    Column("owners", Text, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("closed_us", BigInteger, nullable=False),
    Column("closed_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
"""Change requests; `revision` is the one the change led to, 0 while it led to none. `needs`, `scopes`, `co_authors` and
`owners` are JSON lists; `approver` holds the names of those who approved, the author's own where nobody had to."""

change_approvals = Table(
    "change_approvals",
    CONTROL,
    Column("change_id", Text, primary_key=True),
    Column("principal", Text, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("content_digest", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("mac", Text, nullable=False),
)
"""Who approved what content of a change request, for which scopes; each row authenticated under the master key."""

change_contents = Table(
    "change_contents",
    CONTROL,
    Column("change_id", Text, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)
"""Documents and values that came with a change request that waits, sealed; gone when it is closed."""

releases = Table(
    "releases",
    CONTROL,
    Column("digest", Text, primary_key=True),
    Column("id", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("manifest", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("change_id", Text, nullable=False),
)
"""Immutable release manifests by digest."""

deployments = Table(
    "deployments",
    CONTROL,
    Column("environment", Text, primary_key=True),
    Column("route", Text, primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("stable", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("change_id", Text, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("asked", Text, nullable=False),
)
"""The pointer per (environment, route); `previous` is a JSON list of at most ten digests, newest first; `asked` the
digest that manifests asked for last, so that a pointer moved by other means is known."""

keys = Table(
    "keys",
    CONTROL,
    Column("id", Text, primary_key=True),
    Column("mac", Text, nullable=False),
    Column("app", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=True),
    Column("revoked_us", BigInteger, nullable=True),
)
"""API keys without the keys: HMACs only. `expires_at` is in seconds, as gateways read it."""

secrets = Table(
    "secrets",
    CONTROL,
    Column("name", Text, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("set_by", Text, nullable=False),
)
"""The pepper, secrets and the last values of credential variables, sealed under the master key; keyed digests of what
the server's own environment said last."""

revisions = Table(
    "revisions",
    CONTROL,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("cause", Text, nullable=False),
)
"""Every snapshot revision that was handed out; the database is what counts them."""

audit = Table(
    "audit",
    CONTROL,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("format", Integer, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("change_id", Text, nullable=False),
    Column("previous_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Index("audit_by_action", "action", "at_us"),
)
"""Who changed what; each row's hash covers the row and the hash before it. Never updated, never deleted."""

overrides = Table(
    "overrides",
    CONTROL,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("problem", Text, nullable=False),
    Column("digest", Text, nullable=False),
)
"""Entries of the override journal that were taken over; `problem` says why one changed nothing, empty if it did."""

stops = Table(
    "stops",
    CONTROL,
    Column("scope", Text, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
"""What is stopped now."""

audit_checkpoints = Table(
    "audit_checkpoints",
    CONTROL,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("peaks", Text, nullable=False),
)
"""Signed tree heads over the audit rows up to `number`; `peaks` is a JSON list of hashes to go on from."""

sign_in_links = Table(
    "sign_in_links",
    CONTROL,
    Column("hash", Text, primary_key=True),
    Column("principal", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
)
"""One-use links into the console that nobody has used yet; SHA-256 of their tokens only."""

sessions = Table(
    "sessions",
    CONTROL,
    Column("hash", Text, primary_key=True),
    Column("principal", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
)
"""Browsers that are signed in; SHA-256 of their cookies only. `expires_us` moves while they are used."""
