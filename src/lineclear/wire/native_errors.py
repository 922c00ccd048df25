"""Reads the error bodies of vendors, whatever shape they chose.

In: the body of a 4xx or 5xx answer. Out: code or type, and message. Must not: raise, or trust a word of it.
Source: research/protocols.md §4.
"""

from typing import Any

import msgspec

ERROR_BODY_BYTES_MAX = 64 * 1024
"""A larger error body is not read."""
MESSAGE_CHARS_MAX = 2_000
CODE_CHARS_MAX = 100


def error_object(body: bytes) -> dict[str, Any] | None:
    """The object that holds message and code; None if the body is no error body in JSON."""
    if len(body) > ERROR_BODY_BYTES_MAX:
        return None
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
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
