"""Step `head`: what the request's header fields say, before any body is read.

In: net's Request. Out: Head. Must not: look anything up. Grammar: architecture §6 and decision 52.
"""

import re
from urllib.parse import unquote_to_bytes

import msgspec

from lineclear.domain.catalogue import DataClass
from lineclear.domain.errors import CallerError, ErrorCode
from lineclear.domain.exchange import Operation
from lineclear.net.server import Request

FACT_BYTES_MAX = 1024
"""Longest caller fact kept; a longer one is refused."""
VARIABLE_BYTES_MAX = 8 * 1024
"""Longest prompt variable, decoded."""
TIMEOUT_MS_MAX = 3_600_000

_OTHER_KEY_FIELDS = (b"x-api-key", b"api-key", b"x-goog-api-key")
_OTHER_KEY_NAMES = frozenset(_OTHER_KEY_FIELDS)
_DATA_CLASSES = {data_class.value.encode(): data_class for data_class in DataClass}
_KEY_PARAMETERS = (b"key=", b"api_key=", b"api-key=", b"apikey=", b"access_token=")
_PASSED_ON = frozenset({b"anthropic-version", b"anthropic-beta", b"openai-beta", b"traceparent", b"tracestate"})
"""Request fields that travel to the vendor as they are. Source: research/protocols.md §6."""
_OURS = b"x-lineclear-"
_VARIABLE = b"x-lineclear-var-"
_TASK, _USER, _SESSION, _TAGS = b"x-lineclear-task", b"x-lineclear-user", b"x-lineclear-session", b"x-lineclear-tags"
_DATA_CLASS, _TIMEOUT_MS = b"x-lineclear-data-class", b"x-lineclear-timeout-ms"
_SIMULATE, _INBOUND_ID, _TRACEPARENT = b"x-lineclear-simulate", b"x-request-id", b"traceparent"
_RELEASE, _PRIORITY = b"x-lineclear-release", b"x-lineclear-priority"
_PRIORITIES = (b"critical", b"interactive", b"batch", b"best_effort")
"""Source: research/reliability-security.md §3, priority."""
_RELEASE_ID = re.compile(rb"rel_[0-9a-f]{16}")
_IDEMPOTENCY_KEY = b"idempotency-key"
_PLAIN = frozenset({_TASK, _DATA_CLASS}) | frozenset(
    b"host authorization content-type content-length accept accept-encoding user-agent connection x-api-key api-key "
    b"x-stainless-lang x-stainless-package-version x-stainless-os x-stainless-arch x-stainless-runtime "
    b"x-stainless-runtime-version x-stainless-async x-stainless-retry-count x-stainless-read-timeout "
    b"x-stainless-timeout".split()
)
"""Fields that nearly every client sends. Only where there are others does anybody have to look for them."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """Facts of the request's head. Empty text = not given."""

    request_id: str
    operation: Operation
    key: str
    task: str
    data_class: DataClass | None
    user: str = ""
    session: str = ""
    tags: str = ""
    timeout_ms: int | None = None
    simulate: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    inbound_id: str = ""
    traceparent: str = ""
    passed_on: bytes = b""
    """Header lines for the vendor, each ending in CRLF."""
    echo: str = ""
    """The release that the app says it was configured by."""
    idempotency_key: str = ""


def read_head(request: Request, operation: Operation, request_id: str) -> Head:
    """Read the caller's key and facts.

    Raises:
        CallerError: CONFLICTING_CREDENTIALS, INVALID_HEADER, or INVALID_REQUEST for a key in the URL.
    """
    fields = request.headers
    key = caller_key(request)
    task = _text(_TASK, fields[_TASK]) if _TASK in fields else ""
    data_class = _data_class(fields[_DATA_CLASS]) if _DATA_CLASS in fields else None
    if fields.keys() <= _PLAIN:
        return Head(request_id, operation, key, task, data_class)
    variables, passed_on = _others(fields)
    return Head(
        request_id,
        operation,
        key,
        task,
        data_class,
        _text(_USER, fields[_USER]) if _USER in fields else "",
        _text(_SESSION, fields[_SESSION]) if _SESSION in fields else "",
        _text(_TAGS, fields[_TAGS]) if _TAGS in fields else "",
        _timeout_ms(fields[_TIMEOUT_MS]) if _TIMEOUT_MS in fields else None,
        _text(_SIMULATE, fields[_SIMULATE]) if _SIMULATE in fields else "",
        variables,
        _text(_INBOUND_ID, fields[_INBOUND_ID]) if _INBOUND_ID in fields else "",
        _text(_TRACEPARENT, fields[_TRACEPARENT]) if _TRACEPARENT in fields else "",
        passed_on,
        _release(fields[_RELEASE]) if _RELEASE in fields else "",
        _text(_IDEMPOTENCY_KEY, fields[_IDEMPOTENCY_KEY]) if _IDEMPOTENCY_KEY in fields else "",
    )


def read_key(request: Request, operation: Operation, request_id: str) -> Head:
    """The key alone, of a head whose other facts cannot be read or are not allowed.

    Raises:
        CallerError: CONFLICTING_CREDENTIALS, INVALID_API_KEY, or INVALID_REQUEST for a key in the URL.
    """
    return Head(request_id, operation, caller_key(request), "", None)


def _others(fields: dict[bytes, bytes]) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """Variables, and the lines for the vendor."""
    variables: list[tuple[str, str]] = []
    passed_on = b""
    for name, value in fields.items():
        if name in _PASSED_ON:
            passed_on += b"%b: %b\r\n" % (name, value)
        elif name.startswith(_VARIABLE):
            variables.append(_variable(name[len(_VARIABLE) :], value))
        elif name.startswith(_OURS):
            _text(name, value)  # without effect yet, and still held to the limits of a fact
            if name == _PRIORITY and value and value not in _PRIORITIES:
                raise _no_priority(value)
    return tuple(variables), passed_on


def _no_priority(value: bytes) -> CallerError:
    return CallerError(
        ErrorCode.INVALID_HEADER,
        f"{_text(_PRIORITY, value)[:64]!r} is not a priority",
        hint=f"one of: {b', '.join(_PRIORITIES).decode()}; or leave the field out",
        param="x-lineclear-priority",
    )


def caller_key(request: Request) -> str:
    """The caller's key from whichever of the four fields carries it; empty if none does.

    Raises:
        CallerError: CONFLICTING_CREDENTIALS if two fields differ; INVALID_REQUEST for a key in the URL.
    """
    if request.query:
        _refuse_key_in_query(request.query)
    fields = request.headers
    found = b""
    if b"authorization" in fields:
        scheme, _, found = fields[b"authorization"].partition(b" ")
        if scheme != b"Bearer" and scheme.lower() != b"bearer":
            raise CallerError(
                ErrorCode.INVALID_API_KEY,
                "the Authorization field does not carry a Bearer key",
                hint="send `Authorization: Bearer lc_…` or `x-api-key: lc_…`",
            )
        found = found.strip()
    if not _OTHER_KEY_NAMES.isdisjoint(fields):
        found = _only_key(fields, found)
    return found.decode("latin-1")


def _only_key(fields: dict[bytes, bytes], found: bytes) -> bytes:
    for name in _OTHER_KEY_FIELDS:
        if name in fields:
            value = fields[name].strip()
            if found and value != found:
                raise CallerError(
                    ErrorCode.CONFLICTING_CREDENTIALS,
                    "two header fields carry different keys, so it is unclear who is calling",
                    hint="send one key, in Authorization or in x-api-key",
                )
            found = value
    return found


def _refuse_key_in_query(query: bytes) -> None:
    lowered = b"&" + query.lower()
    if any(b"&" + name in lowered for name in _KEY_PARAMETERS):
        raise CallerError(
            ErrorCode.INVALID_REQUEST,
            "keys are not accepted in the URL, where logs and proxies keep them",
            hint="send the key in Authorization or x-api-key, and revoke the one that was in the URL",
        )


def _text(name: bytes, value: bytes) -> str:
    if len(value) > FACT_BYTES_MAX:
        raise CallerError(
            ErrorCode.INVALID_HEADER,
            f"header {name.decode('latin-1')!r} is longer than {FACT_BYTES_MAX} bytes",
            param=name.decode("latin-1"),
        )
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise CallerError(
            ErrorCode.INVALID_HEADER,
            f"header {name.decode('latin-1')!r} is not UTF-8",
            param=name.decode("latin-1"),
        ) from error


def _variable(name: bytes, value: bytes) -> tuple[str, str]:
    try:
        decoded = unquote_to_bytes(value).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CallerError(
            ErrorCode.INVALID_HEADER,
            f"prompt variable {name.decode('latin-1')!r} is not percent-encoded UTF-8",
            param="x-lineclear-var-" + name.decode("latin-1"),
        ) from error
    if len(decoded) > VARIABLE_BYTES_MAX:
        raise CallerError(
            ErrorCode.INVALID_HEADER,
            f"prompt variable {name.decode('latin-1')!r} is longer than {VARIABLE_BYTES_MAX} characters",
            param="x-lineclear-var-" + name.decode("latin-1"),
        )
    return name.decode("latin-1"), decoded


def _data_class(value: bytes) -> DataClass | None:
    found = _DATA_CLASSES.get(value)
    if found is not None or not value:
        return found
    raise CallerError(
        ErrorCode.INVALID_HEADER,
        f"{_text(_DATA_CLASS, value)!r} is not a data class",
        hint=f"one of: {', '.join(DataClass)}",
        param="x-lineclear-data-class",
    )


def _timeout_ms(value: bytes) -> int | None:
    text = _text(_TIMEOUT_MS, value)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:12]) <= TIMEOUT_MS_MAX):
        raise CallerError(
            ErrorCode.INVALID_HEADER,
            f"x-lineclear-timeout-ms {text[:32]!r} is not a whole number of milliseconds from 1 to {TIMEOUT_MS_MAX}",
            hint="send digits alone: 3000 is three seconds",
            param="x-lineclear-timeout-ms",
        )
    return int(text)


def _release(value: bytes) -> str:
    if value and not _RELEASE_ID.fullmatch(value):
        raise CallerError(
            ErrorCode.INVALID_HEADER,
            f"{_text(_RELEASE, value)[:64]!r} is no release",
            hint="echo `release` of GET /v1/routes/{route}/config as it came, or leave the field out",
            param="x-lineclear-release",
        )
    return value.decode("ascii")
