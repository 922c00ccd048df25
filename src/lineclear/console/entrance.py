"""Who a form of the sign-in page belongs to, and the page on which an invited person chooses a password.

In: fields of a form. Out: a principal, or a page. A token of the admin port opens no session: it may be narrowed, and a
session carries all that its principal has.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from lineclear.base.secret import Secret
from lineclear.console import guard
from lineclear.console.render import Links, Renderer
from lineclear.control.access.identity_provider import IdentityProvider
from lineclear.control.access.passwords import PASSWORD_CHARS_MIN, Passwords
from lineclear.control.endpoint import HTTP_STATUS, AdminCode, Refused
from lineclear.control.sessions.sessions import Session, Sessions
from lineclear.domain.access import Principal

Authenticate = Callable[[str], Principal | None]
"""Who a bearer token belongs to; None if nobody."""


@dataclass(frozen=True)
class EntranceParts:
    """What the entrance is made of."""

    authenticate: Authenticate
    passwords: Passwords
    sessions: Sessions
    identity_provider: IdentityProvider | None
    """None = nobody signs in through one."""
    server_name: str
    root_path: str


class Entrance:
    """The doors of the sign-in page."""

    def __init__(self, parts: EntranceParts, links: Links, renderer: Renderer) -> None:
        self._parts = parts
        self._passwords = parts.passwords
        self._links = links
        self._renderer = renderer
        self._binding = guard.Cookie(f"{parts.server_name} oidc", parts.root_path)

    def identify(self, form: Mapping[str, str], address: str) -> Principal:
        """Who sent the form of the sign-in page: a name with its password, or the admin token.

        Raises:
            Refused: `unauthenticated`; `rate_limited` for a name that failed often from there, or where many did.
        """
        if "name" in form:
            return self._passwords.verify(form["name"].strip(), Secret(form.get("password", "")), address)
        principal = self._parts.authenticate(form.get("admin_token", "").strip())
        if principal is None or principal.session:
            raise Refused(AdminCode.UNAUTHENTICATED, "that is not the admin token of this server")
        return principal

    @property
    def has_provider(self) -> bool:
        """Whether people sign in through an identity provider."""
        return self._parts.identity_provider is not None

    async def depart(self, request: Request) -> Response:
        """Send the browser to the identity provider."""
        departure = await run_in_threadpool(self._provider().depart, request.query_params.get("next", ""))
        response = RedirectResponse(departure.url, 303)
        self._binding.write_binding(request, response, departure.binding)
        return guard.guarded(response)

    async def arrive(self, request: Request) -> tuple[Session, str]:
        """Who came back from the identity provider, signed in, and where they wanted to go.

        Raises:
            Refused: `unauthenticated`, `forbidden`, `unavailable`.
        """
        query = dict(request.query_params)
        binding = self._binding.read(request)
        principal, onward = await run_in_threadpool(self._provider().arrive, query, binding)
        return await run_in_threadpool(self._parts.sessions.open, principal), onward

    def forget_binding(self, request: Request, response: Response) -> None:
        """Take back what the browser carried to the provider and home."""
        self._binding.remove(request, response)

    def _provider(self) -> IdentityProvider:
        if self._parts.identity_provider is None:
            raise Refused(AdminCode.NOT_FOUND, "nobody signs in here through an identity provider")
        return self._parts.identity_provider

    async def choose(self, request: Request) -> Response:
        """The page that an invitation leads to."""
        token = request.query_params.get("token", "")
        name = await run_in_threadpool(self._passwords.invited, token)
        if name is None:
            return self._gone()
        return self._page(name, token, "", 200)

    async def choose_with(self, request: Request) -> Response:
        """The password that an invited person chose."""
        guard.demand_same_origin(request)
        form = await guard.read_form(request)
        token, password = form.get("token", ""), form.get("password", "")
        name = await run_in_threadpool(self._passwords.invited, token)
        if name is None:
            return self._gone()
        if password != form.get("again", ""):
            return self._page(name, token, "the two passwords differ", 400)
        try:
            await run_in_threadpool(self._passwords.choose, token, Secret(password))
        except Refused as refused:
            return self._page(name, token, refused.message, HTTP_STATUS[refused.code])
        return guard.guarded(RedirectResponse(self._links.page("/sign-in"), 303))

    def _page(self, name: str, token: str, complaint: str, status: int) -> Response:
        facts = {"name": name, "token": token, "complaint": complaint, "chars": PASSWORD_CHARS_MIN}
        return guard.guarded(Response(self._renderer.render("password.html", **facts), status, media_type="text/html"))

    def _gone(self) -> Response:
        words = "this link was used already or is older than a day; ask an administrator for a new one"
        return self._page("", "", words, HTTP_STATUS[AdminCode.UNAUTHENTICATED])
