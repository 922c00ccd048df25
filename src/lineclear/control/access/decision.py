"""Why somebody may or may not do something to something: the grants that allow it, or the rule that says no.

In: names. Out: a decision in words that a person can act on. It asks the same question that every call asks, with the
same grants, so it cannot say otherwise. Must not change anything.
"""

from dataclasses import dataclass

from lineclear.base.clock import Clock
from lineclear.control.access.members import unknown_member
from lineclear.control.access.principals import ADMIN_NAME, DISABLED, read_principal
from lineclear.control.desired import Desired
from lineclear.control.endpoint import AdminCode, Call, Refused
from lineclear.control.publish import read_desired
from lineclear.control.scopes import scope_of_object
from lineclear.control.seen import Seen
from lineclear.domain.access import PLATFORM, Grant, Principal, PrincipalKind, Scope, with_every_role
from lineclear.domain.access_rules import Approvers, why_not
from lineclear.domain.permissions import Permission
from lineclear.store import access_rows as rows
from lineclear.store.database import Database


@dataclass(frozen=True)
class Decision:
    """Whether somebody may, and why."""

    subject: str
    action: str
    object: str
    scope: str
    """Where the object lies, with its team: grants that cover this reach it."""
    allowed: bool
    reason: str
    grants: list[str]
    """Every grant that allows it: role, scope, the group it comes through, who gave it."""


class Decisions:
    """Answers `can SUBJECT ACTION OBJECT`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def decide(self, call: Call, subject: str, action: str, object_: str) -> Decision:
        """The decision; about others than oneself it takes the permission to read grants.

        Raises:
            Refused: `invalid_request`, `not_found`, `forbidden`.
        """
        if subject in ("", "me"):
            subject = call.principal.name
        permission = _permission(action)
        with self._database.read() as tx:
            desired = read_desired(tx)
            scope = _scope(desired, object_)
            _demand_seen(call, desired, object_, scope)
            if subject != call.principal.name:
                call.require(Permission.GRANT_READ, scope)
            row = rows.read_principal(tx, subject)
            principal = read_principal(tx, subject, self._clock.unix_us())
        if subject == call.principal.name:
            principal = call.principal
        elif subject == ADMIN_NAME:
            principal = with_every_role(ADMIN_NAME, PrincipalKind.ADMIN_TOKEN)
        elif row is None:
            raise unknown_member(subject)
        asked = (subject, permission, object_, scope)
        if principal is None:
            return _decision(asked, False, f"{subject!r} is {DISABLED}", ())
        return self._of(asked, principal, desired.approvers(scope.environment))

    def _of(self, asked: tuple[str, Permission, str, Scope], principal: Principal, approvers: Approvers) -> Decision:
        _, permission, _, scope = asked
        if permission in (Permission.PUBLIC, Permission.SELF):
            return _decision(asked, True, "everybody who is signed in may", ())
        allowing = tuple(principal.allowing(permission, scope))
        reason = why_not(principal, permission, scope)
        flaw = approvers.flaw(principal.name, principal.grants, scope)
        if flaw and not reason and permission is Permission.CHANGE_APPROVE:
            return _decision(asked, False, f"{flaw}; a change there can be rejected all the same", allowing)
        return _decision(asked, bool(allowing), reason or _inherited(allowing[0], scope), allowing)


def _permission(action: str) -> Permission:
    known = {item.value: item for item in Permission}
    if action not in known:
        raise Refused(AdminCode.INVALID_REQUEST, f"{action!r} is no action", hint=f"actions: {', '.join(known)}")
    return known[action]


def _scope(desired: Desired, text: str) -> Scope:
    try:
        scope = scope_of_object(desired, text)
    except ValueError as error:
        hint = "an object is a scope, app:NAME or model:NAME"
        raise Refused(AdminCode.INVALID_REQUEST, str(error), hint=hint) from error
    if scope is None:
        raise _unknown(text)
    return scope


def _demand_seen(call: Call, desired: Desired, text: str, scope: Scope) -> None:
    """Answer alike for what the caller does not see and for what is not there. Platform and environments are no secret,
    and a model of another team is seen by whom the catalogue shows it.
    """
    if not scope.team and not scope.route:
        return
    kind, _, name = text.partition(":")
    model = desired.models.get(name.partition("@")[0]) if kind == "model" else None
    is_seen = call.principal.sees(scope) or (model is not None and Seen(call, desired).is_noun(model))
    if not is_seen:
        raise _unknown(text)


def _unknown(text: str) -> Refused:
    return Refused(AdminCode.NOT_FOUND, f"there is no {text!r}")


def _inherited(grant: Grant, scope: Scope) -> str:
    """Why a grant reaches the object, in words."""
    role = f"{grant.role.value} on {grant.scope}"
    through = f" through the group {grant.via!r}" if grant.via else ""
    if grant.scope == scope:
        return f"{role}{through}"
    if grant.scope == PLATFORM:
        return f"{role}{through}, and the platform covers everything"
    return f"{role}{through}, and the object lies in it: {_place(scope)}"


def _place(scope: Scope) -> str:
    named = (("team", scope.team), ("environment", scope.environment), ("route", scope.route))
    return ", ".join(f"{what} {name}" for what, name in named if name) or "platform"


def _decision(
    asked: tuple[str, Permission, str, Scope], is_allowed: bool, reason: str, grants: tuple[Grant, ...]
) -> Decision:
    subject, permission, object_, scope = asked
    return Decision(
        subject=subject,
        action=permission.value,
        object=object_,
        scope=_place(scope),
        allowed=is_allowed,
        reason=reason,
        grants=[_told(grant) for grant in grants],
    )


def _told(grant: Grant) -> str:
    given = f", given by {grant.granted_by}" if grant.granted_by else ""
    return _inherited(grant, grant.scope) + given
