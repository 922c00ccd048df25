"""The admin API's endpoints for members, grants, tokens and decisions; `own_http` has those about oneself."""

from dataclasses import dataclass
from typing import ClassVar

from lineclear.control.access.decision import Decision, Decisions
from lineclear.control.access.emergencies import Emergencies, OpeningFacts
from lineclear.control.access.grants import GrantFacts, Grants, NewGrant
from lineclear.control.access.members import MemberFacts, Members, NewMember
from lineclear.control.access.principals import ACTIVE, DISABLED
from lineclear.control.access.tokens import CreatedToken, NarrowedTo, TokenFacts, Tokens
from lineclear.control.endpoint import API_ROOT, Call, Endpoint, QueryParameter, Reach
from lineclear.domain.permissions import Permission

PASSWORD_PATH = "/console/password"  # noqa: S105 - a page's path
STRICT = {"extra": "forbid", "strict": True}
REASON = QueryParameter("reason", "Why; kept in the audit trail.")


@dataclass(frozen=True)
class MemberRequest:
    """Who to add."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    name: str
    kind: str = "person"
    """`person` or `service`"""
    team: str = ""
    """Whose administrators keep it; empty = the platform's."""
    display: str = ""
    issuer: str = ""
    """Of the identity provider that the person signs in with; empty = with a password here."""
    subject: str = ""


@dataclass(frozen=True)
class GrantRequest:
    """What to give to whom."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    principal: str
    """A name, or `group:NAME` for everybody whom the identity provider names in it."""
    role: str
    scope: str = "platform"
    expires_in_days: int | None = None
    is_sealed: bool = False
    """In force only while its holder breaks the glass."""
    reason: str = ""


@dataclass(frozen=True)
class TokenPart:
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    role: str
    scope: str = "platform"


@dataclass(frozen=True)
class TokenRequest:
    """Which token to make."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    principal: str
    """A service account."""
    label: str = ""
    expires_in_days: int | None = None
    narrowed_to: tuple[TokenPart, ...] = ()
    """What it carries of what the account has; empty = all."""


@dataclass(frozen=True)
class ReasonRequest:
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    reason: str = ""
    """Kept in the audit trail."""


@dataclass(frozen=True)
class ReviewRequest:
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    review: str


@dataclass(frozen=True)
class MemberList:
    members: list[MemberFacts]


@dataclass(frozen=True)
class GrantList:
    grants: list[GrantFacts]


@dataclass(frozen=True)
class TokenList:
    tokens: list[TokenFacts]


@dataclass(frozen=True)
class OpeningList:
    openings: list[OpeningFacts]


@dataclass(frozen=True)
class InvitationFacts:
    """A link with which a person chooses a password, shown once."""

    name: str
    url: str
    path: str
    expires_at: str


@dataclass(frozen=True)
class AccessParts:
    """What the endpoints of access are made of."""

    members: Members
    grants: Grants
    tokens: Tokens
    decisions: Decisions
    emergencies: Emergencies


def endpoints(parts: AccessParts, admin_url: str, root_path: str) -> tuple[Endpoint, ...]:
    """Members, grants, tokens, decisions, emergencies."""
    return (*_members(parts, admin_url, root_path), *_grants(parts), *_tokens(parts), *_emergencies(parts))


def _members(parts: AccessParts, admin_url: str, root_path: str) -> tuple[Endpoint, ...]:
    members = parts.members

    def add(call: Call) -> MemberFacts:
        sent: MemberRequest = call.body
        new = NewMember(sent.name, sent.kind, sent.team, sent.display, sent.issuer, sent.subject)
        return members.add(call, new)

    def list_members(call: Call) -> MemberList:
        return MemberList(members.facts(call))

    def disable(call: Call) -> MemberFacts:
        sent: ReasonRequest = call.body
        return members.set_state(call, call.path["name"], DISABLED, sent.reason)

    def enable(call: Call) -> MemberFacts:
        sent: ReasonRequest = call.body
        return members.set_state(call, call.path["name"], ACTIVE, sent.reason)

    def invite(call: Call) -> InvitationFacts:
        made = members.invite(call, call.path["name"])
        path = f"{PASSWORD_PATH}?token={made.token.reveal()}"
        return InvitationFacts(call.path["name"], f"{admin_url}{root_path}{path}", path, made.expires_at)

    root, manage = f"{API_ROOT}/members", Permission.MEMBER_MANAGE
    return (
        Endpoint("GET", root, Permission.MEMBER_READ, list_members, "People and service accounts",
                 answer=MemberList, reach=Reach.OBJECT),
        Endpoint("POST", root, manage, add, "Add somebody, without any grant", body=MemberRequest,
                 answer=MemberFacts, status=201, reach=Reach.OBJECT),
        Endpoint("POST", f"{root}/{{name}}/disable", manage, disable, "Shut somebody out, everywhere at once",
                 body=ReasonRequest, answer=MemberFacts, reach=Reach.OBJECT),
        Endpoint("POST", f"{root}/{{name}}/enable", manage, enable, "Let somebody in again",
                 body=ReasonRequest, answer=MemberFacts, reach=Reach.OBJECT),
        Endpoint("POST", f"{root}/{{name}}/invitation", manage, invite,
                 "Make a one-use link with which a person chooses a password", answer=InvitationFacts, status=201,
                 reach=Reach.OBJECT),
    )  # fmt: skip


def _grants(parts: AccessParts) -> tuple[Endpoint, ...]:
    grants = parts.grants

    def give(call: Call) -> GrantFacts:
        sent: GrantRequest = call.body
        new = NewGrant(sent.principal, sent.role, sent.scope, sent.expires_in_days, sent.is_sealed, sent.reason)
        return grants.give(call, new)

    def list_grants(call: Call) -> GrantList:
        return GrantList(grants.facts(call, call.query.get("principal")))

    def take(call: Call) -> GrantFacts:
        return grants.take(call, call.path["grant_id"], call.query.get("reason", ""))

    def decide(call: Call) -> Decision:
        asked = (call.query.get(name, "") for name in ("subject", "action", "object"))
        return parts.decisions.decide(call, *asked)

    root = f"{API_ROOT}/grants"
    return (
        Endpoint("GET", root, Permission.GRANT_READ, list_grants, "Who has which role where", answer=GrantList,
                 query=(QueryParameter("principal", "Only of this name, or of `group:NAME`."),), reach=Reach.OBJECT),
        Endpoint("POST", root, Permission.GRANT_MANAGE, give, "Give a role on a scope", body=GrantRequest,
                 answer=GrantFacts, status=201, reach=Reach.OBJECT),
        Endpoint("DELETE", f"{root}/{{grant_id}}", Permission.GRANT_MANAGE, take, "Take a role away",
                 answer=GrantFacts, query=(REASON,), reach=Reach.OBJECT),
        Endpoint("GET", f"{API_ROOT}/decision", Permission.SELF, decide,
                 "Whether somebody may do something to something, and why; of others to who may read grants",
                 answer=Decision, reach=Reach.OWN,
                 query=(QueryParameter("subject", "A name; `me` = oneself."),
                        QueryParameter("action", "A permission.", required=True),
                        QueryParameter("object", "A scope, `app:NAME` or `model:NAME`.", required=True))),
    )  # fmt: skip


def _tokens(parts: AccessParts) -> tuple[Endpoint, ...]:
    tokens = parts.tokens

    def create(call: Call) -> CreatedToken:
        sent: TokenRequest = call.body
        asked = tuple(NarrowedTo(part.role, part.scope) for part in sent.narrowed_to)
        return tokens.create(call, sent.principal, sent.label, sent.expires_in_days, asked)

    def list_tokens(call: Call) -> TokenList:
        return TokenList(tokens.facts(call))

    def revoke(call: Call) -> TokenFacts:
        return tokens.revoke(call, call.path["token_id"], call.query.get("reason", ""))

    root = f"{API_ROOT}/tokens"
    return (
        Endpoint("GET", root, Permission.TOKEN_READ, list_tokens, "Tokens of the admin port, without their texts",
                 answer=TokenList, reach=Reach.OBJECT),
        Endpoint("POST", root, Permission.TOKEN_CREATE, create,
                 "Make a token of a service account; its text is in this answer only", body=TokenRequest,
                 answer=CreatedToken, status=201, reach=Reach.OBJECT),
        Endpoint("DELETE", f"{root}/{{token_id}}", Permission.TOKEN_REVOKE, revoke, "Revoke a token everywhere",
                 answer=TokenFacts, query=(REASON,), reach=Reach.OBJECT),
    )  # fmt: skip


def _emergencies(parts: AccessParts) -> tuple[Endpoint, ...]:
    emergencies = parts.emergencies

    def list_openings(_call: Call) -> OpeningList:
        return OpeningList(emergencies.facts())

    def review(call: Call) -> OpeningFacts:
        sent: ReviewRequest = call.body
        return emergencies.review(call, call.path["opening_id"], sent.review)

    root = f"{API_ROOT}/break-glass"
    return (
        Endpoint("GET", root, Permission.STATUS_READ, list_openings,
                 "When sealed roles were opened, by whom and why", answer=OpeningList, reach=Reach.SHARED),
        Endpoint("POST", f"{root}/{{opening_id}}/review", Permission.BREAK_GLASS_REVIEW, review,
                 "Close the review of an emergency", body=ReviewRequest, answer=OpeningFacts),
    )  # fmt: skip
