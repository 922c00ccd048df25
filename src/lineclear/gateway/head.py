"""Step `head`: what the request's header fields say, before any body is read.

In: net's Request. Out: Head. Must not: look anything up. Grammar: architecture §6 and decision 52.
"""

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
_DATA_CLASSES = {data_class.value: data_class for data_class in DataClass}
_KEY_PARAMETERS = (b"key=", b"api_key=", b"api-key=", b"apikey=", b"access_token=")
_PASSED_ON = frozenset({b"anthropic-version", b"anthropic-beta", b"openai-beta", b"traceparent", b"tracestate"})
"""Request fields that travel to the vendor as they are. Source: research/protocols.md §6."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """Facts of the request's head. Empty text = not given."""

    request_id: str
    operation: Operation
    key: str
    task: str
    data_class: DataClass | None
    user: str
    session: str
    tags: str
    timeout_ms: int | None
    simulate: str
    variables: tuple[tuple[str, str], ...]
    inbound_id: str
    traceparent: str
    passed_on: bytes
    """Header lines for the vendor, each ending in CRLF."""


def read_head(request: Request, operation: Operation, request_id: str) -> Head:
    """Read the caller's key and facts.

    Raises:
        CallerError: CONFLICTING_CREDENTIALS, INVALID_HEADER, or INVALID_REQUEST for a key in the URL.
    """
    fields = request.headers
    facts: dict[bytes, str] = {}
    variables: tuple[tuple[str, str], ...] = ()
    passed_on = b""
    for name, value in fields.items():
        if name in _PASSED_ON:
            passed_on += name + b": " + value + b"\r\n"
        elif name.startswith(b"x-lineclear-"):
            if name.startswith(b"x-lineclear-var-"):
                variables += (_variable(name[16:], value),)
            else:
                facts[name] = _text(name, value)
    given = facts.get
    data_class, timeout_ms = given(b"x-lineclear-data-class"), given(b"x-lineclear-timeout-ms")
    return Head(
        request_id=request_id,
        operation=operation,
        key=caller_key(request),
        task=given(b"x-lineclear-task", ""),
        data_class=_data_class(data_class) if data_class else None,
        user=given(b"x-lineclear-user", ""),
        session=given(b"x-lineclear-session", ""),
        tags=given(b"x-lineclear-tags", ""),
        timeout_ms=_timeout_ms(timeout_ms) if timeout_ms else None,
        simulate=given(b"x-lineclear-simulate", ""),
        variables=variables,
        inbound_id=_text(b"x-request-id", fields[b"x-request-id"]) if b"x-request-id" in fields else "",
        traceparent=_text(b"traceparent", fields[b"traceparent"]) if b"traceparent" in fields else "",
        passed_on=passed_on,
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
        if scheme.lower() != b"bearer":
            raise CallerError(
                ErrorCode.INVALID_API_KEY,
                "the Authorization field does not carry a Bearer key",
                hint="send `Authorization: Bearer lc_…` or `x-api-key: lc_…`",
            )
        found = found.strip()
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
    return found.decode("latin-1")


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
        return value.decode("ascii") if value.isascii() else value.decode("utf-8")
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


def _data_class(text: str) -> DataClass:
    found = _DATA_CLASSES.get(text)
    if found is not None:
        return found
    raise CallerError(
        ErrorCode.INVALID_HEADER,
        f"{text!r} is not a data class",
        hint=f"one of: {', '.join(DataClass)}",
        param="x-lineclear-data-class",
    )


def _timeout_ms(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:12]) <= TIMEOUT_MS_MAX):
        raise CallerError(
            ErrorCode.INVALID_HEADER,
            f"x-lineclear-timeout-ms {text[:32]!r} is not a whole number of milliseconds from 1 to {TIMEOUT_MS_MAX}",
            param="x-lineclear-timeout-ms",
        )
    return int(text)
