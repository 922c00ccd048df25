"""The admin API as an ASGI application: one route per endpoint of control, nothing decided here.

In: control's endpoints, a function that knows principals. Out: the application. Bodies are bounded and checked
before a handler runs; handlers run in threads; every refusal is one JSON shape. Routes are Starlette's own: what
FastAPI makes of each is for its description alone, and loading it is a seventh of a start.
"""

import functools
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from lineclear.api.body import read_body
from lineclear.api.openapi import describe
from lineclear.control.endpoint import (
    API_ROOT,
    HTTP_STATUS,
    AdminCode,
    Call,
    Endpoint,
    Refused,
    Text,
    check_endpoints,
)
from lineclear.domain.access import Principal
from lineclear.domain.errors import LineclearError
from lineclear.domain.findings import Finding
from lineclear.domain.permissions import Permission

_log = logging.getLogger(__name__)

QUERY_VALUE_CHARS_MAX = 4_096
CALLS_PATH = "/v1"
"""What the paths of the data port begin with."""
DESCRIPTION_PATH = "/api/openapi.json"

Authenticate = Callable[[str], Principal | None]
"""Who a bearer token belongs to; None if nobody."""
Serve = Callable[[Request], Awaitable[Response]]
Routes = Sequence[BaseRoute]
"""What another door of this port serves itself."""


def build_application(
    endpoints: Sequence[Endpoint], authenticate: Authenticate, routes: Routes = (), gateway_url: str = ""
) -> Starlette:
    """The application that serves `endpoints`, and beside them what another door of this port serves itself.

    Args:
        endpoints: what control offers.
        authenticate: knows the principal of a token.
        routes: of the other door.
        gateway_url: where callers reach the data port, for those who took this one for it; empty = not known.

    Raises:
        ValueError: if an endpoint may not be served, e.g. because it declares no permission.
    """
    check_endpoints(endpoints)
    served = [_route(endpoint.path, _door(endpoint, authenticate), endpoint.method) for endpoint in endpoints]
    description = _route(DESCRIPTION_PATH, _description(endpoints), "GET")
    all_routes = [description, *served, *routes]
    return Starlette(routes=all_routes, exception_handlers={HTTPException: _no_route(all_routes, gateway_url)})


def _route(path: str, serve: Serve, method: str) -> Route:
    route = Route(path, serve, methods=[method])
    # Starlette answers HEAD wherever there is a GET; an endpoint has the one method that it declares.
    route.methods = {method}
    return route


def _description(endpoints: Sequence[Endpoint]) -> Serve:
    make = functools.cache(lambda: msgspec.json.encode(describe(endpoints)))

    async def serve(_request: Request) -> Response:
        return Response(await run_in_threadpool(make), media_type="application/json")

    return serve


def _door(endpoint: Endpoint, authenticate: Authenticate) -> Serve:
    adapter: TypeAdapter[Any] | None = TypeAdapter(endpoint.body) if endpoint.body is not None else None

    async def serve(request: Request) -> Response:
        try:
            principal = _principal(endpoint, request, authenticate)
            query = _query(endpoint, request)
            body = _body(adapter, await read_body(request, endpoint.body_bytes_max))
            address = request.client.host if request.client is not None else ""
            call = Call(principal, dict(request.path_params), query, body, address=address)
            answer = await run_in_threadpool(endpoint.answer_to, call)
            return _rendered(endpoint, answer)
        except ClientDisconnect:
            # Gone before the body was here; nobody reads this.
            return Response(status_code=HTTP_STATUS[AdminCode.REQUEST_TIMEOUT])
        except Refused as refused:
            return problem(refused)
        except LineclearError as error:
            return problem(Refused(AdminCode.UNAVAILABLE, error.message, hint=error.hint))
        except Exception:  # noqa: BLE001 - the process edge: said once in the log, to the caller without details
            _log.exception("an admin call failed", extra={"facts": {"endpoint": f"{endpoint.method} {endpoint.path}"}})
            return problem(Refused(AdminCode.INTERNAL_ERROR, "the call failed inside the server; its log says why"))

    return serve


def _principal(endpoint: Endpoint, request: Request, authenticate: Authenticate) -> Principal:
    if endpoint.permission is Permission.PUBLIC:
        return Principal("anonymous")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    principal = authenticate(token.strip()) if scheme.lower() == "bearer" else None
    if principal is None:
        raise Refused(
            AdminCode.UNAUTHENTICATED,
            "no valid admin token came with the call",
            hint="send `Authorization: Bearer` with the token in admin.token of the data directory",
        )
    endpoint.demand(principal)
    return principal


def _query(endpoint: Endpoint, request: Request) -> dict[str, str]:
    declared = {parameter.name for parameter in endpoint.query}
    query: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in declared:
            known = ", ".join(sorted(declared)) or "none"
            raise Refused(AdminCode.INVALID_REQUEST, f"unknown query parameter {name!r}", hint=f"known: {known}")
        if name in query:
            raise Refused(AdminCode.INVALID_REQUEST, f"query parameter {name!r} stands twice")
        if len(value) > QUERY_VALUE_CHARS_MAX:
            raise Refused(AdminCode.INVALID_REQUEST, f"query parameter {name!r} is too long")
        query[name] = value
    for parameter in endpoint.query:
        if parameter.required and parameter.name not in query:
            raise Refused(AdminCode.INVALID_REQUEST, f"query parameter {parameter.name!r} is missing")
    return query


def _body(adapter: TypeAdapter[Any] | None, body: bytes) -> Any:
    if adapter is None:
        if body.strip():
            raise Refused(AdminCode.INVALID_REQUEST, "this call takes no body")
        return None
    try:
        # Without a body every field has its default, or is reported as missing.
        return adapter.validate_json(body or b"{}")
    except ValidationError as error:
        findings = [
            Finding(item["type"], item["msg"], path=".".join(str(part) for part in item["loc"]))
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        first = f"{findings[0].path}: {findings[0].message}" if findings[0].path else findings[0].message
        raise Refused(AdminCode.INVALID_REQUEST, f"the body is not as expected; {first}", findings=findings) from error


def _rendered(endpoint: Endpoint, answer: object) -> Response:
    if isinstance(answer, Text):
        return Response(answer.text, endpoint.status, media_type=answer.media_type)
    return Response(msgspec.json.encode(answer), endpoint.status, media_type="application/json")


def problem(refused: Refused) -> Response:
    """The JSON shape of every refusal."""
    body = {
        "code": refused.code.value,
        "message": refused.message,
        "hint": refused.hint,
        "findings": refused.findings,
    }
    status = HTTP_STATUS[refused.code]
    headers = {"www-authenticate": "Bearer"} if status == HTTP_STATUS[AdminCode.UNAUTHENTICATED] else None
    return Response(msgspec.json.encode(body), status, headers=headers, media_type="application/json")


def _no_route(routes: Routes, gateway_url: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    """What the framework itself refuses: no such path, no such method."""

    async def refuse(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else HTTP_STATUS[AdminCode.INTERNAL_ERROR]
        asked = f"there is no {request.method} {request.url.path}"
        if status == HTTP_STATUS[AdminCode.METHOD_NOT_ALLOWED]:
            allowed = ", ".join(_methods(routes, request))
            words = f"{asked}; that path takes {allowed}"
            response = problem(Refused(AdminCode.METHOD_NOT_ALLOWED, words, hint=f"see {DESCRIPTION_PATH}"))
            response.headers["allow"] = allowed
            return response
        response = problem(_no_path(request.url.path, asked, gateway_url))
        response.status_code = status
        return response

    return refuse


def _no_path(path: str, asked: str, gateway_url: str) -> Refused:
    if path == CALLS_PATH or path.startswith(f"{CALLS_PATH}/"):
        where = f"the data port is {gateway_url}" if gateway_url else "`lineclear status` tells where the data port is"
        words = f"{asked} here: this is the admin port, and applications call the data port"
        return Refused(
            AdminCode.NOT_FOUND, words, hint=f"{where}; the base URL of a client ends there or in {CALLS_PATH}"
        )
    prefix, found, _ = path.partition(f"{API_ROOT}/")
    if found and prefix:
        return Refused(AdminCode.NOT_FOUND, asked, hint=f"the admin API begins at {API_ROOT}: leave {prefix} out")
    return Refused(AdminCode.NOT_FOUND, asked, hint=f"see {DESCRIPTION_PATH}")


def _methods(routes: Routes, request: Request) -> list[str]:
    """What a path takes, of all routes that have it: RFC 9110 §15.5.6 wants it said."""
    fitting = [
        route for route in routes if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    return sorted({method for route in fitting for method in route.methods or ()})
