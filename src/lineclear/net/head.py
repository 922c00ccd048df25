"""The rules of a request's head that llhttp does not hold: pure checks on tokens.

In: what the parser found. Out: values, or the reason for a refusal as a sentence.
Source: RFC 9112 §2 to §6, RFC 9110 §7.2; decision 17; fault rows C11 and C14.
"""

import re

HOST = re.compile(
    rb"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9.])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?",
)
"""uri-host [":" port] without percent-encoding and sub-delims, which no name that we serve has."""

FIELD_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
FORBIDDEN_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
NAMES_MAX = 1024
"""How many spellings of field names are remembered."""
NAME_BYTES_REMEMBERED = 64
HOSTS_MAX = 256
"""How many good Host values are remembered."""


def field(name: bytes, value: bytes) -> bytes:
    """One head line `name: value CRLF` that cannot become two.

    Raises:
        ValueError: the name is not a token, or the value holds a control character.
    """
    if FIELD_NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no field name (RFC 9110 §5.1)")
    if FORBIDDEN_IN_VALUE.search(value) is not None:
        raise ValueError(f"the value of {name!r} holds a control character (RFC 9110 §5.5)")
    return b"%b: %b\r\n" % (name, value)


def is_one_head(head: bytes) -> bool:
    """Whether the bytes are one head: lines ended by CRLF, and the only empty line is the last."""
    return head.find(b"\r\n\r\n") == len(head) - 4 and head.count(b"\n") == head.count(b"\r\n") == head.count(b"\r")


class FieldNames:
    """Spelling as received → lower-case name, or b"" for a field that is dropped.

    A name with an underscore is dropped: behind us it may be taken for its twin with a hyphen.
    """

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known: dict[bytes, bytes] = {}

    def learn(self, name: bytes) -> bytes:
        """The lower-case name or b""; remembers the spelling while there is room."""
        lower = b"" if b"_" in name else name.lower()
        if len(self.known) < NAMES_MAX and len(name) <= NAME_BYTES_REMEMBERED:
            self.known[name] = lower
        return lower


def host_problem(host: bytes | None, *, is_required: bool) -> str:
    """Why this Host is refused; empty if it is good."""
    if host is None:
        return "the Host header is missing" if is_required else ""
    if HOST.fullmatch(host) is None:
        return "the Host header is not a host name or address with an optional port"
    return ""


def target_problem(target: bytes) -> str:
    """Why this request target is refused; empty if it is in origin form."""
    if not target.startswith(b"/"):
        return "the request target must be a path that starts with a slash"
    if b"#" in target:
        return "the request target holds a fragment"
    return ""


def framing_problem(transfer_encoding: bytes | None, content_length: bytes | None, *, is_http_11: bool) -> str:
    """Why the length of this message cannot be trusted; empty if it can.

    Source: RFC 9112 §6.1 and §6.3; both headers at once are refused instead of repaired.
    """
    if transfer_encoding is not None:
        if not is_http_11:
            return "Transfer-Encoding needs HTTP/1.1"
        if content_length is not None:
            return "Transfer-Encoding and Content-Length exclude each other"
        if transfer_encoding.lower() != b"chunked":
            return "the only Transfer-Encoding served is chunked"
    elif content_length is not None and not (content_length.isdigit() and len(content_length) <= 18):
        return "Content-Length is not a plain decimal number"
    return ""
