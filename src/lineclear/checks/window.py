"""A text that arrives in pieces, checked as it comes: what is found, and how far it can no longer change.

In: detectors, then pieces. Out: findings by place in the whole text, the same as if it had come at once. What is kept
is bounded by the longest thing that a detector can find.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from lineclear.checks.finding import CONTEXT_CHARS, Detector, Finding

TEXT_CHARS: Final = 512
"""What a text costs beside its characters: to begin one is 10 to 27 µs with every detector, however short it is."""


class Taken(msgspec.Struct, frozen=True, gc=False):
    """What one more piece made certain."""

    findings: tuple[Finding, ...]
    """New ones, by start."""
    settled_chars: int
    """Everything that begins before this place is found; more text cannot add to it."""


class Window:
    """Checks one growing text."""

    __slots__ = ("_base", "_detectors", "_done", "_early", "_text")

    def __init__(self, detectors: Sequence[Detector]) -> None:
        """At least one detector; nothing has come yet."""
        self._detectors = detectors
        self._done = [0] * len(detectors)
        self._text = ""
        self._base = 0
        self._early: list[Finding] = []
        """Found where another detector has yet to look, so that none would come out of order."""

    def take(self, piece: str, *, is_last: bool = False) -> Taken:
        """Check one more piece; with `is_last` nothing follows, and all of it is settled."""
        text = self._text = self._text + piece
        base = self._base
        found = self._early
        for place, detector in enumerate(self._detectors):
            stop = len(text) if is_last else detector.open_at(text)
            start = self._done[place] - base
            if stop > start:
                for one in detector.find(text, start, stop):
                    found.append(Finding(one.start + base, one.end + base, one.detector))
                self._done[place] = base + stop
        settled_chars = min(self._done)
        surplus = settled_chars - base - CONTEXT_CHARS
        if surplus > 0:
            self._text = text[surplus:]
            self._base += surplus
        if not found:
            return Taken((), settled_chars)
        found.sort(key=_by_place)
        count = sum(one.start < settled_chars for one in found)
        self._early = found[count:]
        return Taken(tuple(found[:count]), settled_chars)


class Span(msgspec.Struct, frozen=True, gc=False):
    """A stretch that findings cover without a gap, and the name of the first of them."""

    start: int
    end: int
    detector: str


def merge(spans: Iterable[Span], findings: Iterable[Finding]) -> tuple[Span, ...]:
    """Spans of all findings so far; both in order, and no new finding begins before the last span."""
    merged = list(spans)
    for finding in findings:
        if merged and finding.start < merged[-1].end:
            last = merged[-1]
            merged[-1] = Span(last.start, max(last.end, finding.end), last.detector)
        else:
            merged.append(Span(finding.start, finding.end, finding.detector))
    return tuple(merged)


def masked(text: str, start: int, spans: Iterable[Span]) -> str:
    """A piece that stands at `start` with what spans cover left out, and a label where each begins in it.

    The pieces of a text, each masked, make the whole text masked.
    """
    parts: list[str] = []
    at = 0
    for span in spans:
        begin, end = span.start - start, span.end - start
        if end <= at or begin >= len(text):
            continue
        parts.append(text[at : max(begin, at)])
        if begin >= 0:
            parts.append(label(span.detector))
        at = min(end, len(text))
    parts.append(text[at:])
    return "".join(parts)


def label(detector: str) -> str:
    """What stands in the place of something found."""
    return f"[{detector} removed]"


def _by_place(finding: Finding) -> tuple[int, int, str]:
    return finding.start, finding.end, finding.detector
