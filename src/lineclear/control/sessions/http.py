"""The admin API's endpoints for sign-in links and for sessions of the console."""

from dataclasses import dataclass, replace

from lineclear.control.endpoint import API_ROOT, AdminCode, Call, Endpoint, QueryParameter, Refused
from lineclear.control.sessions.sessions import EndedSessions, SessionFacts, Sessions
from lineclear.domain.permissions import Permission

SIGN_IN_PATH = "/console/sign-in"
REASON_CHARS_MAX = 400
REASON = QueryParameter("reason", "Why; kept in the audit trail.")


@dataclass(frozen=True)
class SignInLinkFacts:
    """A link that signs in whoever opens it first."""

    url: str
    """The whole link, at the public address of the admin port or the one that it listens on."""
    path: str
    """The same without scheme and host: what to put behind another address of this server."""
    expires_at: str
    """ISO 8601 UTC."""
    is_public: bool = False
    """The link is at the address that the operator gave as the public one: no other is better."""


@dataclass(frozen=True)
class SessionList:
    sessions: list[SessionFacts]


def endpoints(sessions: Sessions, admin_url: str, root_path: str, *, is_public: bool = False) -> tuple[Endpoint, ...]:
    """Make a link; list and end sessions."""

    def make(call: Call) -> SignInLinkFacts:
        if call.principal.session:
            # A session carries all that its principal has; a token may be narrowed, and may be a machine's.
            raise Refused(
                AdminCode.FORBIDDEN, "a token opens no browser", hint="sign in to the console with name and password"
            )
        return replace(link_facts(sessions, call.principal.name, admin_url, root_path), is_public=is_public)

    def list_sessions(_call: Call) -> SessionList:
        return SessionList(sessions.facts())

    def end(call: Call) -> SessionFacts:
        return sessions.end(call.principal.name, call.path["session_id"], _reason(call))

    def end_all(call: Call) -> EndedSessions:
        return sessions.end_all(call.principal.name, _reason(call))

    root = f"{API_ROOT}/sessions"
    return (
        Endpoint("GET", root, Permission.SESSION_READ, list_sessions, "Who is signed in to the console",
                 answer=SessionList),
        Endpoint("DELETE", f"{root}/{{session_id}}", Permission.SESSION_END, end, "End one session of the console",
                 answer=SessionFacts, query=(REASON,)),
        Endpoint("DELETE", root, Permission.SESSION_END, end_all,
                 "End every session of the console and take unused sign-in links back",
                 answer=EndedSessions, query=(REASON,)),
        Endpoint(
            "POST", f"{API_ROOT}/sign-in-links", Permission.SESSION_CREATE, make,
            "Make a one-use link into the console", answer=SignInLinkFacts, status=201,
        ),
    )  # fmt: skip


def _reason(call: Call) -> str:
    reason = call.query.get("reason", "")
    if len(reason) > REASON_CHARS_MAX:
        raise Refused(AdminCode.INVALID_REQUEST, f"a reason has at most {REASON_CHARS_MAX} characters")
    return reason


def link_facts(sessions: Sessions, principal: str, admin_url: str, root_path: str) -> SignInLinkFacts:
    """A new link for a principal, as it is shown."""
    link = sessions.make_link(principal)
    path = f"{SIGN_IN_PATH}?token={link.token.reveal()}"
    return SignInLinkFacts(f"{admin_url}{root_path}{path}", path, link.expires_at)
