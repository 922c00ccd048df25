"""What a release pins for the app itself: `GET /v1/routes/{route}/config`, from the snapshot in hand.

In: net's Request. Out: prompt, parameters, retrieval settings and tools of the release that serves the caller's unit,
with an ETag. Control is not asked, so an app gets its configuration while control is down.
"""

from hashlib import sha256
from typing import Any
from urllib.parse import unquote

import msgspec

from lineclear.domain.evidence import Arm
from lineclear.domain.prompts import prompt_text, prompt_variables
from lineclear.domain.snapshot import PromptEntry
from lineclear.gateway.admit import arm_view
from lineclear.gateway.local import Answer, callable_route, identify_caller
from lineclear.gateway.parts import Parts
from lineclear.gateway.snapshot import RouteView
from lineclear.gateway.split import STABLE, assign, unit_of
from lineclear.net.server import Request

ROUTES_PREFIX = b"/v1/routes/"
CONFIG_SUFFIX = b"/config"
ETAG_HEX = 32


def asks_for_config(path: bytes) -> bool:
    """Whether a path is one of these."""
    return path.startswith(ROUTES_PREFIX) and path.endswith(CONFIG_SUFFIX)


def route_config(parts: Parts, request: Request, request_id: str) -> Answer:
    """The configuration; 304 without a body if the caller has it already.

    Raises:
        CallerError: INVALID_API_KEY; MODEL_NOT_FOUND for what this key may not call.
    """
    identified = identify_caller(parts, request, request_id)
    wanted = request.path[len(ROUTES_PREFIX) : -len(CONFIG_SUFFIX)]
    asked = callable_route(parts, identified, unquote(wanted.decode("latin-1")))
    route, arm = asked, STABLE
    if asked.split is not None and unit_of(identified.head):
        # The unit's own arm, so that what the app does itself and what is done here are of one release (decision 42).
        assigned = assign(asked.split, identified.head)
        route, arm = arm_view(asked, assigned), assigned.arm
    body = msgspec.json.encode(_config(route, arm))
    tag = f'"{sha256(body).hexdigest()[:ETAG_HEX]}"'
    fields = f"{route.fields}etag: {tag}\r\ncache-control: private, no-cache\r\n".encode()
    if _holds(request.headers.get(b"if-none-match", b"").decode("latin-1"), tag):
        return 304, fields, b""
    return 200, b"content-type: application/json\r\n" + fields, body


def _config(route: RouteView, arm: Arm) -> dict[str, Any]:
    # Any: nested JSON values.
    return {
        "route": route.name,
        "environment": route.environment,
        "release": route.release,
        "digest": route.digest,
        "arm": arm,
        "prompt": None if route.prompt is None else _prompt(route.prompt),
        "parameters": route.parameters,
        "retrieval": route.retrieval,
        "tools": route.tools,
    }


def _prompt(prompt: PromptEntry) -> dict[str, Any]:
    return {
        "name": prompt.name,
        "digest": prompt.digest,
        "mode": prompt.mode,
        "text": prompt_text(prompt.segments),
        "variables": prompt_variables(prompt.segments),
    }


def _holds(asked: str, tag: str) -> bool:
    """Whether `If-None-Match` names the tag, by the weak comparison. Source: RFC 9110 §13.1.2."""
    named = {part.strip().removeprefix("W/") for part in asked.split(",")}
    return tag in named or "*" in named
