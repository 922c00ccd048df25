"""Times as bars of text: each step after the one before it, each attempt below the step that made it.

In: an explanation. Out: lines as wide as they may be. Pure but for asking whether stdout can show blocks.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lineclear.cli.terminal import shown_text
from lineclear.domain.explained import STEPS

BAR_CHARS = 40
_NAME_CHARS = 30


@dataclass(frozen=True)
class Span:
    """One bar."""

    name: str
    start_ms: float
    duration_ms: float
    words: str


def spans_of(found: Mapping[str, Any]) -> Iterator[Span]:
    """Steps in their order, attempts below `attempt`. Any: the admin API's JSON."""
    start_ms = 0.0
    for step, duration_us in (found.get("steps_us") or {}).items():
        duration_ms = duration_us / 1000
        yield Span(step, start_ms, duration_ms, STEPS.get(step, ""))
        if step == "attempt":
            for one in found.get("attempts") or ():
                name = f"  {one['attempt']} {shown_text(one['model'])}"
                yield Span(name, one["start_ms"], one["duration_ms"], shown_text(one["attempt_class"]))
        start_ms += duration_ms


def waterfall_lines(found: Mapping[str, Any]) -> list[str]:
    """The bars, aligned; empty if no time was kept."""
    spans = list(spans_of(found))
    total_ms = max([found.get("duration_ms") or 0.0, *(span.start_ms + span.duration_ms for span in spans)], default=0)
    if not spans or total_ms <= 0:
        return []
    width = min(_NAME_CHARS, max(len(span.name) for span in spans))
    return [
        f"{span.name[:width]:<{width}}  {_bar(span, total_ms)}  {span.duration_ms:>10.3f} ms  {span.words}".rstrip()
        for span in spans
    ]


def _bar(span: Span, total_ms: float) -> str:
    full, short = ("█", "▏") if _shows_blocks() else ("#", "|")
    start = min(BAR_CHARS - 1, int(span.start_ms / total_ms * BAR_CHARS))
    length = min(BAR_CHARS - start, round(span.duration_ms / total_ms * BAR_CHARS))
    return (" " * start + (full * length or short)).ljust(BAR_CHARS)


def _shows_blocks() -> bool:
    return "utf" in (sys.stdout.encoding or "").lower()
