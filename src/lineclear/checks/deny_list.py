"""Phrases that must not occur, found in one pass however many there are (Aho and Corasick).

In: phrases. Out: a Detector. Case, the width of gaps and invisible characters make no difference. Linear in the text:
operators' phrases can never make a check slow (decision 18). Source: Aho, Corasick, CACM 18(6), 1975.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from lineclear.checks.finding import Finding

PHRASE_CHARS_MAX: Final = 200
GAP_CHARS_MAX: Final = 16
"""A longer run of spaces or invisible characters separates what stands around it."""

_BREAK = "\0"
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
_GAP = re.compile(rf"[\s\x00{_INVISIBLE}]+")
_UNEVEN = re.compile(rf"[^\S ]|\s\s|[\x00{_INVISIBLE}]")
_WORD = re.compile(r"[^\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""What makes up words that spaces part; in Thai, Lao, Burmese, Khmer, Chinese, Japanese and Korean they do not."""


class _Even(msgspec.Struct, frozen=True, gc=False):
    """A text without differences that do not count, and where each of its characters stood."""

    text: str
    places: list[int] | None
    """None = each where it stands now."""

    def place(self, index: int) -> int:
        return index if self.places is None else self.places[index]


def even(text: str) -> str:
    """A phrase or text as it is compared: lower case, single spaces, nothing invisible."""
    return _even(text).text.strip()


class DenyList:
    """Finds any of a set of phrases."""

    __slots__ = ("_chars_max", "_depths", "_ends", "_fails", "_steps", "_whole_words", "name")

    def __init__(self, name: str, phrases: Iterable[str], *, whole_words: bool = True) -> None:
        """Prepare the automaton.

        Args:
            name: what rules call it.
            phrases: at least one; each has something visible and at most `PHRASE_CHARS_MAX` characters.
            whole_words: a phrase inside a longer word does not count.
        """
        self.name = name
        self._whole_words = whole_words
        self._steps: list[dict[str, int]] = [{}]
        self._depths = [0]
        self._ends: list[tuple[int, ...]] = [()]
        longest = max(self._add(even(phrase)) for phrase in phrases)
        self._chars_max = longest * (GAP_CHARS_MAX + 1)
        self._fails = self._link()

    def find(self, text: str, start: int, stop: int) -> Iterator[Finding]:
        """See `Detector.find`."""
        evened = _even(text[start:])
        found: list[Finding] = []
        node = 0
        for index, character in enumerate(evened.text):
            node = self._next(node, character)
            if start + index - self._depths[node] >= stop:
                break
            for chars in self._ends[node]:
                begin, end = start + evened.place(index + 1 - chars), start + evened.place(index) + 1
                if begin < stop and not (self._whole_words and _is_inside_word(text, begin, end)):
                    found.append(Finding(begin, end, self.name))
        found.sort(key=lambda finding: (finding.start, finding.end))
        yield from found

    def open_at(self, text: str) -> int:
        """See `Detector.open_at`: where the longest beginning of a phrase starts that the text ends with."""
        first = max(0, len(text) - self._chars_max - 1)
        evened = _even(text[first:])
        node = 0
        for character in evened.text:
            node = self._next(node, character)
        depth = self._depths[node]
        return first + evened.place(len(evened.text) - depth) if depth else len(text)

    def _next(self, node: int, character: str) -> int:
        steps = self._steps
        while (found := steps[node].get(character)) is None:
            if not node:
                return 0
            node = self._fails[node]
        return found

    def _add(self, phrase: str) -> int:
        node = 0
        for character in phrase:
            following = self._steps[node].get(character)
            if following is None:
                following = self._steps[node][character] = len(self._steps)
                self._steps.append({})
                self._depths.append(self._depths[node] + 1)
                self._ends.append(())
            node = following
        self._ends[node] = (len(phrase),)
        return len(phrase)

    def _link(self) -> list[int]:
        """For each node the one of its longest proper suffix; its endings are the node's too."""
        fails = [0] * len(self._steps)
        waiting = deque(self._steps[0].values())
        while waiting:
            node = waiting.popleft()
            for character, child in self._steps[node].items():
                fall = fails[node]
                while fall and character not in self._steps[fall]:
                    fall = fails[fall]
                fails[child] = self._steps[fall].get(character, 0)
                self._ends[child] += self._ends[fails[child]]
                waiting.append(child)
        return fails


def _is_inside_word(text: str, begin: int, end: int) -> bool:
    """Whether a letter or digit stands right before or behind, where the phrase itself has one."""
    before = begin > 0 and _WORD.match(text[begin - 1]) and _WORD.match(text[begin])
    behind = end < len(text) and _WORD.match(text[end]) and _WORD.match(text[end - 1])
    return bool(before or behind)


def _even(text: str) -> _Even:
    # One letter of Unicode has a longer lower case, which would shift places, and one depends on what follows.
    lower = text.replace("\u0130", "i").lower().replace("\u03c2", "\u03c3")
    if _UNEVEN.search(lower) is None:
        return _Even(lower, None)
    characters: list[str] = []
    places: list[int] = []
    at = 0
    for gap in _GAP.finditer(lower):
        characters.append(lower[at : gap.start()])
        places.extend(range(at, gap.start()))
        at = gap.end()
        if len(gap.group()) > GAP_CHARS_MAX:
            characters.append(_BREAK)
            places.append(gap.start())
        elif any(character.isspace() for character in gap.group()):
            characters.append(" ")
            places.append(gap.start())
    characters.append(lower[at:])
    places.extend(range(at, len(lower)))
    return _Even("".join(characters), places)
