"""Reads and writes principals, grants, tokens, passwords and openings inside a transaction that the caller holds.

In: a Connection and rows as frozen values. Out: rows. Decides nothing: no ids, no times, no rules.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update

from lineclear.store import access_tables as tables


@dataclass(frozen=True)
class PrincipalRow:
    name: str
    kind: str
    team: str
    display: str
    state: str
    """`active` or `disabled`."""
    issuer: str
    subject: str
    created_us: int
    created_by: str


@dataclass(frozen=True)
class GrantRow:
    id: str
    principal: str
    """A name, or `group:NAME`."""
    role: str
    scope: str
    created_us: int
    created_by: str
    expires_us: int | None
    is_sealed: int


@dataclass(frozen=True)
class TokenRow:
    id: str
    mac: str
    principal: str
    label: str
    narrowed: str
    created_us: int
    created_by: str
    expires_us: int
    used_us: int | None
    revoked_us: int | None


@dataclass(frozen=True)
class InvitationRow:
    hash: str
    principal: str
    created_us: int
    created_by: str
    expires_us: int


@dataclass(frozen=True)
class OpeningRow:
    id: str
    grant_id: str
    principal: str
    role: str
    scope: str
    incident: str
    reason: str
    opened_us: int
    ends_us: int
    reviewed_us: int | None
    reviewed_by: str
    review: str


def add_principal(tx: Connection, row: PrincipalRow) -> None:
    tx.execute(insert(tables.principals).values(**asdict(row)))


def read_principal(tx: Connection, name: str) -> PrincipalRow | None:
    row = tx.execute(select(tables.principals).where(tables.principals.c.name == name)).mappings().first()
    return None if row is None else PrincipalRow(**row)


def find_subject(tx: Connection, issuer: str, subject: str) -> PrincipalRow | None:
    """Who signs in through an identity provider as that subject."""
    table = tables.principals
    found = select(table).where(table.c.issuer == issuer, table.c.subject == subject)
    row = tx.execute(found).mappings().first()
    return None if row is None else PrincipalRow(**row)


def list_principals(tx: Connection) -> list[PrincipalRow]:
    """Everybody, by name."""
    return [PrincipalRow(**row) for row in tx.execute(_in_order(tables.principals, "name")).mappings()]


def set_principal_state(tx: Connection, name: str, state: str) -> None:
    table = tables.principals
    tx.execute(update(table).where(table.c.name == name).values(state=state))


def add_grant(tx: Connection, row: GrantRow) -> None:
    tx.execute(insert(tables.grants).values(**asdict(row)))


def list_grants(tx: Connection) -> list[GrantRow]:
    """Every grant, oldest first."""
    return [GrantRow(**row) for row in tx.execute(_in_order(tables.grants, "created_us", "id")).mappings()]


def grants_of(tx: Connection, names: Collection[str]) -> list[GrantRow]:
    """The grants of any of these, oldest first."""
    query = _in_order(tables.grants, "created_us", "id").where(tables.grants.c.principal.in_(list(names)))
    return [GrantRow(**row) for row in tx.execute(query).mappings()]


def read_grant(tx: Connection, grant_id: str) -> GrantRow | None:
    row = tx.execute(select(tables.grants).where(tables.grants.c.id == grant_id)).mappings().first()
    return None if row is None else GrantRow(**row)


def remove_grant(tx: Connection, grant_id: str) -> None:
    tx.execute(delete(tables.grants).where(tables.grants.c.id == grant_id))


def groups_of(tx: Connection, principal: str) -> list[str]:
    """Names of the groups that the person is in, in order."""
    table = tables.memberships
    query = select(table.c.group_name).where(table.c.principal == principal).order_by(table.c.group_name)
    return list(tx.execute(query).scalars())


def members_of(tx: Connection, group: str) -> list[str]:
    """Who is in a group, by name."""
    table = tables.memberships
    return list(
        tx.execute(select(table.c.principal).where(table.c.group_name == group).order_by(table.c.principal)).scalars()
    )


def put_groups(tx: Connection, principal: str, groups: Collection[str], seen_us: int) -> None:
    """Write the person's groups, in place of those known before."""
    table = tables.memberships
    tx.execute(delete(table).where(table.c.principal == principal))
    for name in sorted(set(groups)):
        tx.execute(insert(table).values(principal=principal, group_name=name, seen_us=seen_us))


def add_token(tx: Connection, row: TokenRow) -> None:
    tx.execute(insert(tables.tokens).values(**asdict(row)))


def read_token(tx: Connection, token_id: str) -> TokenRow | None:
    row = tx.execute(select(tables.tokens).where(tables.tokens.c.id == token_id)).mappings().first()
    return None if row is None else TokenRow(**row)


def list_tokens(tx: Connection) -> list[TokenRow]:
    """Every token, revoked ones included, newest first."""
    table = tables.tokens
    query = select(table).order_by(table.c.created_us.desc(), table.c.id)
    return [TokenRow(**row) for row in tx.execute(query).mappings()]


def live_tokens(tx: Connection, principal: str, now_us: int) -> list[TokenRow]:
    """Tokens of a principal that still work, oldest first."""
    table = tables.tokens
    query = _in_order(table, "created_us", "id").where(
        table.c.principal == principal, table.c.revoked_us.is_(None), table.c.expires_us > now_us
    )
    return [TokenRow(**row) for row in tx.execute(query).mappings()]


def mark_token_used(tx: Connection, token_id: str, used_us: int) -> None:
    tx.execute(update(tables.tokens).where(tables.tokens.c.id == token_id).values(used_us=used_us))


def revoke_token(tx: Connection, token_id: str, revoked_us: int) -> None:
    """Mark a token as revoked; one that already is keeps its time."""
    table = tables.tokens
    live = (table.c.id == token_id, table.c.revoked_us.is_(None))
    tx.execute(update(table).where(*live).values(revoked_us=revoked_us))


def put_password(tx: Connection, principal: str, password_hash: str, set_us: int) -> None:
    """Write a person's password in place of the one before."""
    remove_password(tx, principal)
    tx.execute(insert(tables.passwords).values(principal=principal, hash=password_hash, set_us=set_us))


def remove_password(tx: Connection, principal: str) -> None:
    tx.execute(delete(tables.passwords).where(tables.passwords.c.principal == principal))


def password_hash(tx: Connection, principal: str) -> str | None:
    table = tables.passwords
    found = tx.execute(select(table.c.hash).where(table.c.principal == principal)).scalar()
    return None if found is None else str(found)


def people_with_passwords(tx: Connection) -> set[str]:
    return set(tx.execute(select(tables.passwords.c.principal)).scalars())


def add_invitation(tx: Connection, row: InvitationRow) -> None:
    """Write an invitation in place of others of the same person."""
    remove_invitations(tx, row.principal)
    tx.execute(insert(tables.invitations).values(**asdict(row)))


def read_invitation(tx: Connection, token_hash: str) -> InvitationRow | None:
    row = tx.execute(select(tables.invitations).where(tables.invitations.c.hash == token_hash)).mappings().first()
    return None if row is None else InvitationRow(**row)


def remove_invitations(tx: Connection, principal: str) -> None:
    tx.execute(delete(tables.invitations).where(tables.invitations.c.principal == principal))


def add_opening(tx: Connection, row: OpeningRow) -> None:
    tx.execute(insert(tables.openings).values(**asdict(row)))


def list_openings(tx: Connection) -> list[OpeningRow]:
    """Every opening, newest first."""
    table = tables.openings
    query = select(table).order_by(table.c.opened_us.desc(), table.c.id)
    return [OpeningRow(**row) for row in tx.execute(query).mappings()]


def openings_in_force(tx: Connection, now_us: int) -> list[OpeningRow]:
    """What is open now, oldest first."""
    query = _in_order(tables.openings, "opened_us", "id").where(tables.openings.c.ends_us > now_us)
    return [OpeningRow(**row) for row in tx.execute(query).mappings()]


def end_opening(tx: Connection, opening_id: str, ends_us: int) -> None:
    tx.execute(update(tables.openings).where(tables.openings.c.id == opening_id).values(ends_us=ends_us))


def review_opening(tx: Connection, opening_id: str, by: str, at_us: int, review: str) -> None:
    values = {"reviewed_us": at_us, "reviewed_by": by, "review": review}
    tx.execute(update(tables.openings).where(tables.openings.c.id == opening_id).values(**values))


def _in_order(table: Table, *names: str) -> Any:  # Any: a select of whole rows
    return select(table).order_by(*(table.c[name] for name in names))
