"""Rules about access itself: who may give it away, who may approve, and what must never be left without anybody.

In: principals, grants, times. Out: why not, in words; empty text where nothing speaks against it. Pure: `control`
asks these before it writes, `lineclear can` shows what they say.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from lineclear.domain.access import HUMAN_ONLY, PLATFORM, ROLE_PERMISSIONS, Grant, Principal, PrincipalKind, Role, Scope
from lineclear.domain.permissions import Permission

SELF_GRANT_WAIT_US: Final = 24 * 3600 * 1_000_000
"""A right to approve that somebody gave themselves, or that an author of the change gave, is good for changes opened
so long after. Source: release governance §4."""
INVITATION_LIFE_S: Final = 24 * 3600
"""A link with which somebody chooses a password is good for so long."""
HUMAN_ROLES: Final = frozenset(role for role in Role if ROLE_PERMISSIONS[role] & {Permission.CHANGE_APPROVE})
"""Roles that no service account holds or hands on."""


@dataclass(frozen=True)
class Approvers:
    """Whom an environment wants to approve what changes there, of all who have the right to; nothing = anybody."""

    roles: tuple[Role, ...] = ()
    """They need one of these where the change lies."""
    teams: tuple[str, ...] = ()
    """They need a role that was given on one of these; one on the whole platform makes nobody a team's."""

    def flaw(self, name: str, grants: Collection[Grant], scope: Scope) -> str:
        """Why somebody with these grants is none of them; empty if they are."""
        has_role = any(grant.role in self.roles and grant.scope.covers(scope) for grant in grants)
        has_team = any(grant.scope.team in self.teams for grant in grants)
        if (has_role or not self.roles) and (has_team or not self.teams):
            return ""
        words = approver_words(self.roles, self.teams)
        return f"{name!r} is an approver on {scope}, but environment {scope.environment!r} wants one {words}"


ANYBODY: Final = Approvers()


def approver_words(roles: Iterable[str], teams: Iterable[str]) -> str:
    """Whom an environment wants to approve, as a clause behind `somebody`; empty for anybody who has the right."""
    asked = (("with the role ", roles, ""), ("with a role on ", teams, "team:"))
    clauses = ((words, [f"{kind}{name}" for name in names]) for words, names, kind in asked)
    return " and ".join(words + " or ".join(names) for words, names in clauses if names)


def refuse_assignment(actor: Principal, role: Role, scope: Scope, to: PrincipalKind) -> str:
    """Why `actor` may not give `role` on `scope` to somebody of the kind `to`.

    An administrator gives any role, on no wider scope than their own; the right comes from a lasting grant.
    `scope` has the team of its route, so that a team's administrator may give roles on the team's routes.
    """
    if not actor.may(Permission.GRANT_MANAGE, scope):
        return f"{actor.name!r} is no administrator of {scope}; nobody gives access on a wider scope than their own"
    if role in HUMAN_ROLES and to is PrincipalKind.SERVICE_ACCOUNT:
        return f"a service account never approves, so it cannot be {role.value}"
    if role in HUMAN_ROLES and actor.kind is PrincipalKind.SERVICE_ACCOUNT:
        return f"only people make somebody {role.value}"
    return ""


def refuse_speaking_for(actor: Principal, whose: str, grants: Iterable[Grant]) -> str:
    """Why `actor` may not hand out a credential of `whose`, which carries `grants`: a token, an invitation.

    It would be a way around delegation: whoever has the credential has the grants.
    """
    wider = [grant for grant in grants if not actor.may(Permission.GRANT_MANAGE, grant.scope)]
    if wider:
        return f"{whose!r} is {wider[0].role.value} on {wider[0].scope}, where {actor.name!r} is no administrator"
    return ""


def narrowed(own: Iterable[Grant], asked: Collection[tuple[Role, Scope]]) -> tuple[Grant, ...]:
    """What is left of a principal's grants for a token that asks for some of it; nothing asked = all of it.

    A token never carries what its principal does not have, now: a grant that was taken takes it from the token too.
    """
    grants = tuple(own)
    if not asked:
        return grants
    return tuple(
        Grant(
            role, _meet(grant.scope, scope), grant.id, grant.since_us, grant.granted_by, grant.via, grant.is_emergency
        )
        for grant in grants
        for role, scope in asked
        if role is grant.role and _overlap(grant.scope, scope)
    )


def refuse_narrowing(whose: str, own: Collection[Grant], asked: Collection[tuple[Role, Scope]]) -> str:
    """Why a token may not ask for that: some of it is no part of what its principal has."""
    for role, scope in asked:
        if not any(grant.role is role and _overlap(grant.scope, scope) for grant in own):
            return f"{whose!r} is not {role.value} on {scope}; a token carries no more than its principal has"
    return ""


def refuse_approval(
    principal: Principal, scope: Scope, authors: Collection[str], opened_us: int, approvers: Approvers = ANYBODY
) -> str:
    """Why `principal` may not approve a change there that `authors` made and that was opened at `opened_us`."""
    if principal.kind in (PrincipalKind.SERVICE_ACCOUNT, PrincipalKind.PLATFORM):
        return "only people approve"
    behind = {name.casefold() for name in authors}
    if principal.name.casefold() in behind:
        return f"{principal.name!r} made this change; somebody else has to approve it"
    grants = tuple(principal.allowing(Permission.CHANGE_APPROVE, scope))
    if not grants:
        return f"{principal.name!r} may not {Permission.CHANGE_APPROVE.value} on {scope}"
    partial = behind | {principal.name.casefold()}
    good = [
        grant
        for grant in principal.grants
        if grant.granted_by.casefold() not in partial or opened_us >= grant.since_us + SELF_GRANT_WAIT_US
    ]
    if any(grant in good for grant in grants):
        flaw = approvers.flaw(principal.name, good, scope)
        if flaw and not approvers.flaw(principal.name, principal.grants, scope):
            return f"{flaw}; what they or an author of the change gave them counts 24 hours after that"
        return flaw
    if grants[0].granted_by.casefold() == principal.name.casefold():
        return f"{principal.name!r} gave themselves this right; it is good for changes opened 24 hours after that"
    return (
        f"{principal.name!r} has this right from {grants[0].granted_by!r}, who stands behind the change; "
        "it is good for changes opened 24 hours after that"
    )


def refuse_last_admin(left: Iterable[tuple[PrincipalKind, Grant]], removed: Iterable[Grant]) -> str:
    """Why grants may not be taken away: nobody would be left who administers the whole platform.

    Args:
        left: lasting grants that would remain, of principals who can sign in, with the principal's kind.
        removed: what would go.
    """
    if not any(_is_admin(grant) for grant in removed):
        return ""
    if any(kind is PrincipalKind.PERSON and _is_admin(grant) for kind, grant in left):
        return ""
    return "this is the last administrator of the whole platform; make somebody else one first"


def why_not(principal: Principal, permission: Permission, scope: Scope) -> str:
    """Which rule says no, for `lineclear can`; empty if the principal may."""
    if principal.may(permission, scope):
        return ""
    if principal.kind is PrincipalKind.SERVICE_ACCOUNT and permission in HUMAN_ONLY:
        return "a service account never does this, whatever it was granted"
    carried = [grant for grant in principal.grants if permission in ROLE_PERMISSIONS[grant.role]]
    here = [grant for grant in carried if grant.scope.covers(scope)]
    if here:
        return "a role that was opened in an emergency does not give this"
    if carried:
        held = ", ".join(f"{grant.role.value} on {grant.scope}" for grant in carried)
        return f"no grant that allows it covers {scope}; held: {held}"
    roles = ", ".join(role.value for role in Role if permission in ROLE_PERMISSIONS[role])
    return f"none of {principal.name!r}'s roles allows it; it takes one of: {roles}"


def _is_admin(grant: Grant) -> bool:
    return grant.role is Role.ADMIN and grant.scope == PLATFORM and not grant.is_emergency


def _overlap(a: Scope, b: Scope) -> bool:
    pairs = ((a.team, b.team), (a.environment, b.environment), (a.route, b.route))
    return all(not one or not other or one == other for one, other in pairs)


def _meet(a: Scope, b: Scope) -> Scope:
    return Scope(a.team or b.team, a.environment or b.environment, a.route or b.route)
