"""Words that the dialects say for themselves: roles, kinds, names of models, reasons to stop. Nobody said them.

In: a text and the names of the fields that lead to it. Out: whether it is such a word, which no deny list means.
Must not: take what stands in an object of the caller's or the model's own for one.
"""

import re
from typing import Final

OWN_FIELDS: Final = frozenset({"arguments", "input", "metadata", "parsed", "structured_content"})
"""What is below them is somebody's own object: a field `type` there may say anything."""
ANSWER_FIELDS: Final = frozenset(
    {
        "call_id", "event", "finish_reason", "format", "id", "index", "model", "native_finish_reason", "object",
        "provider", "role", "service_tier", "severity", "status", "stop_reason", "stop_sequence", "system_fingerprint",
        "tool_call_id", "tool_use_id", "type",
    }
)  # fmt: skip
"""Fields of an answer that hold a word of a protocol."""
NAME_PLACES: Final = frozenset({("content_block", "name"), ("function", "name"), ("function_call", "name")})
"""Where a tool that was offered is called by its name, besides a whole answer's `content`."""
ANSWER_WORD_CHARS_MAX: Final = 64
REQUEST_FIELDS: Final = frozenset(
    {
        "detail", "encoding_format", "object", "reasoning_effort", "role", "service_tier", "tool_choice", "type",
        "verbosity",
    }
)  # fmt: skip
"""Fields of a request that hold a word of a protocol."""
REQUEST_WORD: Final = re.compile(r"[a-z][a-z_]{0,22}(?:_[0-9]{8})?")
"""As `user` or `web_search_20250305`: too short for any secret's format, too few digits for any number."""


def is_word_of_answer(path: tuple[str, ...], text: str) -> bool:
    """Whether a text of an answer is one short word in a field of the protocol; at the top it may be several words."""
    if len(text) > ANSWER_WORD_CHARS_MAX or not is_field_of_answer(path):
        return False
    return len(path) == 1 or len(text.split()) <= 1


def is_field_of_answer(path: tuple[str, ...]) -> bool:
    """Whether the protocol says what stands in this field of an answer; `path` as of `Leaf`."""
    if not path or not OWN_FIELDS.isdisjoint(path):
        return False
    return path[-1] in ANSWER_FIELDS or path[-2:] in NAME_PLACES or path == ("content", "name") or path[0] == "usage"


def is_word_of_request(name: str, text: str) -> bool:
    """Whether a text of a request, in no object of its caller's own, is nothing but a word of the protocol."""
    return name in REQUEST_FIELDS and REQUEST_WORD.fullmatch(text) is not None
