"""Our errors as HTTP: status, headers and a body in the caller's dialect. The one table of it.

In: a `LineclearError` and the request id. Out: `Problem`. Must not: show a credential, an internal address or
a target's 401. Source: design decision 28; research/protocols.md §4; reliability-security.md U16, U19, U20.
"""

import re
from typing import Any, Final

import msgspec

from lineclear.domain.errors import ErrorCode, LineclearError, UpstreamError
from lineclear.domain.exchange import Dialect
from lineclear.wire.native_errors import MESSAGE_CHARS_MAX, error_object, native_code

_ENCODE = msgspec.json.Encoder().encode


class Problem(msgspec.Struct, frozen=True, gc=False):
    """An answer that says what went wrong."""

    status: int
    head: bytes
    """Extra header lines, each ending in CRLF: content-type, retry-after, retry-after-ms, x-should-retry."""
    body: bytes


class Row(msgspec.Struct, frozen=True, gc=False):
    """How one error code looks from outside."""

    status: int
    openai_type: str
    anthropic_type: str
    should_retry: bool = False
    """What `x-should-retry` says to the official SDKs, which obey it."""
    retry_after_ms: int | None = None
    """The wait to name where the error names none."""


_BAD_REQUEST = Row(400, "invalid_request_error", "invalid_request_error")
_FORBIDDEN = Row(403, "permission_error", "permission_error")
_NOT_FOUND = Row(404, "not_found_error", "not_found_error")
_LIMITED = Row(429, "rate_limit_error", "rate_limit_error", should_retry=True, retry_after_ms=1_000)
_BAD_GATEWAY = Row(502, "server_error", "api_error")
_UNAVAILABLE = Row(503, "server_error", "api_error", should_retry=True, retry_after_ms=1_000)
_OVERLOADED = Row(503, "server_error", "overloaded_error", should_retry=True, retry_after_ms=1_000)

# An upstream error reaches the caller only after `recover` has spent the attempts, so it is not to be
# repeated at once; the exceptions name a time at which repeating makes sense.
ROWS: Final[dict[ErrorCode, Row]] = {
    ErrorCode.INVALID_REQUEST: _BAD_REQUEST,
    ErrorCode.INVALID_JSON: _BAD_REQUEST,
    ErrorCode.DUPLICATE_KEY: _BAD_REQUEST,
    ErrorCode.INVALID_HEADER: _BAD_REQUEST,
    ErrorCode.CONFLICTING_CREDENTIALS: _BAD_REQUEST,
    ErrorCode.SIMULATE_FORBIDDEN: _BAD_REQUEST,
    ErrorCode.TASK_REQUIRED: _BAD_REQUEST,
    ErrorCode.VARIABLE_MISSING: _BAD_REQUEST,
    ErrorCode.NOT_YET_SUPPORTED: _BAD_REQUEST,
    ErrorCode.OPERATION_NOT_SUPPORTED: _BAD_REQUEST,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: Row(415, "invalid_request_error", "invalid_request_error"),
    ErrorCode.INVALID_API_KEY: Row(401, "authentication_error", "authentication_error"),
    ErrorCode.BUDGET_EXCEEDED: Row(402, "insufficient_quota", "billing_error"),
    ErrorCode.TASK_NOT_ALLOWED: _FORBIDDEN,
    ErrorCode.DATA_CLASS_REFUSED: _FORBIDDEN,
    ErrorCode.USE_NOT_APPROVED: _FORBIDDEN,
    ErrorCode.MODEL_NOT_APPROVED: _FORBIDDEN,
    ErrorCode.MODEL_BLOCKED: _FORBIDDEN,
    ErrorCode.GUARDRAIL_BLOCKED: _FORBIDDEN,
    ErrorCode.POLICY_DENIED: _FORBIDDEN,
    ErrorCode.MODEL_RETIRED: Row(410, "not_found_error", "not_found_error"),
    ErrorCode.MODEL_NOT_FOUND: _NOT_FOUND,
    ErrorCode.NOT_FOUND: _NOT_FOUND,
    ErrorCode.METHOD_NOT_ALLOWED: Row(405, "invalid_request_error", "invalid_request_error"),
    ErrorCode.REQUEST_TIMEOUT: Row(408, "invalid_request_error", "invalid_request_error", should_retry=True),
    ErrorCode.BODY_TOO_LARGE: Row(413, "invalid_request_error", "request_too_large"),
    ErrorCode.URI_TOO_LONG: Row(414, "invalid_request_error", "invalid_request_error"),
    ErrorCode.HEADERS_TOO_LARGE: Row(431, "invalid_request_error", "invalid_request_error"),
    ErrorCode.RATE_LIMITED: _LIMITED,
    ErrorCode.CONCURRENCY_LIMITED: _LIMITED,
    ErrorCode.UPSTREAM_UNREACHABLE: _BAD_GATEWAY,
    ErrorCode.UPSTREAM_TIMEOUT: Row(504, "server_error", "timeout_error"),
    ErrorCode.UPSTREAM_AUTH: _BAD_GATEWAY,
    ErrorCode.UPSTREAM_QUOTA: _BAD_GATEWAY,
    ErrorCode.UPSTREAM_RATE_LIMITED: _LIMITED,
    ErrorCode.UPSTREAM_OVERLOADED: _OVERLOADED,
    ErrorCode.UPSTREAM_ERROR: _BAD_GATEWAY,
    ErrorCode.UPSTREAM_REFUSED: _BAD_REQUEST,
    ErrorCode.UPSTREAM_BAD_RESPONSE: _BAD_GATEWAY,
    ErrorCode.UPSTREAM_TRUNCATED: _BAD_GATEWAY,
    ErrorCode.NO_HEALTHY_TARGET: _OVERLOADED,
    # To be noticed, not to be waited for: clients that repeat it by themselves would hide it from their owners.
    ErrorCode.BROWNOUT: Row(503, "server_error", "api_error"),
    ErrorCode.OVERLOADED: _OVERLOADED,
    ErrorCode.ACCOUNTANT_UNAVAILABLE: _UNAVAILABLE,
    ErrorCode.LEDGER_UNAVAILABLE: _UNAVAILABLE,
    ErrorCode.CONTROL_UNAVAILABLE: _UNAVAILABLE,
    ErrorCode.SERVER_DRAINING: _UNAVAILABLE,
    ErrorCode.STOPPED: Row(503, "server_error", "api_error"),
    ErrorCode.NOT_READY: _UNAVAILABLE,
    ErrorCode.INTERNAL_ERROR: Row(500, "server_error", "api_error"),
}

PASSED_ON_STATUSES = frozenset({400, 404, 405, 409, 410, 413, 415, 422})
"""A target's own verdicts on the request, which the caller sees as they are. Never 401 or 403."""

_TYPES_BY_STATUS = {
    404: ("not_found_error", "not_found_error"),
    410: ("not_found_error", "not_found_error"),
    413: ("invalid_request_error", "request_too_large"),
}


def problem(dialect: Dialect, error: LineclearError, request_id: str) -> Problem:
    """The whole answer for an error, before anything else of the exchange has gone out."""
    row = ROWS[error.code]
    render = openai_error_body if dialect is Dialect.OPENAI else anthropic_error_body
    return Problem(_status(error, row), _head(error, row), render(error, request_id))


def status_of(error: LineclearError) -> int:
    """The HTTP status that `problem` would answer with."""
    return _status(error, ROWS[error.code])


def _status(error: LineclearError, row: Row) -> int:
    return _passed_on_status(error) or row.status


def _passed_on_status(error: LineclearError) -> int | None:
    if error.code is ErrorCode.UPSTREAM_REFUSED and isinstance(error, UpstreamError):
        return error.status if error.status in PASSED_ON_STATUSES else None
    return None


def _head(error: LineclearError, row: Row) -> bytes:
    """Header lines; `retry-after` in whole seconds rounded up, `retry-after-ms` exact."""
    head = (
        b"content-type: application/json\r\nx-should-retry: "
        + (b"true" if row.should_retry and not error.is_spent else b"false")
        + b"\r\n"
    )
    wait_ms = error.retry_after_ms if error.retry_after_ms is not None else row.retry_after_ms
    if wait_ms is None:
        return head
    wait_ms = max(wait_ms, 0)
    return head + b"retry-after: %d\r\nretry-after-ms: %d\r\n" % (-(-wait_ms // 1000), wait_ms)


def openai_error_body(error: LineclearError, request_id: str) -> bytes:
    """`{"error": {"message", "type", "param", "code", "hint", "request_id", …}}`; also the data of an error event."""
    row = ROWS[error.code]
    body: dict[str, Any] = {
        "message": error.message,
        "type": _types(error, row)[0],
        "param": error.param,
        "code": str(error.code),
    }
    body.update(_native_fields(error))
    body.update(_facts(error, request_id))
    return _ENCODE({"error": body})


def anthropic_error_body(error: LineclearError, request_id: str) -> bytes:
    """`{"type": "error", "error": {"type", "message", "code", "hint", …}, "request_id"}`."""
    row = ROWS[error.code]
    body: dict[str, Any] = {
        "type": _types(error, row)[1],
        "message": error.message,
        "code": str(error.code),
        "param": error.param,
    }
    body.update(_native_fields(error))
    body.update(_facts(error, request_id))
    return _ENCODE({"type": "error", "error": body, "request_id": request_id})


def _types(error: LineclearError, row: Row) -> tuple[str, str]:
    status = _passed_on_status(error)
    return _TYPES_BY_STATUS.get(status or 0, (row.openai_type, row.anthropic_type))


def _facts(error: LineclearError, request_id: str) -> dict[str, Any]:
    """What both dialects carry beyond their own fields; absent where there is nothing to say."""
    facts: dict[str, Any] = {"hint": error.hint, "request_id": request_id}
    if error.rules:
        facts["rules"] = error.rules
    if error.successor is not None:
        facts["successor"] = error.successor
    if error.known_names:
        facts["known_names"] = error.known_names
    return facts


def _native_fields(error: LineclearError) -> dict[str, Any]:
    """A target's verdict on the request: its message, code, type and param, cleaned; empty if there is none.

    Callers branch on codes such as `context_length_exceeded`, so the target's code stands in `code`.
    """
    if _passed_on_status(error) is None or not isinstance(error, UpstreamError):
        return {}
    native = error_object(error.body)
    if native is None:
        return {}
    kept: dict[str, Any] = {}
    message = native.get("message")
    if isinstance(message, str) and message:
        kept["message"] = clean_text(message)
    code = native_code(native)
    if code:
        kept["code"] = clean_text(code)
    for name in ("type", "param"):
        value = native.get(name)
        if isinstance(value, str) and value and value != "error":
            kept[name] = clean_text(value)
    return kept


# Linear patterns over at most MESSAGE_CHARS_MAX characters.
_CREDENTIAL = re.compile(r"\b(?:(?:sk|pk|rk|gsk|xai|lc)[-_]|AIza|eyJ|Bearer )[A-Za-z0-9_\-.*]{12,}")
_USER_INFO = re.compile(r"(https?://)[^\s/@]+@")
_QUERY = re.compile(r"(https?://[^\s?\"'<>]+)\?[^\s\"'<>]*")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def clean_text(text: str) -> str:
    """A target's text without credentials, URL queries and control characters, cut to 2,000 characters."""
    text = _CONTROL.sub(" ", text[:MESSAGE_CHARS_MAX])
    text = _USER_INFO.sub(r"\1", text)
    text = _QUERY.sub(r"\1", text)
    return _CREDENTIAL.sub("[removed]", text)
