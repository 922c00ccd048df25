"""What an answer says beside its canonical events: citations, tool names, transcripts, fields that we do not know.

In: bytes of a guarded answer and the texts of its events. Out: findings in everything else that is text. Nothing there
is edited or held back: it is checked before its event goes on, with what stood in the same field just before.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from lineclear.checks.finding import Detector, Finding
from lineclear.checks.window import Window
from lineclear.gateway.unescape import Unescape
from lineclear.wire.leaves import Leaf, leaves_of_body, leaves_of_frame
from lineclear.wire.masking import TEXT_FIELDS

ECHOES: Final = frozenset({"logprobs", "obfuscation"})
"""The pieces of a text that is checked as it stands, and padding of no meaning."""
SEALED: Final = re.compile(r"[A-Za-z0-9+/=_-]{200,}")
"""What in SEALED_FIELDS is no text, but base64."""
SEALED_FIELDS: Final = frozenset({"b64_json", "data", "encrypted_content", "signature"})
WHOLE_FIELDS: Final = frozenset(
    {
        "event", "finish_reason", "id", "model", "name", "object", "role", "service_tier", "stop_reason",
        "system_fingerprint", "tool_use_id", "type",
    }
)  # fmt: skip
"""Fields that each event has for itself; others may grow from event to event."""
ARGUMENT_FIELDS: Final = frozenset({"arguments", "partial_json"})
"""JSON as text: read without its escapes."""
TAIL_CHARS: Final = 256
"""Of a field that grows, looked at again with its next piece."""
FIELDS_MAX: Final = 256
"""Fields of one stream that are known by what they said before; the one that came first is forgotten first."""


class Beside:
    """One answer."""

    __slots__ = ("_before", "_detectors", "_frame")

    def __init__(self, detectors: Sequence[Detector]) -> None:
        self._detectors = detectors
        self._before: dict[tuple[str, ...], str] = {}
        self._frame = b"", b""
        """What stood before and behind the text of the last event that was nothing but a text."""

    def frame(self, raw: bytes, texts: Collection[str]) -> Iterator[Finding]:
        """What is found in an event of a stream that is none of `texts`.

        Raises:
            SaidTwice: it cannot be told what the event says.
        """
        if self._is_like_the_last(raw, texts):
            return
        for leaf in leaves_of_frame(raw):
            if not _is_said(leaf, texts):
                yield from self._grown(leaf)

    def _is_like_the_last(self, raw: bytes, texts: Collection[str]) -> bool:
        """Whether only its text differs from the event before; nearly every event of a stream is such a one."""
        if len(texts) != 1:
            return False
        (text,) = texts
        if '"' in text or "\\" in text or not text.isprintable():
            return False
        head, found, rest = raw.partition(b'"' + text.encode() + b'"')
        frame, self._frame = self._frame, (head, rest)
        return bool(found) and frame == (head, rest)

    def _grown(self, leaf: Leaf) -> Iterable[Finding]:
        text, known = _plain(leaf), self._before.get(leaf.path, "")
        is_whole = leaf.name in WHOLE_FIELDS
        if is_whole and text == known:
            return
        self._before[leaf.path] = text if is_whole else (known + text)[-TAIL_CHARS:]
        if len(self._before) > FIELDS_MAX:
            del self._before[next(iter(self._before))]
        yield from self._find(text)
        if known and not is_whole:
            yield from (finding for finding in self._find(known + text) if finding.end > len(known))

    def _find(self, text: str) -> Iterator[Finding]:
        yield from Window(self._detectors).take(text, is_last=True).findings


def texts_beside(body: bytes, texts: Collection[str]) -> Iterator[str]:
    """Each text of a whole answer that is none of `texts`.

    Raises:
        SaidTwice: it cannot be told what the answer says.
    """
    return (_plain(leaf) for leaf in leaves_of_body(body) if not _is_said(leaf, texts))


def _is_said(leaf: Leaf, texts: Collection[str]) -> bool:
    """Whether it is checked, and taken out where need be, as the text of an event; or no text at all."""
    if not ECHOES.isdisjoint(leaf.path) or (leaf.name in SEALED_FIELDS and SEALED.fullmatch(leaf.text)):
        return True
    return leaf.text in texts and (leaf.name in TEXT_FIELDS or leaf.name in ARGUMENT_FIELDS)


def _plain(leaf: Leaf) -> str:
    return Unescape().take(leaf.text, is_last=True) if leaf.name in ARGUMENT_FIELDS else leaf.text
