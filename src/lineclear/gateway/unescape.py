"""The arguments of a tool call as their reader will see them: JSON's escapes undone while the text still grows.

In: pieces of JSON text. Out: the same text with the characters that its escapes stand for. What is no escape stays as
it is. Must not: judge whether it is JSON.
"""

import re
from typing import Final

_ESCAPE: Final = re.compile(
    r"\\u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\u(?P<code>[0-9a-fA-F]{4})"
    r"|\\(?P<short>.)",
    re.DOTALL,
)
"""Source: RFC 8259, section 7."""
_COMPLETE: Final = re.compile(
    r"(?:[^\\]+"
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}(?!\Z|\\\Z|\\u[0-9a-fA-F]{0,3}\Z)"
    r"|\\u(?![dD][89abAB])[0-9a-fA-F]{4}"
    r"|\\u(?![0-9a-fA-F]{0,3}\Z)(?![0-9a-fA-F]{4})"
    r"|\\[^u])*"
)
_SHORT: Final = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Unescape:
    """One growing text."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting = ""
        """The beginning of an escape whose rest has yet to come."""

    def take(self, piece: str, *, is_last: bool = False) -> str:
        """What one more piece adds; with `is_last` nothing follows, and nothing waits."""
        text = self.waiting + piece
        if "\\" not in text:
            return text
        complete = _COMPLETE.match(text)
        end = len(text) if is_last or complete is None else complete.end()
        self.waiting = text[end:]
        return _ESCAPE.sub(_character, text[:end])


def _character(escape: re.Match[str]) -> str:
    high, low, code, short = escape.group("high", "low", "code", "short")
    if high is not None:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    if code is not None:
        return chr(int(code, 16))
    return _SHORT.get(short, escape.group())
