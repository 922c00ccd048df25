"""The admin API's endpoints about oneself: who am I, my password, my tokens, my sealed roles; and signing in.

`POST /sign-in` alone needs no identity: it is how one is proved.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from lineclear.base.secret import Secret
from lineclear.control.access.emergencies import Emergencies, NewOpening, OpeningFacts
from lineclear.control.access.members import Members
from lineclear.control.access.passwords import Passwords
from lineclear.control.access.tokens import CreatedToken, NarrowedTo, TokenFacts, Tokens
from lineclear.control.endpoint import API_ROOT, Call, Endpoint, QueryParameter, Reach
from lineclear.domain.permissions import Permission

STRICT = {"extra": "forbid", "strict": True}


@dataclass(frozen=True)
class Me:
    """Who is asking, and what they have."""

    name: str
    kind: str
    grants: list[str]
    """`role on scope` of what is in force."""
    sealed: list[str]
    """Ids of one's own sealed grants with `role on scope`."""
    tokens: list[TokenFacts]


@dataclass(frozen=True)
class SignIn:
    """A name and a password."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    name: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class PasswordChange:
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    current: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True)
class OwnTokenRequest:
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    label: str = ""
    expires_in_days: int | None = None
    role: str = ""
    """Carry this role alone; empty = everything."""
    scope: str = "platform"


@dataclass(frozen=True)
class OpeningRequest:
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    grant: str
    reason: str
    incident: str
    minutes: int = 30


@dataclass(frozen=True)
class PasswordChanged:
    name: str


def endpoints(members: Members, tokens: Tokens, passwords: Passwords, emergencies: Emergencies) -> tuple[Endpoint, ...]:
    """Everything that is about who asks."""

    def me(call: Call) -> Me:
        who = call.principal
        return Me(
            who.name,
            who.kind.value,
            [f"{grant.role.value} on {grant.scope}" for grant in who.grants],
            [f"{grant.id} {grant.role.value} on {grant.scope}" for grant in members.sealed_grants(who.name)],
            tokens.facts_of(who.name),
        )

    def sign_in(call: Call) -> CreatedToken:
        sent: SignIn = call.body
        return tokens.sign_in(passwords.verify(sent.name, Secret(sent.password), call.address))

    def change_password(call: Call) -> PasswordChanged:
        sent: PasswordChange = call.body
        passwords.change(call.principal.name, Secret(sent.current), Secret(sent.password), call.address)
        return PasswordChanged(call.principal.name)

    def create_token(call: Call) -> CreatedToken:
        sent: OwnTokenRequest = call.body
        asked = (NarrowedTo(sent.role, sent.scope),) if sent.role else ()
        return tokens.create_own(call.principal, sent.label, sent.expires_in_days, asked)

    def revoke_token(call: Call) -> TokenFacts:
        return tokens.revoke_own(call.principal, call.path["token_id"], call.query.get("reason", ""))

    def break_glass(call: Call) -> OpeningFacts:
        sent: OpeningRequest = call.body
        return emergencies.open(call, NewOpening(sent.grant, sent.reason, sent.incident, sent.minutes))

    def close(call: Call) -> OpeningFacts:
        return emergencies.close(call, call.path["opening_id"])

    own, root = Permission.SELF, f"{API_ROOT}/me"
    return (
        Endpoint("POST", "/sign-in", Permission.PUBLIC, sign_in,
                 "Prove who one is with a password; answers with a token of the day", body=SignIn,
                 answer=CreatedToken, status=201, body_bytes_max=16 * 1024),
        Endpoint("GET", root, own, me, "Who am I, and what may I", answer=Me, reach=Reach.OWN),
        Endpoint("POST", f"{root}/password", own, change_password,
                 "Choose another password; every session and token from before ends", body=PasswordChange,
                 answer=PasswordChanged, reach=Reach.OWN),
        Endpoint("POST", f"{root}/tokens", own, create_token, "Make a token of one's own", body=OwnTokenRequest,
                 answer=CreatedToken, status=201, reach=Reach.OWN),
        Endpoint("DELETE", f"{root}/tokens/{{token_id}}", own, revoke_token, "Revoke a token of one's own",
                 answer=TokenFacts, reach=Reach.OWN,
                 query=(QueryParameter("reason", "Why; kept in the audit trail."),)),
        Endpoint("POST", f"{API_ROOT}/break-glass", own, break_glass,
                 "Open a sealed role of one's own for at most an hour", body=OpeningRequest, answer=OpeningFacts,
                 status=201, reach=Reach.OWN),
        Endpoint("POST", f"{API_ROOT}/break-glass/{{opening_id}}/close", own, close,
                 "Close one's own emergency before its time", answer=OpeningFacts, reach=Reach.OWN),
    )  # fmt: skip
