"""As whom the authors of a change could act besides themselves: whoever invites somebody could choose their password,
and whoever holds a token of a service account is that account.

In: a transaction, names, when the change was opened. Out: names. It is read from the audit trail and the tokens, which
stay when somebody changes their password afterwards. Must not decide anything.
"""

from collections.abc import Iterable

from sqlalchemy import Connection

from lineclear.control.audit import AuditAction
from lineclear.domain.access import PrincipalKind
from lineclear.domain.access_rules import INVITATION_LIFE_S, SELF_GRANT_WAIT_US
from lineclear.store import access_rows, control_rows

_MEMBER = "member/"


def stand_ins(tx: Connection, authors: Iterable[str], opened_us: int) -> tuple[str, ...]:
    """Everybody whom an author, or somebody found by this, invited from SELF_GRANT_WAIT_US before the change was opened
    until now, and the service accounts that one of them made or has made a token of.
    """
    own = {name.casefold() for name in authors}
    acts = [*_invitations(tx, opened_us - SELF_GRANT_WAIT_US), *_accounts(tx)]
    known, before = set(own), -1
    while len(known) != before:
        before = len(known)
        known |= {whom for who, whom in acts if who in known}
    return tuple(sorted(known - own))


def _invitations(tx: Connection, since_us: int) -> list[tuple[str, str]]:
    """Who invited whom; an older invitation counts where it was used since."""
    actions = (AuditAction.MEMBER_INVITED.value, AuditAction.PASSWORD_SET.value)
    events = control_rows.read_audit_since(tx, actions, since_us - INVITATION_LIFE_S * 1_000_000)
    with_new_password = {
        item.object for item in events if item.action == AuditAction.PASSWORD_SET and item.at_us >= since_us
    }
    return [
        (item.actor.casefold(), item.object.removeprefix(_MEMBER).casefold())
        for item in events
        if item.action == AuditAction.MEMBER_INVITED and (item.at_us >= since_us or item.object in with_new_password)
    ]


def _accounts(tx: Connection) -> list[tuple[str, str]]:
    """Who made which service account, or a token of it."""
    accounts = {
        row.name: row.created_by
        for row in access_rows.list_principals(tx)
        if row.kind == PrincipalKind.SERVICE_ACCOUNT.value
    }
    tokens = [(row.created_by, row.principal) for row in access_rows.list_tokens(tx) if row.principal in accounts]
    made = [(created_by, name) for name, created_by in accounts.items()]
    return [(who.casefold(), whom.casefold()) for who, whom in (*made, *tokens)]
