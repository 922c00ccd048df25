"""One endpoint of the admin API, without a web framework: what `api` renders and handlers fill.

Handlers are plain functions of a `Call`; they run in a thread, return a value (dataclass, Struct, dict,
list, str, int, None, or `Text`) and raise `Refused`. They know no HTTP beyond their status.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lineclear.domain.findings import Finding
from lineclear.domain.permissions import Permission

API_ROOT = "/api/v1"
BODY_BYTES_MAX = 8 * 1024 * 1024
"""Default limit of a request body."""

_PATH = re.compile(r"(/[a-z0-9._-]+|/\{[a-z_]+\})+")
_METHODS = frozenset({"GET", "POST", "DELETE"})


class AdminCode(StrEnum):
    """Why the admin API said no; stable, documented in docs/errors.md."""

    INVALID_REQUEST = "invalid_request"
    INVALID_MANIFEST = "invalid_manifest"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    STALE_PLAN = "stale_plan"
    BODY_TOO_LARGE = "body_too_large"
    UNAVAILABLE = "unavailable"
    INTERNAL_ERROR = "internal_error"


HTTP_STATUS: Mapping[AdminCode, int] = {
    AdminCode.INVALID_REQUEST: 400,
    AdminCode.INVALID_MANIFEST: 422,
    AdminCode.UNAUTHENTICATED: 401,
    AdminCode.FORBIDDEN: 403,
    AdminCode.NOT_FOUND: 404,
    AdminCode.CONFLICT: 409,
    AdminCode.STALE_PLAN: 409,
    AdminCode.BODY_TOO_LARGE: 413,
    AdminCode.UNAVAILABLE: 503,
    AdminCode.INTERNAL_ERROR: 500,
}


class Refused(Exception):
    """A handler's no: a code, what happened, what to do next, and the findings if there are any."""

    def __init__(self, code: AdminCode, message: str, *, hint: str = "", findings: Sequence[Finding] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.findings = tuple(findings)


@dataclass(frozen=True)
class Principal:
    """Who calls the admin API."""

    name: str
    permissions: frozenset[Permission]


@dataclass(frozen=True)
class Call:
    """One admin API call as a handler sees it."""

    principal: Principal
    path: Mapping[str, str] = field(default_factory=dict)
    """Path variables, percent-decoded."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Declared query parameters that were sent; a repeated or undeclared one never gets here."""
    body: Any = None  # Any: an instance of the endpoint's `body` type, checked before the handler runs.


@dataclass(frozen=True)
class Text:
    """An answer that is not JSON."""

    text: str
    media_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class QueryParameter:
    """One query parameter; anything undeclared is refused with 400."""

    name: str
    meaning: str
    required: bool = False


@dataclass(frozen=True)
class Endpoint:
    """One method on one path."""

    method: str
    """GET, POST or DELETE."""
    path: str
    """Full path such as `/api/v1/keys/{key_id}`."""
    permission: Permission
    handler: Callable[[Call], object]
    summary: str
    """One line for OpenAPI."""
    query: tuple[QueryParameter, ...] = ()
    body: type | None = None
    """Frozen dataclass that the JSON body must be; unknown fields are refused. None = no body."""
    answer: Any = None  # Any: a type expression (dataclass, list[…], None = any JSON) shown in OpenAPI.
    status: int = 200
    body_bytes_max: int = BODY_BYTES_MAX


def check_endpoints(endpoints: Sequence[Endpoint]) -> None:
    """Refuse a table that cannot be served safely; called before control starts to listen.

    Raises:
        ValueError: naming the endpoint, if one has no permission, is public outside health answers, has a
            malformed path or method, or stands twice.
    """
    seen: set[tuple[str, str]] = set()
    for endpoint in endpoints:
        name = f"{endpoint.method} {endpoint.path}"
        if not isinstance(endpoint.permission, Permission):
            raise ValueError(f"{name} declares no permission")  # noqa: TRY004 - one kind of refusal for the table
        if endpoint.permission is Permission.PUBLIC and endpoint.path.startswith(API_ROOT):
            raise ValueError(f"{name} is public; only health answers outside {API_ROOT} may be")
        if endpoint.method not in _METHODS or not _PATH.fullmatch(endpoint.path):
            raise ValueError(f"{name} is not a method of {sorted(_METHODS)} on a lower-case path")
        shape = (endpoint.method, re.sub(r"\{[a-z_]+\}", "{}", endpoint.path))
        if shape in seen:
            raise ValueError(f"{name} stands twice")
        seen.add(shape)
