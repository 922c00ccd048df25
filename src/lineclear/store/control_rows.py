"""Reads and writes control's tables inside a transaction that the caller holds.

In: a Connection and rows as frozen values. Out: rows. Decides nothing: no ids, no times, no rules.
"""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from lineclear.store import control_tables as tables

LIST_ROWS_MAX = 1_000
"""Rows of one answer of the listing functions that page."""
AUDIT_ROWS_AT_ONCE = 500
"""In memory, where the audit trail is walked through."""


@dataclass(frozen=True)
class ManifestRow:
    kind: str
    name: str
    document: str
    """JSON of the noun."""
    digest: str
    owner: str
    """A `ManagedBy`."""
    change_id: str
    updated_us: int
    filed: str
    """JSON of the noun as a file said it last; empty if none did."""


@dataclass(frozen=True)
class ChangeRow:
    id: str
    created_us: int
    author: str
    approver: str
    state: str
    note: str
    plan_digest: str
    plan: str
    """JSON."""
    base_revision: int
    revision: int
    content_digest: str = ""
    needs: str = "[]"
    scopes: str = "[]"
    co_authors: str = "[]"
    owners: str = "[]"
    expires_us: int = 0
    closed_us: int = 0
    closed_by: str = ""
    reason: str = ""


@dataclass(frozen=True)
class ReleaseRow:
    digest: str
    id: str
    route: str
    manifest: str
    """Canonical JSON; the digest is its SHA-256."""
    created_us: int
    change_id: str


@dataclass(frozen=True)
class DeploymentRow:
    environment: str
    route: str
    generation: int
    stable: str
    """Digest of the release that serves."""
    previous: tuple[str, ...]
    """Digests that served before, newest first."""
    change_id: str
    updated_us: int
    asked: str
    """Digest that manifests asked for last; another `stable` was moved there by other means, such as a rollback."""


@dataclass(frozen=True)
class KeyRow:
    id: str
    mac: str
    app: str
    environment: str
    created_us: int
    created_by: str
    expires_at: int | None
    """Unix seconds."""
    revoked_us: int | None


@dataclass(frozen=True)
class SecretRow:
    name: str
    """`pepper`, `variable:NAME`, `secret:NAME`, or `taken:NAME` with a keyed digest instead of sealed bytes."""
    sealed: bytes
    updated_us: int
    set_by: str
    """Who gave the value; empty where it was made here, or before this was written down."""


@dataclass(frozen=True)
class RevisionRow:
    revision: int
    epoch: int
    created_us: int
    cause: str


@dataclass(frozen=True)
class AuditRow:
    number: int
    """From 1, without gaps."""
    format: int
    at_us: int
    actor: str
    action: str
    object: str
    before: str
    after: str
    reason: str
    change_id: str
    previous_hash: str
    hash: str


def read_manifests(tx: Connection) -> list[ManifestRow]:
    """Every noun, by kind and name."""
    query = select(tables.manifests).order_by(tables.manifests.c.kind, tables.manifests.c.name)
    return [ManifestRow(**row) for row in tx.execute(query).mappings()]


def put_manifest(tx: Connection, row: ManifestRow) -> None:
    """Insert or replace one noun."""
    table = tables.manifests
    tx.execute(delete(table).where(table.c.kind == row.kind, table.c.name == row.name))
    tx.execute(insert(table).values(**asdict(row)))


def delete_manifest(tx: Connection, kind: str, name: str) -> None:
    """Remove one noun."""
    table = tables.manifests
    tx.execute(delete(table).where(table.c.kind == kind, table.c.name == name))


def add_change(tx: Connection, row: ChangeRow) -> None:
    tx.execute(insert(tables.changes).values(**asdict(row)))


def read_changes(tx: Connection, row_limit: int) -> list[ChangeRow]:
    """Newest first."""
    made = tables.changes.c
    query = select(tables.changes).order_by(made.created_us.desc(), made.revision.desc(), made.id)
    return [ChangeRow(**row) for row in tx.execute(query.limit(min(row_limit, LIST_ROWS_MAX))).mappings()]


def add_release(tx: Connection, row: ReleaseRow) -> None:
    """Insert a release; one that is known stays as it is, since equal content has an equal digest."""
    known = tx.execute(select(tables.releases.c.digest).where(tables.releases.c.digest == row.digest)).first()
    if known is None:
        tx.execute(insert(tables.releases).values(**asdict(row)))


def read_change(tx: Connection, change_id: str) -> ChangeRow | None:
    """One change request, None if there is none of that id."""
    row = tx.execute(select(tables.changes).where(tables.changes.c.id == change_id)).mappings().first()
    return None if row is None else ChangeRow(**row)


def read_release(tx: Connection, release: str) -> ReleaseRow | None:
    """One release by its id, None if there is none."""
    row = tx.execute(select(tables.releases).where(tables.releases.c.id == release)).mappings().first()
    return None if row is None else ReleaseRow(**row)


def read_releases(tx: Connection) -> dict[str, ReleaseRow]:
    """Every release by digest."""
    return {row["digest"]: ReleaseRow(**row) for row in tx.execute(select(tables.releases)).mappings()}


def read_deployments(tx: Connection) -> dict[tuple[str, str], DeploymentRow]:
    """Every deployment by (environment, route)."""
    rows = tx.execute(select(tables.deployments)).mappings()
    return {
        (row["environment"], row["route"]): DeploymentRow(**{**row, "previous": tuple(json.loads(row["previous"]))})
        for row in rows
    }


def move_deployment(tx: Connection, row: DeploymentRow) -> bool:
    """Write a deployment whose generation is one above the stored one, or 1 for a new one.

    Returns:
        False if somebody else moved it meanwhile; nothing was written then.
    """
    table = tables.deployments
    values = {**asdict(row), "previous": json.dumps(list(row.previous))}
    if row.generation == 1:
        tx.execute(insert(table).values(**values))
        return True
    done = tx.execute(
        update(table)
        .where(table.c.environment == row.environment, table.c.route == row.route)
        .where(table.c.generation == row.generation - 1)
        .values(**values)
    )
    return done.rowcount == 1


def delete_deployment(tx: Connection, environment: str, route: str) -> None:
    """Remove a deployment; its releases stay."""
    table = tables.deployments
    tx.execute(delete(table).where(table.c.environment == environment, table.c.route == route))


def add_key(tx: Connection, row: KeyRow) -> None:
    tx.execute(insert(tables.keys).values(**asdict(row)))


def read_keys(tx: Connection) -> list[KeyRow]:
    """Every key, revoked ones included, oldest first."""
    query = select(tables.keys).order_by(tables.keys.c.created_us, tables.keys.c.id)
    # By place, not by name: there may be 100,000, and every change compiles them all.
    return [KeyRow(*row) for row in tx.execute(query)]


def count_keys(tx: Connection) -> dict[tuple[str, str], int]:
    """Keys that are not revoked, counted by (app, environment)."""
    table = tables.keys
    named = (table.c.app, table.c.environment)
    query = select(*named, func.count()).where(table.c.revoked_us.is_(None)).group_by(*named)
    return {(app, environment): count for app, environment, count in tx.execute(query)}


def read_key(tx: Connection, key_id: str) -> KeyRow | None:
    """One key, revoked or not; None if there is none of that id."""
    row = tx.execute(select(tables.keys).where(tables.keys.c.id == key_id)).mappings().first()
    return None if row is None else KeyRow(**row)


def revoke_key(tx: Connection, key_id: str, revoked_us: int) -> None:
    """Mark a key as revoked; one that already is keeps its time."""
    table = tables.keys
    tx.execute(update(table).where(table.c.id == key_id, table.c.revoked_us.is_(None)).values(revoked_us=revoked_us))


def read_secrets(tx: Connection) -> dict[str, bytes]:
    """Sealed values by name."""
    return {row.name: row.sealed for row in read_secret_rows(tx)}


def read_secret_rows(tx: Connection) -> list[SecretRow]:
    """Sealed values by name, with when and by whom each was given."""
    query = select(tables.secrets).order_by(tables.secrets.c.name)
    return [SecretRow(row.name, bytes(row.sealed), row.updated_us, row.set_by) for row in tx.execute(query)]


def put_secret(tx: Connection, row: SecretRow) -> None:
    """Insert or replace one sealed value."""
    delete_secret(tx, row.name)
    tx.execute(insert(tables.secrets).values(**asdict(row)))


def delete_secret(tx: Connection, name: str) -> None:
    tx.execute(delete(tables.secrets).where(tables.secrets.c.name == name))


def last_revision(tx: Connection) -> RevisionRow | None:
    """The newest revision, None before the first."""
    row = tx.execute(select(tables.revisions).order_by(tables.revisions.c.revision.desc()).limit(1)).mappings().first()
    return None if row is None else RevisionRow(**row)


def read_revision(tx: Connection, revision: int) -> RevisionRow | None:
    """One revision, None if it was never handed out."""
    row = tx.execute(select(tables.revisions).where(tables.revisions.c.revision == revision)).mappings().first()
    return None if row is None else RevisionRow(**row)


def add_revision(tx: Connection, row: RevisionRow) -> None:
    tx.execute(insert(tables.revisions).values(**asdict(row)))


def last_audit(tx: Connection) -> AuditRow | None:
    """The newest audit row, None before the first."""
    row = tx.execute(select(tables.audit).order_by(tables.audit.c.number.desc()).limit(1)).mappings().first()
    return None if row is None else AuditRow(**row)


def add_audit(tx: Connection, rows: Iterable[AuditRow]) -> None:
    for row in rows:
        tx.execute(insert(tables.audit).values(**asdict(row)))


def read_audit(tx: Connection, after: int, row_limit: int) -> list[AuditRow]:
    """Audit rows with a number above `after`, in order."""
    query = select(tables.audit).where(tables.audit.c.number > after).order_by(tables.audit.c.number).limit(row_limit)
    return [AuditRow(**row) for row in tx.execute(query).mappings()]


@dataclass(frozen=True)
class AuditFilter:
    """Which audit rows are asked for; empty = not asked about."""

    after: int = 0
    """Only those with a higher number."""
    before: int = 0
    """Only those with a lower number; 0 = up to the newest."""
    actor: str = ""
    action: str = ""
    """An action, or the beginning of one up to its dot: `key.`"""
    object: str = ""
    """An object, or the beginning of one up to its slash: `Route/`"""
    change_id: str = ""
    left_out: tuple[str, ...] = ()
    """Actions that are not wanted."""
    until_us: int = 0
    """Only those of then and before; 0 = up to the newest."""


def read_audit_newest(tx: Connection, wanted: AuditFilter, row_limit: int) -> list[AuditRow]:
    """Audit rows that fit, newest first."""
    return list(stream_audit_newest(tx, wanted, row_limit))


def stream_audit_newest(tx: Connection, wanted: AuditFilter, row_limit: int) -> Iterator[AuditRow]:
    """The same, a few rows in memory at a time."""
    table = tables.audit
    query = select(table).where(table.c.number > wanted.after)
    if wanted.before:
        query = query.where(table.c.number < wanted.before)
    if wanted.actor:
        query = query.where(table.c.actor == wanted.actor)
    if wanted.change_id:
        query = query.where(table.c.change_id == wanted.change_id)
    for column, text, mark in ((table.c.action, wanted.action, "."), (table.c.object, wanted.object, "/")):
        if text:
            query = query.where(column.startswith(text, autoescape=True) if text.endswith(mark) else column == text)
    if wanted.left_out:
        query = query.where(table.c.action.not_in(wanted.left_out))
    if wanted.until_us:
        query = query.where(table.c.at_us <= wanted.until_us)
    query = query.order_by(table.c.number.desc()).limit(row_limit).execution_options(yield_per=AUDIT_ROWS_AT_ONCE)
    for row in tx.execute(query).mappings():
        yield AuditRow(**row)


def read_audit_since(tx: Connection, actions: Collection[str], since_us: int) -> list[AuditRow]:
    """Audit rows of these actions since then, in order."""
    table = tables.audit
    query = select(table).where(table.c.at_us >= since_us, table.c.action.in_(list(actions))).order_by(table.c.number)
    return [AuditRow(**row) for row in tx.execute(query).mappings()]


def read_audit_of(tx: Connection, object_: str, row_limit: int) -> list[AuditRow]:
    """The newest audit rows of one object, newest first."""
    table = tables.audit
    query = select(table).where(table.c.object == object_).order_by(table.c.number.desc()).limit(row_limit)
    return [AuditRow(**row) for row in tx.execute(query).mappings()]
