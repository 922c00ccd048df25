"""What a detector is and what it finds.

In: a text, perhaps still growing. Out: findings by place. A detector keeps no state: whether something begins at a
place depends only on a bounded stretch of text around it, so that pieces and the whole text give the same findings.
"""

from collections.abc import Iterator
from typing import Protocol

import msgspec

CONTEXT_CHARS = 4
"""How far a detector may look back from where a finding begins."""


class Finding(msgspec.Struct, frozen=True, gc=False):
    """Something found at `start` to before `end`, in characters of the whole text."""

    start: int
    end: int
    detector: str


class Detector(Protocol):
    """One kind of thing to find."""

    @property
    def name(self) -> str:
        """What rules and findings call it."""
        ...

    def find(self, text: str, start: int, stop: int) -> Iterator[Finding]:
        """Findings that begin at `start` to before `stop`, in order; they may overlap.

        Args:
            text: what is here of the text; everything before `start` is context only.
            start: first place to look at.
            stop: at most what `open_at` said, or the length of a text that is complete.
        """
        ...

    def open_at(self, text: str) -> int:
        """The first place at which something may begin that more text would decide; the length if there is none.

        Bounded: never further from the end than the longest finding.
        """
        ...
