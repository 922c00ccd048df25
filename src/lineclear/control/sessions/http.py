"""The admin API's endpoint for sign-in links."""

from dataclasses import dataclass

from lineclear.control.endpoint import API_ROOT, Call, Endpoint
from lineclear.control.sessions.sessions import Sessions
from lineclear.domain.permissions import Permission

SIGN_IN_PATH = "/console/sign-in"


@dataclass(frozen=True)
class SignInLinkFacts:
    """A link that signs in whoever opens it first."""

    url: str
    """The whole link as this machine reaches the admin port."""
    path: str
    """The same without scheme and host: what to put behind another address of this server."""
    expires_at: str
    """ISO 8601 UTC."""


def endpoints(sessions: Sessions, admin_url: str, root_path: str) -> tuple[Endpoint, ...]:
    """Make a link."""

    def make(call: Call) -> SignInLinkFacts:
        return link_facts(sessions, call.principal.name, admin_url, root_path)

    return (
        Endpoint(
            "POST", f"{API_ROOT}/sign-in-links", Permission.SESSION_CREATE, make,
            "Make a one-use link into the console", answer=SignInLinkFacts, status=201,
        ),
    )  # fmt: skip


def link_facts(sessions: Sessions, principal: str, admin_url: str, root_path: str) -> SignInLinkFacts:
    """A new link for a principal, as it is shown."""
    link = sessions.make_link(principal)
    path = f"{SIGN_IN_PATH}?token={link.token.reveal()}"
    return SignInLinkFacts(f"{admin_url}{root_path}{path}", path, link.expires_at)
