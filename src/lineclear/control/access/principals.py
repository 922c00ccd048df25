"""Principals as they stand now: rows turned into grants in force.

In: a transaction, a name, the present. Out: a `Principal`, None for who is unknown or disabled. It is read anew for
every call, so that what is taken from somebody is gone with their next step. Must not write.
"""

from datetime import UTC, datetime

from sqlalchemy import Connection

from lineclear.control.desired import Desired
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.scopes import whole
from lineclear.domain.access import PLATFORM, Grant, Principal, PrincipalKind, Role, Scope, parse_scope
from lineclear.store import access_rows as rows
from lineclear.store.access_rows import GrantRow, PrincipalRow

ACTIVE = "active"
DISABLED = "disabled"
GROUP_PREFIX = "group:"
ADMIN_NAME = "admin"
RESERVED_NAMES = frozenset({ADMIN_NAME, "anonymous", "bootstrap", "control", "platform", "start", "system", "up"})
"""Actors of the audit trail that nobody may be called like."""


def read_principal(tx: Connection, name: str, now_us: int) -> Principal | None:
    """Somebody with every grant that is in force, their groups' and opened ones included."""
    row = rows.read_principal(tx, name)
    if row is None or row.state != ACTIVE:
        return None
    grants = grants_in_force(tx, row, now_us)
    is_emergency = any(grant.is_emergency for grant in grants)
    return Principal(row.name, PrincipalKind.BREAK_GLASS if is_emergency else PrincipalKind(row.kind), grants)


def grants_in_force(tx: Connection, row: PrincipalRow, now_us: int) -> tuple[Grant, ...]:
    """Lasting grants, own and of groups, and sealed ones that are open."""
    opened = {item.grant_id for item in rows.openings_in_force(tx, now_us) if item.principal == row.name}
    return tuple(
        grant_of(item, is_emergency=bool(item.is_sealed))
        for item in rows.grants_of(tx, subjects_of(tx, row))
        if (item.expires_us is None or item.expires_us > now_us) and (not item.is_sealed or item.id in opened)
    )


def grants_in_reach(tx: Connection, row: PrincipalRow, now_us: int) -> tuple[Grant, ...]:
    """Whatever somebody may come to have by themselves: what is in force, and what is sealed, opened or not."""
    return tuple(
        grant_of(item, is_emergency=bool(item.is_sealed))
        for item in rows.grants_of(tx, subjects_of(tx, row))
        if item.expires_us is None or item.expires_us > now_us
    )


def subjects_of(tx: Connection, row: PrincipalRow) -> list[str]:
    """Whose grants somebody has: their own and those of their groups. A service account is in no group."""
    if row.kind != PrincipalKind.PERSON.value:
        return [row.name]
    return [row.name, *(GROUP_PREFIX + name for name in rows.groups_of(tx, row.name))]


def grant_of(row: GrantRow, *, is_emergency: bool = False) -> Grant:
    """A stored grant as a value."""
    via = row.principal.removeprefix(GROUP_PREFIX) if row.principal.startswith(GROUP_PREFIX) else ""
    return Grant(Role(row.role), parse_scope(row.scope), row.id, row.created_us, row.created_by, via, is_emergency)


def administrators(tx: Connection) -> list[tuple[str, Grant]]:
    """People who may sign in and administer the whole platform lastingly, with the grant that says so."""
    found: list[tuple[str, Grant]] = []
    lasting = [
        row
        for row in rows.list_grants(tx)
        if row.role == Role.ADMIN.value and row.scope == str(PLATFORM) and not row.is_sealed and row.expires_us is None
    ]
    for row in lasting:
        holders = (
            rows.members_of(tx, row.principal.removeprefix(GROUP_PREFIX))
            if row.principal.startswith(GROUP_PREFIX)
            else [row.principal]
        )
        for name in holders:
            holder = rows.read_principal(tx, name)
            if holder is not None and holder.state == ACTIVE and holder.kind == PrincipalKind.PERSON.value:
                found.append((name, grant_of(row)))
    return found


def named_role(text: str) -> Role:
    """A role by its name.

    Raises:
        Refused: `invalid_request`, naming those there are.
    """
    known = {role.value: role for role in Role}
    if text not in known:
        raise Refused(AdminCode.INVALID_REQUEST, f"{text!r} is no role", hint=f"roles: {', '.join(known)}")
    return known[text]


def named_scope(desired: Desired, text: str) -> Scope:
    """A grant's scope by its text, with its route's team; what it names has to exist.

    Raises:
        Refused: `invalid_request` if it is none, `not_found` if there is no such team, environment or route.
    """
    try:
        scope = parse_scope(text)
    except ValueError as error:
        raise Refused(AdminCode.INVALID_REQUEST, str(error)) from error
    for what, name, known in (
        ("team", scope.team, desired.teams),
        ("environment", scope.environment, desired.environments),
        ("route", scope.route, desired.routes),
    ):
        if name and name not in known:
            raise _unknown(what, name)
    return whole(desired, scope)


def unknown_scope(text: str) -> Refused:
    """What is said of a scope that the caller does not see: the same as of one that is not there."""
    what, _, name = text.partition(":")
    return _unknown(what, name.partition("/")[2] if what == "route" else name)


def _unknown(what: str, name: str) -> Refused:
    return Refused(AdminCode.NOT_FOUND, f"there is no {what} {name!r}", hint=f"`lineclear export {what}` lists")


def iso(at_us: int | None) -> str | None:
    """ISO 8601 UTC."""
    if at_us is None:
        return None
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")
