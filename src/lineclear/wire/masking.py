"""Texts of an answer replaced where they stand, whole or in one frame of a stream.

In: bytes of a vendor and pairs of text. Out: bytes that say the same but for these texts. The one place where an
answer is edited, and only for a guardrail that takes something out of it.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from lineclear.wire.sse import fields

TEXT_FIELDS: Final = frozenset({"content", "text", "refusal", "reasoning_content", "reasoning", "thinking"})
"""Where the dialects keep text that a person reads."""
ECHO_FIELDS: Final = frozenset({"logprobs", "reasoning_details"})
"""Where the same text stands a second time, cut up otherwise; left out of an edited answer."""
_ENCODE = msgspec.json.Encoder().encode


class NotReplaced(ValueError):
    """A text does not stand where a person reads it; the answer must not go out."""


def replace_in_body(body: bytes, texts: Mapping[str, str]) -> bytes:
    """A whole answer with each of these texts replaced wherever it is a whole field.

    Raises:
        NotReplaced: if one of them is nowhere.
    """
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise NotReplaced("the answer is not JSON") from error
    missing = set(texts)
    edited = _edit(tree, texts, missing)
    if missing:
        raise NotReplaced("a text to be replaced is not a field of the answer")
    return _ENCODE(edited)


def replace_in_frame(raw: bytes, texts: Mapping[str, str]) -> bytes:
    """One frame of a stream, edited likewise; its event name stays.

    Raises:
        NotReplaced: as `replace_in_body`.
    """
    name, data = fields(raw)
    if data is None:
        raise NotReplaced("the frame has no data")
    head = b"event: " + name + b"\n" if name else b""
    return head + b"data: " + replace_in_body(data, texts) + b"\n\n"


def _edit(value: Any, texts: Mapping[str, str], missing: set[str]) -> Any:
    if isinstance(value, dict):
        return {
            key: _text(child, texts, missing)
            if key in TEXT_FIELDS and isinstance(child, str)
            else _edit(child, texts, missing)
            for key, child in value.items()
            if key not in ECHO_FIELDS
        }
    if isinstance(value, list):
        return [_edit(child, texts, missing) for child in value]
    return value


def _text(text: str, texts: Mapping[str, str], missing: set[str]) -> str:
    if text not in texts:
        return text
    missing.discard(text)
    return texts[text]
