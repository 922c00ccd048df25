"""The console as routes of the admin port: pages, their twins, static files, sign-in and sign-out.

In: endpoints, sessions, facts of this server. Out: Starlette routes for the admin application to serve. A page's
HTML, JSON and CSV are one value rendered three ways; nothing is decided here.
"""

import csv
import io
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route

from lineclear.base.clock import Clock
from lineclear.console import guard
from lineclear.console.assets import Asset, read_assets
from lineclear.console.desk import Desk
from lineclear.console.entrance import Authenticate, Entrance, EntranceParts
from lineclear.console.live import REFUSED, Found, Streams
from lineclear.console.page import Action, Download, Feed, Onward, Page, Shown, Visit
from lineclear.console.pages import ACTIONS, FEEDS, PAGES
from lineclear.console.render import CONSOLE, Links, Renderer, part
from lineclear.control.access.identity_provider import IdentityProvider
from lineclear.control.access.passwords import Passwords
from lineclear.control.endpoint import API_ROOT, HTTP_STATUS, AdminCode, Endpoint, Refused
from lineclear.control.sessions.sessions import Session, Sessions
from lineclear.domain.access import Principal
from lineclear.domain.errors import LineclearError
from lineclear.domain.permissions import Permission

_log = logging.getLogger(__name__)

QUERY_VALUE_CHARS_MAX = 4_096
KEPT_BYTES_MAX = 256 * 1024
"""Of a form that is handed back to who is not signed in, which anybody can send."""
YEAR_S = 31_536_000
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes text that begins so for a formula."""

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class ConsoleParts:
    """What the console is made of."""

    endpoints: Sequence[Endpoint]
    sessions: Sessions
    authenticate: Authenticate
    clock: Clock
    server_name: str
    """Tells this server's cookie from that of another one on the same host."""
    passwords: Passwords
    """Of people with an account here."""
    identity_provider: IdentityProvider | None = None
    """That people sign in through; None = nobody does."""
    root_path: str = ""
    """What a proxy puts in front of every path, such as `/ai/gateway`; empty for none."""


class Console:
    """Every page of one server."""

    def __init__(self, parts: ConsoleParts) -> None:
        self._parts = parts
        self._assets = read_assets()
        self._desk = Desk(parts.endpoints)
        self._links = Links(parts.root_path, self._assets)
        self._renderer = Renderer(self._links)
        self._streams = Streams()
        self._cookie = guard.Cookie(parts.server_name, parts.root_path)
        doors = EntranceParts(
            parts.authenticate,
            parts.passwords,
            parts.sessions,
            parts.identity_provider,
            parts.server_name,
            parts.root_path,
        )
        self._entrance = Entrance(doors, self._links, self._renderer)

    def close(self) -> None:
        """End what open pages follow."""
        self._streams.close()

    def routes(self) -> list[BaseRoute]:
        """The console, and the way to it from the port's root."""
        inner: list[BaseRoute] = [
            Route("/static/{name}", self._static, methods=["GET"]),
            *(
                Route(path, self._answered(serve, "html", path), methods=[method])
                for method, path, serve in (
                    ("GET", "/sign-in", self._sign_in),
                    ("POST", "/sign-in", self._sign_in_with_form),
                    ("GET", "/oidc", self._entrance.depart),
                    ("GET", "/oidc/callback", self._arrive),
                    ("GET", "/password", self._entrance.choose),
                    ("POST", "/password", self._entrance.choose_with),
                    ("POST", "/sign-out", self._sign_out),
                )
            ),
        ]
        inner += [Route(_template(action.path), self._action(action), methods=["POST"]) for action in ACTIONS]
        inner += [Route(feed.path, self._feed(feed), methods=["GET"]) for feed in FEEDS]
        for page in PAGES:
            path = _template(page.path)
            for twin in ("json", "csv") if page.rows else ("json",):
                inner.append(Route(f"{path or '/home'}.{twin}", self._page(page, twin), methods=["GET"]))
            inner.append(Route(path or "/", self._page(page, "html"), methods=["GET"]))
        handlers: Mapping[Any, Any] = {HTTPException: self._no_page}
        application = Starlette(routes=inner, exception_handlers=handlers)
        return [Route("/", self._to_console, methods=["GET"]), Mount(CONSOLE, application)]

    # pages

    def _answered(self, serve: Callable[[Request], Awaitable[Response]], twin: str, path: str) -> Handler:
        """The edge of every page, form and stream: whatever is raised becomes an answer that is guarded like all."""

        async def answer(request: Request) -> Response:
            try:
                return await serve(request)
            except ClientDisconnect:
                # Gone before the form was here; nobody reads this.
                return self._refusal(Refused(AdminCode.REQUEST_TIMEOUT, "the form did not come"), twin)
            except Refused as refused:
                return self._refusal(refused, twin)
            except LineclearError as error:
                return self._refusal(Refused(AdminCode.UNAVAILABLE, error.message, hint=error.hint), twin)
            except Exception:  # noqa: BLE001 - the process edge: said once in the log, to the caller without details
                _log.exception("a page failed", extra={"facts": {"page": path or "/", "twin": twin}})
                words = "the page failed inside the server; its log says why"
                return self._refusal(Refused(AdminCode.INTERNAL_ERROR, words), twin)

        return answer

    def _page(self, page: Page, twin: str) -> Handler:
        async def serve(request: Request) -> Response:
            session, principal = await run_in_threadpool(self._who, request)
            if principal is None:
                return self._signed_out(request, twin)
            query = _query(page.query, request)
            now_us = self._parts.clock.unix_us()
            if twin != "html" and page.has_dotted_names:
                # What is named like a twin has the page; only where nothing is, it is the twin of the shorter name.
                whole = {name: f"{value}.{twin}" for name, value in request.path_params.items()}
                visit = Visit(self._desk, principal, now_us, whole, query)
                try:
                    return guard.guarded(await run_in_threadpool(self._rendered, page, "html", visit, session))
                except Refused as refused:
                    if refused.code is not AdminCode.NOT_FOUND:
                        raise
            visit = Visit(self._desk, principal, now_us, dict(request.path_params), query)
            return guard.guarded(await run_in_threadpool(self._rendered, page, twin, visit, session))

        return self._answered(serve, twin, page.path)

    def _action(self, action: Action) -> Handler:
        async def serve(request: Request) -> Response:
            guard.demand_same_origin(request)
            session = await run_in_threadpool(self._parts.sessions.find, self._cookie.read(request))
            if session is None:
                form = await self._unsigned(request) if action.again else {}
                if any(text for name, text in form.items() if name != guard.FORM_TOKEN):
                    return await run_in_threadpool(self._kept, action, form)
                # A form cannot be sent again after the sign-in; its page can be looked at.
                return self._signed_out(request, "html", _filled(action.page, request.path_params))
            form = await guard.read_form(request, action.form_bytes_max)
            if action.again is None:
                guard.demand_form_token(session, form)
            visit = Visit(self._desk, session.principal, self._parts.clock.unix_us(), dict(request.path_params), {})
            try:
                return guard.guarded(await run_in_threadpool(self._done, action, visit, session, form))
            except Refused as refused:
                return self._refusal(refused, back=_filled(action.page, request.path_params))

        return self._answered(serve, "html", action.path)

    async def _unsigned(self, request: Request) -> dict[str, str]:
        """What somebody without a session sent; no more of it than a stranger may cost us."""
        try:
            return await guard.read_form(request, KEPT_BYTES_MAX)
        except Refused as refused:
            if refused.code is not AdminCode.BODY_TOO_LARGE:
                raise
            hint = "you are signed out: sign in in another window, come back to the form and send it again"
            raise Refused(refused.code, refused.message, hint=hint) from refused

    def _done(self, action: Action, visit: Visit, session: Session, form: Mapping[str, str]) -> Response:
        # Of a form that this session did not make nothing is done, whatever it says.
        run = action.run if action.again is None or guard.has_form_token(session, form) else action.again
        done = run(visit, form)
        if isinstance(done, Onward):
            return RedirectResponse(self._links.page(done.path, done.query), 303)
        if isinstance(done, Download):
            headers = {"content-disposition": f'attachment; filename="{done.name}"'}
            return StreamingResponse(done.parts, media_type=done.media_type, headers=headers)
        frame = self._frame(session, action.page, visit)
        value, status = (done.value, HTTP_STATUS[done.code]) if isinstance(done, Shown) else (done, 200)
        return Response(self._renderer.render(action.template, **frame, value=value), status, media_type="text/html")

    def _kept(self, action: Action, form: Mapping[str, str]) -> Response:
        """What somebody wrote, handed back to who is not signed in any more."""
        fields = {name: text for name, text in form.items() if name != guard.FORM_TOKEN}
        body = self._renderer.render("kept.html", action=action.path, fields=fields)
        return guard.guarded(Response(body, HTTP_STATUS[AdminCode.UNAUTHENTICATED], media_type="text/html"))

    def _feed(self, feed: Feed) -> Handler:
        async def serve(request: Request) -> Response:
            _, principal = await run_in_threadpool(self._who, request)
            if principal is None:
                return self._signed_out(request, "json")
            query = _query(feed.query, request)
            place = request.headers.get("last-event-id", "")
            visit = Visit(self._desk, principal, self._parts.clock.unix_us(), {}, query, place)
            news = await run_in_threadpool(feed.begin, visit)

            def look() -> Found | None:
                now = self._who(request)[1]
                if now is None:
                    return Found(REFUSED, "you are signed out; sign in again to go on")
                if now != principal:
                    return Found(REFUSED, "what you may see has changed; load the page again to go on")
                value = news()
                if value is None:
                    return None
                at = str(value.get("place", ""))
                if value.keys() == {"place"}:
                    return Found("", "", at)
                return Found(feed.event, self._renderer.render(feed.template, value=value), at)

            return guard.guarded(self._streams.response(look, is_once=feed.is_once))

        return self._answered(serve, "json", feed.path)

    def _rendered(self, page: Page, twin: str, visit: Visit, session: Session | None) -> Response:
        value = page.load(visit)
        if twin == "json":
            return Response(msgspec.json.encode({**value, **self._demo_fact(visit)}), media_type="application/json")
        if twin == "csv":
            rows = [{**row, **self._demo_fact(visit)} for row in value[page.rows]]
            return Response(_csv(rows), media_type="text/csv; charset=utf-8")
        frame = self._frame(session, page.path, visit, ("json", "csv") if page.rows else ("json",))
        return Response(self._renderer.render(page.template, **frame, value=value), media_type="text/html")

    def _frame(self, session: Session | None, here: str, visit: Visit, twins: Sequence[str] = ()) -> dict[str, Any]:
        """What the layout shows around every page."""
        status = self._desk.ask(visit.principal, "GET", f"{API_ROOT}/status")
        path = _filled(here, visit.parts)
        return {
            "here": here,
            "path": path,
            "query": dict(visit.query),
            "twins": [(twin, f"{path or '/home'}.{twin}") for twin in twins],
            "who": visit.principal.name,
            "form_token": session.form_token if session is not None else "",
            "session_id": session.id if session is not None else "",
            "version": status["version"],
            "may_change_platform": visit.may(Permission.CHANGE_APPLY),
            "is_demo": bool(status.get("demo", False)),
            "emergencies": [item for item in status.get("emergencies", ()) if item["state"] == "open"],
        }

    def _demo_fact(self, visit: Visit) -> dict[str, bool]:
        """What a twin says beside its value, and every row of a CSV, where the history is invented."""
        status = self._desk.ask(visit.principal, "GET", f"{API_ROOT}/status")
        return {"demo": True} if status.get("demo") else {}

    def _who(self, request: Request) -> tuple[Session | None, Principal | None]:
        session = self._parts.sessions.find(self._cookie.read(request))
        if session is not None:
            return session, session.principal
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return None, self._parts.authenticate(token.strip()) if scheme.lower() == "bearer" else None

    def _refusal(self, refused: Refused, twin: str = "html", back: str = "") -> Response:
        status = HTTP_STATUS[refused.code]
        problem = {"code": refused.code.value, "message": refused.message, "hint": refused.hint}
        if twin != "html":
            return guard.guarded(Response(msgspec.json.encode(problem), status, media_type="application/json"))
        body = self._renderer.render("refusal.html", status=status, back=back, **problem)
        return guard.guarded(Response(body, status, media_type="text/html"))

    async def _no_page(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        words = f"there is no page at {request.url.path}" if status == 404 else "this page cannot be asked for so"
        response = self._refusal(Refused(AdminCode.NOT_FOUND, words, hint="Home leads to every page"))
        response.status_code = status
        return response

    async def _to_console(self, _request: Request) -> Response:
        return guard.guarded(RedirectResponse(self._links.page(), 303))

    async def _static(self, request: Request) -> Response:
        wanted = request.path_params["name"]
        asset: Asset | None = next((one for one in self._assets.values() if one.name == wanted), None)
        if asset is None:
            raise HTTPException(404)
        response = Response(asset.content, media_type=asset.media_type)
        response.headers["cache-control"] = f"public, max-age={YEAR_S}, immutable"
        return guard.guarded(response, is_cacheable=True)

    # sign-in

    def _signed_out(self, request: Request, twin: str, onward: str = "") -> Response:
        """Refused, or led to sign in and on to `onward`; empty = to what was asked for."""
        refused = Refused(
            AdminCode.UNAUTHENTICATED,
            "you are not signed in",
            hint="open the link that `lineclear console` prints, or send a token as `Authorization: Bearer`",
        )
        if twin != "html":
            return self._refusal(refused, twin)
        if request.headers.get("sec-fetch-site") == "cross-site":
            # The cookie is not sent along a link from another site; a step from our own page brings it.
            body = self._renderer.render("onward.html", target=self._links.page(onward or _inner(request)))
            return guard.guarded(Response(body, media_type="text/html"))
        return guard.guarded(RedirectResponse(self._links.page("/sign-in", next=onward or _inner(request)), 303))

    async def _sign_in(self, request: Request) -> Response:
        token = request.query_params.get("token", "")
        if not token:
            _, principal = await run_in_threadpool(self._who, request)
            if principal is not None:
                return guard.guarded(RedirectResponse(self._links.page(), 303))
            return self._sign_in_page(request.query_params.get("next", ""), "", 200)
        try:
            session = await run_in_threadpool(self._parts.sessions.use_link, token)
        except Refused as refused:
            return self._sign_in_page("", f"{refused.message}; {refused.hint}", HTTP_STATUS[refused.code])
        return self._welcome(request, session, "")

    async def _sign_in_with_form(self, request: Request) -> Response:
        guard.demand_same_origin(request)
        form = await guard.read_form(request)
        address = request.client.host if request.client is not None else ""
        try:
            principal = await run_in_threadpool(self._entrance.identify, form, address)
        except Refused as refused:
            return self._sign_in_page(form.get("next", ""), refused.message, HTTP_STATUS[refused.code])
        session = await run_in_threadpool(self._parts.sessions.open, principal)
        return self._welcome(request, session, form.get("next", ""))

    async def _arrive(self, request: Request) -> Response:
        try:
            session, onward = await self._entrance.arrive(request)
        except Refused as refused:
            response = self._sign_in_page("", refused.message, HTTP_STATUS[refused.code])
        else:
            # The cookie is not sent along a redirect that began elsewhere; a step from our own page brings it.
            target = self._links.page(onward if _is_inner(onward) else "")
            response = guard.guarded(
                Response(self._renderer.render("onward.html", target=target), media_type="text/html")
            )
            self._cookie.write(request, response, session)
        self._entrance.forget_binding(request, response)
        return response

    def _sign_in_page(self, onward: str, complaint: str, status: int) -> Response:
        body = self._renderer.render(
            "sign_in.html", complaint=complaint, next=onward, has_provider=self._entrance.has_provider
        )
        return guard.guarded(Response(body, status, media_type="text/html"))

    def _welcome(self, request: Request, session: Session, onward: str) -> Response:
        response = RedirectResponse(self._links.page(onward if _is_inner(onward) else ""), 303)
        self._cookie.write(request, response, session)
        return guard.guarded(response)

    async def _sign_out(self, request: Request) -> Response:
        guard.demand_same_origin(request)
        session = await run_in_threadpool(self._parts.sessions.find, self._cookie.read(request))
        if session is not None:
            guard.demand_form_token(session, await guard.read_form(request))
            await run_in_threadpool(self._parts.sessions.sign_out, session)
        response = RedirectResponse(self._links.page("/sign-in"), 303)
        self._cookie.remove(request, response)
        return guard.guarded(response)


def _template(path: str) -> str:
    """A page's path for the router: names such as routes may hold slashes."""
    return path.replace("}", ":path}")


def _filled(path: str, parts: Mapping[str, str]) -> str:
    """A page's path with what stands in its braces."""
    return path.format_map({name: part(value) for name, value in parts.items()})


def _query(declared: Sequence[str], request: Request) -> dict[str, str]:
    query: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in declared:
            known = ", ".join(declared) or "none"
            raise Refused(AdminCode.INVALID_REQUEST, f"this page takes no {name!r}", hint=f"it takes: {known}")
        if name in query or len(value) > QUERY_VALUE_CHARS_MAX:
            raise Refused(AdminCode.INVALID_REQUEST, f"{name!r} stands twice or is too long")
        if value:
            query[name] = value
    return query


def _inner(request: Request) -> str:
    """The path and query of a request below the console, to come back to."""
    path = request.scope["path"].partition(CONSOLE)[2] or "/"
    return path + (f"?{request.url.query}" if request.url.query else "")


def _is_inner(path: str) -> bool:
    """A path below the console: it is put behind our own prefix, so it cannot lead elsewhere."""
    return path.startswith("/") and len(path) <= QUERY_VALUE_CHARS_MAX and "\\" not in path and path.isprintable()


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of plain values; the first row names them. Text that a spreadsheet would run is made plain text."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return "'" + value
    return msgspec.json.encode(value).decode() if isinstance(value, (list, dict)) else value
