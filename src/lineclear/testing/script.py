"""What a scripted upstream does with one dispatch, written as `key=value,key=value`.

In: a directive's text, from a target's script or from `[[…]]` inside a prompt; `%2C` stands for a comma in a
value. Out: a frozen `Script`.
A word this file does not know is an error: a fault that silently does not happen proves nothing.
"""

from dataclasses import dataclass, fields
from urllib.parse import unquote


@dataclass(frozen=True)
class Script:
    """One dispatch's behaviour; every field at its default is a plain good answer."""

    tokens: int = 16
    """Content events of a stream, words of a whole answer."""
    text: str = ""
    """What is answered, cut into `tokens` pieces; empty = `w0 w1 …`."""
    token_bytes: int = 0
    """Pad every token's text to this many bytes; 0 = as it comes."""
    delay_ms: int = 0
    """Wait before the response head."""
    event_delay_ms: int = 0
    """Wait before each content event."""
    trickle_ms: int = 0
    """Send the body one byte at a time with this wait between bytes; 0 = whole writes."""
    status: int = 200
    error_type: str = ""
    """The vendor's type or code in an error body; empty = the usual one for the status."""
    retry_after: str = ""
    """Text of the `retry-after` header; empty = no header."""
    retry_after_ms: str = ""
    hang: bool = False
    """Read the request and never answer."""
    hang_after: int = -1
    """Go silent after this many content events; -1 = never."""
    cut_after: int = -1
    """Close cleanly after this many content events (stream) or body bytes (whole)."""
    rst_after: int = -1
    """As `cut_after`, with a reset."""
    reset_head: bool = False
    """Reset the connection inside the response head."""
    end_after: int = -1
    """End the stream cleanly after this many content events, without stop reason and end marker."""
    error_after: int = -1
    """Send the dialect's error event after this many content events and end; 0 = before any content."""
    at_once: bool = False
    """Send all of a stream in one write, so that it arrives in one read."""
    malformed_after: int = -1
    """Insert one event that is not JSON after this many content events."""
    no_terminator: bool = False
    """End the stream cleanly without its end marker."""
    html: bool = False
    """Answer 200 with a page instead of JSON."""
    no_usage: bool = False
    """Leave the usage out."""
    close_reused: bool = False
    """Close without an answer when the request came on a connection that was used before."""
    close_after: bool = False
    """Close the connection after the answer without having said so."""


def parse_script(text: str) -> Script:
    """Read a directive such as `status=503,retry-after=2` or `hang`.

    Raises:
        ValueError: for a word or value that is not in `Script`.
    """
    kinds = {field.name: field.type for field in fields(Script)}
    values: dict[str, int | str | bool] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        word, equals, value = part.partition("=")
        name = word.replace("-", "_")
        kind = kinds.get(name)
        if kind is None:
            raise ValueError(f"{word!r} is not a word of an upstream script; known: {sorted(kinds)}")
        if kind is bool or kind == "bool":
            if equals:
                raise ValueError(f"{word!r} takes no value")
            values[name] = True
        elif kind is int or kind == "int":
            values[name] = int(value)
        else:
            values[name] = unquote(value)
    return Script(**values)  # type: ignore[arg-type]  # kinds were checked word by word above
