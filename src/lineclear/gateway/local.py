"""Endpoints answered from the snapshot in hand: model list, liveness, readiness. Nobody else is asked.

In: net's Request. Out: status, header lines, body. Control's health never shows here (decision 20).
"""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import msgspec

from lineclear.domain.errors import CallerError, ErrorCode
from lineclear.domain.exchange import Operation
from lineclear.gateway.admit import callable_names, instead_words
from lineclear.gateway.deprecation import VERSION_PREFIX, version_facts
from lineclear.gateway.fields import snapshot_fields
from lineclear.gateway.head import read_head
from lineclear.gateway.identify import Identified, identify
from lineclear.gateway.parts import Parts
from lineclear.gateway.snapshot import RouteView, Snapshot
from lineclear.net.server import Request

JSON_FIELDS = b"content-type: application/json\r\ncache-control: no-store\r\n"

Answer = tuple[int, bytes, bytes]
"""Status, header lines, body."""


def models(parts: Parts, request: Request, request_id: str) -> Answer:
    """`GET /v1/models`: the routes this key may call, in Anthropic's shape if its version field is sent.

    Raises:
        CallerError: INVALID_API_KEY.
    """
    identified = identify_caller(parts, request, request_id)
    names = callable_names(parts.current.snapshot(), identified)
    if b"anthropic-version" in request.headers:
        body: dict[str, Any] = {
            "data": [_anthropic_model(name) for name in names],
            "has_more": False,
            "first_id": names[0] if names else None,
            "last_id": names[-1] if names else None,
        }
    else:
        body = {"object": "list", "data": [_openai_model(parts, identified, name) for name in names]}
    return 200, told_fields(parts.current.snapshot(), identified), msgspec.json.encode(body)


def model(parts: Parts, request: Request, request_id: str) -> Answer:
    """`GET /v1/models/{route}`: one of them.

    Raises:
        CallerError: INVALID_API_KEY; MODEL_NOT_FOUND for what this key may not call.
    """
    identified = identify_caller(parts, request, request_id)
    name = unquote(request.path.removeprefix(b"/v1/models/").decode("latin-1"))
    callable_route(parts, identified, name)
    if b"anthropic-version" in request.headers:
        return 200, told_fields(parts.current.snapshot(), identified), msgspec.json.encode(_anthropic_model(name))
    return (
        200,
        told_fields(parts.current.snapshot(), identified),
        msgspec.json.encode(_openai_model(parts, identified, name)),
    )


def model_version(parts: Parts, request: Request, request_id: str) -> Answer:
    """`GET /v1/model-versions/{name@version}`: until when a version is there and where its successor is served.

    Raises:
        CallerError: INVALID_API_KEY; MODEL_NOT_FOUND for what no route of this key names, nor is to follow it.
    """
    identified = identify_caller(parts, request, request_id)
    snapshot = parts.current.snapshot()
    name = unquote(request.path.removeprefix(VERSION_PREFIX.encode()).decode("latin-1"))
    named = {
        route: snapshot.routes[identified.environment, route].models for route in callable_names(snapshot, identified)
    }
    shown = {model for models in named.values() for model in models}
    shown |= {successor for model in shown if (successor := snapshot.versions[model].successor) is not None}
    version = snapshot.versions.get(name)
    if version is None or name not in shown:
        raise CallerError(
            ErrorCode.MODEL_NOT_FOUND,
            f"no model version named {name!r} on a route that this key may call",
            hint="the header x-lineclear-model of an answer names the version that served it",
        )
    routes, successor_routes = (
        [route for route, models in named.items() if model in models] for model in (name, version.successor)
    )
    return 200, told_fields(snapshot, identified), msgspec.json.encode(version_facts(version, routes, successor_routes))


def told_fields(snapshot: Snapshot, identified: Identified) -> bytes:
    """Header lines of JSON that a caller is told: from which snapshot, for which environment."""
    return JSON_FIELDS + snapshot_fields(snapshot.revision, identified.environment).encode()


def callable_route(parts: Parts, identified: Identified, name: str) -> RouteView:
    """A route that this caller may call.

    Raises:
        CallerError: MODEL_NOT_FOUND for any other.
    """
    snapshot = parts.current.snapshot()
    names = callable_names(snapshot, identified)
    if name not in names:
        raise CallerError(
            ErrorCode.MODEL_NOT_FOUND,
            f"no route named {name!r} that this key may call; {instead_words(name, names)}",
            hint="GET /v1/models lists those it may",
            known_names=names,
        )
    return snapshot.routes[identified.environment, name]


def livez(_parts: Parts, _request: Request, _request_id: str) -> Answer:
    """`GET /livez`: this process answers."""
    return 200, JSON_FIELDS, b'{"status":"live"}'


def readyz(parts: Parts, _request: Request, _request_id: str) -> Answer:
    """`GET /readyz`: snapshot, spool and accountant, each with its state; 503 until all that is needed is there.

    A lost accountant degrades and does not unready: calls without a hard budget still pass (decision 3).
    """
    has_snapshot = parts.current.is_ready
    takes_records = parts.ledger.accepts_intents
    is_ready = has_snapshot and takes_records
    body = {
        "status": "ready" if is_ready else "not_ready",
        "snapshot": parts.current.snapshot().revision if has_snapshot else None,
        "snapshot_refused": parts.current.refused_reason or None,
        "overrides": parts.current.snapshot().overrides if has_snapshot else None,
        "overrides_refused": parts.current.overrides_refused or None,
        "spool": "writing" if takes_records else "unavailable",
        "accountant": "connected" if parts.accountant.connected else "unavailable",
    }
    return (200 if is_ready else 503), JSON_FIELDS, msgspec.json.encode(body)


def identify_caller(parts: Parts, request: Request, request_id: str) -> Identified:
    """Whose key the request carries.

    Raises:
        CallerError: INVALID_API_KEY.
        PlatformFault: NOT_READY before the first snapshot.
    """
    # Which operation stands in the head does not matter here; only the key is read from it.
    head = read_head(request, Operation.CHAT, request_id)
    return identify(parts.current.snapshot(), head, parts.clock)


def _openai_model(parts: Parts, identified: Identified, name: str) -> dict[str, Any]:
    route = parts.current.snapshot().routes[identified.environment, name]
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": route.team,
        "operations": route.operations,
    }


def _anthropic_model(name: str) -> dict[str, Any]:
    epoch = datetime.fromtimestamp(0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": name, "display_name": name, "created_at": epoch}
