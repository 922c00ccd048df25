"""Who may do what where: roles, scopes, grants, principals, and the one question `may`.

A role is a named set of permissions; a grant is a role on a scope; a scope covers every object that has all the
names that the scope says. Nothing is allowed that no grant allows. `domain.access_rules` holds the rules about
giving access away.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lineclear.domain.permissions import Permission as P  # noqa: N817 - the table below names it many times


class Role(StrEnum):
    """Named sets of permissions; each does one kind of work, and who needs two kinds has two roles."""

    VIEWER = "viewer"
    CALLER = "caller"
    AUTHOR = "author"
    REVIEWER = "reviewer"
    APPROVER = "approver"
    OPERATOR = "operator"
    ADMIN = "admin"
    AUDITOR = "auditor"
    PAYLOAD_READER = "payload-reader"


_LOOK: Final = frozenset({P.STATUS_READ, P.CATALOGUE_READ, P.ROUTE_READ, P.CHANGE_READ, P.NOTICE_READ})
"""What every role sees in its scope: without it nobody could tell what their work is about."""

ROLE_PERMISSIONS: Final[Mapping[Role, frozenset[P]]] = {
    Role.VIEWER: _LOOK | {P.LEDGER_READ, P.KEY_READ, P.METRICS_READ},
    Role.CALLER: _LOOK | {P.TEST_MESSAGE_SEND},
    Role.AUTHOR: _LOOK
    | {P.LEDGER_READ, P.KEY_READ, P.CHANGE_PLAN, P.CHANGE_APPLY, P.MODEL_DEPRECATE, P.MODEL_RETIRE, P.RELEASE_PROMOTE}
    | {P.EVALUATION_RUN, P.TEST_MESSAGE_SEND, P.NOTICE_SEND},
    Role.REVIEWER: _LOOK | {P.LEDGER_READ, P.REVIEW_WRITE},
    Role.APPROVER: _LOOK | {P.LEDGER_READ, P.CHANGE_PLAN, P.CHANGE_APPROVE, P.MODEL_APPROVE, P.ROLLBACK_MAKE},
    Role.OPERATOR: _LOOK
    | {P.LEDGER_READ, P.METRICS_READ, P.KEY_READ, P.KEY_REVOKE, P.PROVIDER_TEST, P.TEST_MESSAGE_SEND}
    | {P.ROLLBACK_MAKE, P.ROLLOUT_OPERATE, P.STOP_MAKE, P.DRILL_RUN, P.MODEL_BLOCK, P.MODEL_DEPRECATE, P.NOTICE_SEND},
    Role.ADMIN: _LOOK
    | {P.LEDGER_READ, P.KEY_READ, P.KEY_CREATE, P.KEY_REVOKE, P.PROVIDER_TEST}
    | {P.SECRET_READ, P.SECRET_SET, P.SECRET_REMOVE}
    | {P.MEMBER_READ, P.MEMBER_MANAGE, P.GRANT_READ, P.GRANT_MANAGE, P.TOKEN_READ, P.TOKEN_CREATE, P.TOKEN_REVOKE}
    | {P.SESSION_CREATE, P.SESSION_READ, P.SESSION_END, P.BREAK_GLASS_REVIEW, P.METRICS_READ},
    Role.AUDITOR: _LOOK
    | {P.AUDIT_READ, P.AUDIT_EXPORT, P.LEDGER_READ, P.KEY_READ, P.SECRET_READ, P.MEMBER_READ}
    | {P.GRANT_READ, P.TOKEN_READ, P.SESSION_READ, P.BREAK_GLASS_REVIEW, P.METRICS_READ},
    Role.PAYLOAD_READER: _LOOK | {P.LEDGER_READ, P.PAYLOAD_READ},
}
"""What a role may do, inside its scope. An administrator neither approves nor calls nor writes."""

HUMAN_ONLY: Final = frozenset({P.CHANGE_APPROVE, P.MODEL_APPROVE, P.BREAK_GLASS_REVIEW})
"""What no service account may do, whatever it was granted."""

NOT_IN_EMERGENCY: Final = frozenset(
    {P.AUDIT_READ, P.AUDIT_EXPORT, P.BREAK_GLASS_REVIEW, P.GRANT_MANAGE, P.KEY_CREATE, P.MEMBER_MANAGE}
    | {P.SESSION_CREATE, P.TOKEN_CREATE}
)
"""What a role that was opened by breaking the glass does not give: the trail of it, and lasting access."""

_NAME = re.compile(r"[^\s:,/]{1,200}")
_ROUTE = re.compile(r"([a-z][a-z0-9]{0,11})/(\S{1,200})")


@dataclass(frozen=True, order=True)
class Scope:
    """A part of the platform, and where an object lies in it. A name that is empty is not said.

    A grant on `Scope()` holds everywhere. An object that belongs to no team, such as a provider, lies in `Scope()`
    too: only a grant on the whole platform covers it.
    """

    team: str = ""
    environment: str = ""
    route: str = ""

    def covers(self, other: "Scope") -> bool:
        """Whether every object of `other` is one of this scope."""
        return (
            self.team in ("", other.team)
            and self.environment in ("", other.environment)
            and self.route in ("", other.route)
        )

    def __str__(self) -> str:
        """`platform`, `team:NAME`, `environment:NAME`, `route:ENVIRONMENT/NAME`; of an object, all that is known."""
        if self.route and self.environment:
            return f"route:{self.environment}/{self.route}"
        parts = [f"{name}:{value}" for name, value in (("team", self.team), ("environment", self.environment)) if value]
        if self.route:
            parts.append(f"route:{self.route}")
        return ",".join(parts) or "platform"


PLATFORM: Final = Scope()


def parse_scope(text: str) -> Scope:
    """A grant's scope from its text.

    Raises:
        ValueError: it is none; the message says what one looks like.
    """
    kind, _, name = text.partition(":")
    if text == "platform":
        return PLATFORM
    if kind == "team" and _NAME.fullmatch(name):
        return Scope(team=name)
    if kind == "environment" and _NAME.fullmatch(name):
        return Scope(environment=name)
    found = _ROUTE.fullmatch(name) if kind == "route" else None
    if found is not None:
        return Scope(environment=found[1], route=found[2])
    raise ValueError(f"{text!r} is no scope; it is platform, team:NAME, environment:NAME or route:ENVIRONMENT/NAME")


class PrincipalKind(StrEnum):
    """What acts."""

    PERSON = "person"
    SERVICE_ACCOUNT = "service_account"
    ADMIN_TOKEN = "admin_token"  # noqa: S105 - a kind's name
    """Whoever holds the token in the data directory."""
    PLATFORM = "platform"
    """The platform itself: rollouts, planned work."""
    BREAK_GLASS = "break_glass"
    """A person with a sealed role in force."""


@dataclass(frozen=True)
class Grant:
    """A role on a scope."""

    role: Role
    scope: Scope
    id: str = ""
    """Empty where no row stands behind it."""
    since_us: int = 0
    """When it was given."""
    granted_by: str = ""
    via: str = ""
    """The group it comes through; empty if it was given to the principal itself."""
    is_emergency: bool = False
    """It is in force because somebody broke the glass."""

    @property
    def permissions(self) -> frozenset[P]:
        """What it allows inside its scope."""
        allowed = ROLE_PERMISSIONS[self.role]
        return allowed - NOT_IN_EMERGENCY if self.is_emergency else allowed


@dataclass(frozen=True)
class Principal:
    """Who acts, with the grants that are in force now."""

    name: str
    kind: PrincipalKind = PrincipalKind.PERSON
    grants: tuple[Grant, ...] = ()
    session: str = ""
    """The id of the token it came with, if it came with one of its own."""

    def may(self, permission: P, scope: Scope = PLATFORM) -> bool:
        """Whether a grant allows it on everything that lies in `scope`."""
        return any(True for _ in self.allowing(permission, scope))

    def may_somewhere(self, permission: P) -> bool:
        """Whether there is any scope on which it is allowed."""
        return self._is_open_to(permission) and any(permission in grant.permissions for grant in self.grants)

    def sees(self, scope: Scope) -> bool:
        """Whether any grant reaches an object there; who has none is not told that it exists."""
        return any(grant.scope.covers(scope) for grant in self.grants)

    def allowing(self, permission: P, scope: Scope) -> Iterable[Grant]:
        """The grants that allow it there."""
        if not self._is_open_to(permission):
            return ()
        return (grant for grant in self.grants if permission in grant.permissions and grant.scope.covers(scope))

    def _is_open_to(self, permission: P) -> bool:
        return self.kind is not PrincipalKind.SERVICE_ACCOUNT or permission not in HUMAN_ONLY


def with_every_role(name: str, kind: PrincipalKind) -> Principal:
    """A principal that may do everything everywhere."""
    return Principal(name, kind, tuple(Grant(role, PLATFORM) for role in Role))
