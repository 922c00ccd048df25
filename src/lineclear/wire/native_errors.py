"""Reads what vendors say in words: their error bodies, whatever shape they chose, and names of any type.

In: the body of a 4xx or 5xx answer, an `error` value of a stream. Out: code or type, and message, cut to
their limits. Must not: raise, or trust a word of it.
Source: research/protocols.md §4.
"""

from typing import Any

import msgspec

from lineclear.domain.exchange import Failed

ERROR_BODY_BYTES_MAX = 64 * 1024
"""A larger error body is not read."""
MESSAGE_CHARS_MAX = 2_000
CODE_CHARS_MAX = 100
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding a vendor's JSON can raise: wrong, not UTF-8, or nested without end."""
NAME_CHARS_MAX = 256
"""Ids, models and reasons of a vendor are cut here: they go on record."""


def error_object(body: bytes) -> dict[str, Any] | None:
    """The object that holds message and code; None if the body is no error body in JSON."""
    if len(body) > ERROR_BODY_BYTES_MAX:
        return None
    try:
        value = msgspec.json.decode(body)
    except UNREADABLE:
        return None
    if isinstance(value, list) and value:
        # Gemini's OpenAI surface wraps errors in an array.
        value = value[0]
    if not isinstance(value, dict):
        return None
    inner = value.get("error", value.get("detail"))
    if isinstance(inner, dict):
        return inner
    if isinstance(inner, str):
        return {**value, "message": inner}
    return value if isinstance(value.get("message"), str) else None


def read_native_error(body: bytes) -> tuple[str, str]:
    """(native code or type, message), both cut to their limits, both empty if the body cannot be read."""
    error = error_object(body)
    if error is None:
        return "", ""
    message = error.get("message")
    return native_code(error), message[:MESSAGE_CHARS_MAX] if isinstance(message, str) else ""


def native_code(error: dict[str, Any]) -> str:
    """`code` if it is a text, else `type`, else Gemini's `status`; empty if there is none."""
    for name in ("code", "type", "status"):
        value = error.get(name)
        if isinstance(value, str) and value and value != "error":
            return value[:CODE_CHARS_MAX]
    return ""


def failure(error: object) -> Failed:
    """What an `error` value inside an answer says: an object, sometimes a bare text."""
    if not isinstance(error, dict):
        return Failed(native_name(error) or "error", "")
    message = error.get("message")
    said = message[:MESSAGE_CHARS_MAX] if isinstance(message, str) else ""
    return Failed(said or "error", native_code(error))


def native_name(value: object) -> str:
    """A vendor's id, model or reason as text; empty for null."""
    if value is None:
        return ""
    return value[:NAME_CHARS_MAX] if isinstance(value, str) else str(value)[:NAME_CHARS_MAX]
