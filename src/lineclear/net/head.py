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
LINES_MAX = 8192
"""How many head lines are remembered; then it begins anew, so that lines of the past do not fill it."""
LINE_BYTES_REMEMBERED = 512
NEVER_LEARNED = frozenset((b"transfer-encoding", b"upgrade", b"expect", b"proxy-connection", b"trailer"))
MISSES_MAX = 64
"""After so many heads in a row with a line not seen before, a connection asks no more."""


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
    lines = head.splitlines()
    lines.append(b"")
    # Cut at every kind of line end and joined with CRLF it is only the same if there was no other kind.
    return b"\r\n".join(lines) == head and 0 < lines.index(b"") == len(lines) - 2


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


class KnownLines:
    """Head lines that llhttp has tokenized before, by their exact bytes: most heads of a peer differ in a line or two.

    What it recalls is what llhttp made of the same bytes; it reads nothing by itself. What says how a message ends or
    what becomes of its connection is never learned, so a head with such a line is always llhttp's to read.
    """

    __slots__ = ("_field_of", "_fields", "_starts")

    def __init__(self) -> None:
        self._starts: dict[bytes, tuple[bytes, ...]] = {}
        self._fields: dict[bytes, tuple[bytes, bytes]] = {}
        self._field_of = self._fields.__getitem__

    def recall(self, lines: list[bytes]) -> tuple[tuple[bytes, ...], dict[bytes, bytes]] | None:
        """What was made of a head's first line, and its fields.

        None if a line was not seen yet, or two have the same name.
        """
        start = self._starts.get(lines[0])
        if start is None:
            return None
        try:
            fields = dict(map(self._field_of, lines[1:]))
        except KeyError:
            return None
        return (start, fields) if len(fields) == len(lines) - 1 else None

    def learn(self, lines: list[bytes], start: tuple[bytes, ...], fields: dict[bytes, bytes]) -> None:
        """Remembers a head that was accepted: its first line, and each further line with the field it became.

        `fields` in the order in which they came. Nothing is learned where a line and its field do not match, as where
        a field was dropped or repeated.
        """
        if len(lines) != len(fields) + 1 or max(map(len, lines)) > LINE_BYTES_REMEMBERED:
            return
        learned = dict(zip(lines[1:], fields.items(), strict=True))
        if not all(_is_line_of(line, name, value) for line, (name, value) in learned.items()):
            return
        if len(self._fields) + len(self._starts) > LINES_MAX:
            self._starts.clear()
            self._fields.clear()
        self._starts[lines[0]] = start
        self._fields.update(learned)


def _is_line_of(line: bytes, name: bytes, value: bytes) -> bool:
    found, colon, rest = line.partition(b":")
    if name in NEVER_LEARNED or (name == b"connection" and value != b"keep-alive"):
        return False
    return colon == b":" and found.lower() == name and rest.strip(b" \t") == value


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
