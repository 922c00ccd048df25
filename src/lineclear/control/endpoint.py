"""One endpoint of the admin API, without a web framework: what `api` renders and handlers fill.

Handlers are plain functions of a `Call`; they run in a thread, return a value (dataclass, Struct, dict,
list, str, int, None, or `Text`) and raise `Refused`. They know no HTTP beyond their status.
"""

import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from lineclear.domain.access import PLATFORM, Principal, Scope
from lineclear.domain.findings import Finding
from lineclear.domain.permissions import Permission

T = TypeVar("T")

API_ROOT = "/api/v1"
BODY_BYTES_MAX = 8 * 1024 * 1024
"""Default limit of a request body."""

WAITING_CALLS_MAX = 4
"""Calls of one kind that may wait for a model, a provider or the disk at the same time; there are 40 threads."""

_PATH = re.compile(r"(/[a-z0-9._-]+|/\{[a-z_]+\})+")
_METHODS = frozenset({"GET", "POST", "DELETE"})


class AdminCode(StrEnum):
    """Why the admin API said no; stable, documented in docs/errors.md."""

    INVALID_REQUEST = "invalid_request"
    INVALID_MANIFEST = "invalid_manifest"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CONFLICT = "conflict"
    STALE_PLAN = "stale_plan"
    FROZEN = "frozen"
    GATE_NOT_PASSED = "gate_not_passed"
    REQUEST_TIMEOUT = "request_timeout"
    BODY_TOO_LARGE = "body_too_large"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    INTERNAL_ERROR = "internal_error"


HTTP_STATUS: Mapping[AdminCode, int] = {
    AdminCode.INVALID_REQUEST: 400,
    AdminCode.INVALID_MANIFEST: 422,
    AdminCode.UNAUTHENTICATED: 401,
    AdminCode.FORBIDDEN: 403,
    AdminCode.NOT_FOUND: 404,
    AdminCode.METHOD_NOT_ALLOWED: 405,
    AdminCode.CONFLICT: 409,
    AdminCode.STALE_PLAN: 409,
    AdminCode.FROZEN: 409,
    AdminCode.GATE_NOT_PASSED: 409,
    AdminCode.REQUEST_TIMEOUT: 408,
    AdminCode.BODY_TOO_LARGE: 413,
    AdminCode.RATE_LIMITED: 429,
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


class Reach(StrEnum):
    """On what an endpoint's permission has to be held; control does not start if an endpoint says nothing usable."""

    PLATFORM = "platform"
    """On the whole platform. What an endpoint has that declares nothing else."""
    OBJECT = "object"
    """On the scope of each object: the handler asks `Call.require`, or lists by `Call.only`. It may not forget."""
    SHARED = "shared"
    """On any scope: what is answered belongs to no team, such as a provider or the schema of manifests."""
    OWN = "own"
    """On none: everybody who is signed in, about what is their own."""


@dataclass(frozen=True)
class Call:
    """One admin API call as a handler sees it."""

    principal: Principal
    path: Mapping[str, str] = field(default_factory=dict)
    """Path variables, percent-decoded."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Declared query parameters that were sent; a repeated or undeclared one never gets here."""
    body: Any = None  # Any: an instance of the endpoint's `body` type, checked before the handler runs.
    asked: list[Permission] = field(default_factory=list, compare=False, repr=False)
    """What was asked of the principal's grants so far; an endpoint of Reach.OBJECT whose handler asked nothing is
    refused as a defect."""
    address: str = ""
    """Where it came from: the other end of the connection, which may be a proxy; empty from inside the server."""

    def require(self, permission: Permission, scope: Scope, unknown: Refused | None = None) -> None:
        """Go on only if the principal may do it to an object that lies in `scope`.

        Raises:
            Refused: `unknown` (what the handler says of an object that is not there) if no grant reaches the object,
                so that ids of others tell nothing; else `forbidden`.
        """
        self.asked.append(permission)
        if self.principal.may(permission, scope):
            return
        if not self.principal.sees(scope):
            raise unknown or Refused(AdminCode.NOT_FOUND, "there is no such thing")
        raise forbidden(self.principal, permission, scope)

    def only(self, permission: Permission, items: Iterable[T], scope_of: Callable[[T], Scope]) -> list[T]:
        """Those of the items that the principal may do it to."""
        self.asked.append(permission)
        return [item for item in items if self.principal.may(permission, scope_of(item))]


def forbidden(principal: Principal, permission: Permission, scope: Scope | None = None) -> Refused:
    """The refusal of who may not, with the command that tells why; None = on no scope at all."""
    where = "" if scope is None else f" on {scope}"
    return Refused(
        AdminCode.FORBIDDEN,
        f"{principal.name!r} may not {permission.value}{where}",
        hint=f"`lineclear can {principal.name} {permission.value} {scope or 'platform'}` says why",
    )


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
    reach: Reach = Reach.PLATFORM

    def demand(self, principal: Principal) -> None:
        """Let in who may call this at all; of a single object the handler asks.

        Raises:
            Refused: `forbidden`.
        """
        if self.permission is Permission.PUBLIC or self.reach is Reach.OWN:
            return
        if self.reach is Reach.PLATFORM:
            if not principal.may(self.permission, PLATFORM):
                raise forbidden(principal, self.permission, PLATFORM)
        elif not principal.may_somewhere(self.permission):
            raise forbidden(principal, self.permission)

    def answer_to(self, call: Call) -> object:
        """What the handler says.

        Raises:
            RuntimeError: it is a defect: the handler did not ask whether the principal may.
            Refused: what the handler says.
        """
        answer = self.handler(call)
        if self.reach is Reach.OBJECT and not call.asked:
            raise RuntimeError(f"{self.method} {self.path} answered without asking for {self.permission.value}")
        return answer


def at_most(calls_max: int, handler: Callable[[Call], object]) -> Callable[[Call], object]:
    """The handler of a call that waits for somebody else: so many at a time, so that others keep their threads.

    One more raises Refused with `unavailable` at once, without waiting.
    """
    places = threading.BoundedSemaphore(calls_max)

    def handle(call: Call) -> object:
        if not places.acquire(blocking=False):
            raise Refused(
                AdminCode.UNAVAILABLE,
                f"{calls_max} calls of this kind are waiting for their answers already",
                hint="try again when one of them has come back",
            )
        try:
            return handler(call)
        finally:
            places.release()

    return handle


def row_limit(call: Call, row_limit_default: int, row_limit_max: int, name: str = "limit") -> int:
    """The `limit` parameter of a list, or another one that is meant so.

    Raises:
        Refused: `invalid_request` if it is not a number from 1 to `row_limit_max`.
    """
    text = call.query.get(name, str(row_limit_default))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= row_limit_max:
        raise Refused(AdminCode.INVALID_REQUEST, f"{name} must be a number from 1 to {row_limit_max}, not {text!r}")
    return int(text)


def check_endpoints(endpoints: Sequence[Endpoint]) -> None:
    """Refuse a table that cannot be served safely; called before control starts to listen.

    Raises:
        ValueError: naming the endpoint, if one has no permission or no reach, is public outside health answers,
            has a malformed path or method, or stands twice.
    """
    seen: set[tuple[str, str]] = set()
    for endpoint in endpoints:
        name = f"{endpoint.method} {endpoint.path}"
        if not isinstance(endpoint.permission, Permission):
            raise ValueError(f"{name} declares no permission")  # noqa: TRY004 - one kind of refusal for the table
        if not isinstance(endpoint.reach, Reach):
            raise ValueError(f"{name} does not declare on what its permission has to be held")  # noqa: TRY004 - as above
        if (endpoint.permission is Permission.SELF) != (endpoint.reach is Reach.OWN):
            raise ValueError(f"{name} must name {Permission.SELF.value} if it is about one's own, and only then")
        if endpoint.permission is Permission.PUBLIC and endpoint.path.startswith(API_ROOT):
            raise ValueError(f"{name} is public; only health answers outside {API_ROOT} may be")
        if endpoint.method not in _METHODS or not _PATH.fullmatch(endpoint.path):
            raise ValueError(f"{name} is not a method of {sorted(_METHODS)} on a lower-case path")
        shape = (endpoint.method, re.sub(r"\{[a-z_]+\}", "{}", endpoint.path))
        if shape in seen:
            raise ValueError(f"{name} stands twice")
        seen.add(shape)
