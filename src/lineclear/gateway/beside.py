"""What an answer says beside its canonical events: citations, tool names, transcripts, fields that we do not know.

In: bytes of a guarded answer and the texts of its events. Out: findings in everything else that is text. Nothing there
is edited or held back: it is checked before its event goes on, with what stood in the same field just before.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from lineclear.checks.finding import Detector, Finding
from lineclear.checks.window import TEXT_CHARS, Window
from lineclear.gateway.guardrails import Checks
from lineclear.gateway.protocol_words import is_field_of_answer, is_word_of_answer
from lineclear.gateway.unescape import Unescape
from lineclear.wire.leaves import Leaf, leaves_of_body, leaves_of_frame
from lineclear.wire.masking import TEXT_FIELDS

ECHOES: Final = frozenset({"logprobs", "obfuscation"})
"""The pieces of a text that is checked as it stands, and padding of no meaning."""
SEALED: Final = re.compile(r"[A-Za-z0-9+/=_-]{200,}")
"""What in SEALED_FIELDS is no text, but base64."""
SEALED_FIELDS: Final = frozenset({"b64_json", "data", "encrypted_content", "signature"})
ARGUMENT_FIELDS: Final = frozenset({"arguments", "partial_json"})
"""JSON as text: read without its escapes."""
SPOKEN_FIELDS: Final = TEXT_FIELDS | ARGUMENT_FIELDS | {"transcript"}
"""Text that grows, whatever it consists of; elsewhere digits after digits are a counter, and no number together."""
TAIL_CHARS: Final = 256
"""Of a field that grows, looked at again with its next piece."""
FIELDS_MAX: Final = 256
"""Fields of one stream that are known by what they said before; the one that came first is forgotten first."""
EVENT_CHARS_MAX: Final = 512 * 1024
"""Checked of one event, which is done without others in between; each text counts as TEXT_CHARS more than it has."""


class TooMuch(ValueError):
    """One event says more than is checked at a stretch."""


class Beside:
    """One answer."""

    __slots__ = ("_before", "_checks", "_frame")

    def __init__(self, checks: Checks) -> None:
        self._checks = checks
        self._before: dict[tuple[str, ...], str] = {}
        self._frame = b"", b""
        """What stood before and behind the text of the last event that was nothing but a text."""

    def frame(self, raw: bytes, texts: Collection[str]) -> Iterator[Finding]:
        """What is found in an event of a stream that is none of `texts`.

        Raises:
            SaidTwice: it cannot be told what the event says.
            TooMuch: it says too much; nothing beyond EVENT_CHARS_MAX was looked at.
        """
        if self._is_like_the_last(raw, texts):
            return
        left_chars = EVENT_CHARS_MAX
        for leaf in leaves_of_frame(raw):
            if not _is_said(leaf, texts):
                left_chars -= len(leaf.text) + TEXT_CHARS
                if left_chars < 0:
                    raise TooMuch("one event of it says more than is checked at a time")
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
        is_whole = leaf.name == "name" or is_field_of_answer(leaf.path)
        if is_whole and text == known:
            return
        self._before[leaf.path] = text if is_whole else (known + text)[-TAIL_CHARS:]
        if len(self._before) > FIELDS_MAX:
            del self._before[next(iter(self._before))]
        detectors = _detectors(self._checks, leaf)
        yield from _find(detectors, text)
        is_counter = leaf.name not in SPOKEN_FIELDS and text.isdecimal() and known.isdecimal()
        if known and not is_whole and not is_counter:
            yield from (finding for finding in _find(detectors, known + text) if finding.end > len(known))


def texts_beside(checks: Checks, body: bytes, texts: Collection[str]) -> Iterator[tuple[str, Sequence[Detector]]]:
    """Each text of a whole answer that is none of `texts`, and what it is held against.

    Raises:
        SaidTwice: it cannot be told what the answer says.
    """
    for leaf in leaves_of_body(body):
        if not _is_said(leaf, texts) and (detectors := _detectors(checks, leaf)):
            yield _plain(leaf), detectors


def _detectors(checks: Checks, leaf: Leaf) -> Sequence[Detector]:
    return checks.formats if is_word_of_answer(leaf.path, leaf.text) else checks.detectors


def _find(detectors: Sequence[Detector], text: str) -> Iterator[Finding]:
    if detectors:
        yield from Window(detectors).take(text, is_last=True).findings


def _is_said(leaf: Leaf, texts: Collection[str]) -> bool:
    """Whether it is checked, and taken out where need be, as the text of an event; or no text at all."""
    if not ECHOES.isdisjoint(leaf.path) or (leaf.name in SEALED_FIELDS and SEALED.fullmatch(leaf.text)):
        return True
    return leaf.text in texts and (leaf.name in TEXT_FIELDS or leaf.name in ARGUMENT_FIELDS)


def _plain(leaf: Leaf) -> str:
    return Unescape().take(leaf.text, is_last=True) if leaf.name in ARGUMENT_FIELDS else leaf.text
