"""A detector for things with a shape: a bounded pattern of ours, and arithmetic that tells the real from the similar.

In: a pattern, the characters that a match consists of, and a measure. Out: a Detector. Operators' patterns never
come here: those could take exponential time (decision 18).
"""

import re
from collections.abc import Callable, Iterator

from lineclear.checks.finding import Finding

ALPHANUMERIC = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
EDGE = "[A-Za-z0-9]"


class Shape:
    """Finds what a pattern matches and a measure confirms."""

    __slots__ = ("_alphabet", "_beginnings", "_chars_max", "_head", "_measure", "_needs", "_pattern", "name")

    def __init__(
        self,
        name: str,
        pattern: str,
        alphabet: str,
        chars_max: int,
        measure: Callable[[str], int],
        *,
        needs: str = "",
        head: str = "",
    ) -> None:
        """Every match consists of characters of `alphabet` and has at most `chars_max` of them.

        Args:
            name: what rules call it.
            pattern: matches at most `chars_max` characters and looks at most one character further, and back at
                most `CONTEXT_CHARS`. Begins with a literal or a class, which searches fast.
            alphabet: what a match may consist of.
            chars_max: the longest match.
            measure: how many characters of a match, from its start, are the thing; 0 = it is something else.
            needs: a text that every match holds; nothing is searched where it does not occur.
            head: what every match begins with, so that a word which begins otherwise is not held back.
        """
        self.name = name
        self._pattern = re.compile(pattern)
        self._alphabet = alphabet
        self._chars_max = chars_max
        self._measure = measure
        self._needs = needs
        self._head = head
        self._beginnings = tuple(head[:chars] for chars in range(len(head) - 1, 0, -1))

    def find(self, text: str, start: int, stop: int) -> Iterator[Finding]:
        """See `Detector.find`."""
        if self._needs and self._needs not in text:
            return
        search = self._pattern.search
        at = start
        while (match := search(text, at)) is not None and (begin := match.start()) < stop:
            chars = self._measure(match.group())
            if chars:
                yield Finding(begin, begin + chars, self.name)
            at = begin + 1

    def open_at(self, text: str) -> int:
        """See `Detector.open_at`: the run of possible characters at the end, as far as a match may reach."""
        first = max(len(text) - self._chars_max - 1, 0)
        run = first + len(text[first:].rstrip(self._alphabet))
        if not self._head or run == len(text):
            return run
        at = text.find(self._head, run)
        if at >= 0:
            return at
        for beginning in self._beginnings:
            if text.endswith(beginning, run):
                return len(text) - len(beginning)
        return len(text)


def token(name: str, head: str, rest: str, alphabet: str, chars_max: int, is_real: Callable[[str], bool]) -> Shape:
    """A shape that begins with a literal and stands apart from letters and digits on both sides."""
    literal = re.escape(head)
    pattern = f"{literal}(?<!{EDGE}{literal}){rest}(?!{EDGE})"
    return Shape(name, pattern, alphabet, chars_max, _whole(is_real), head=head)


def number(name: str, first: str, rest: str, alphabet: str, chars_max: int, is_real: Callable[[str], bool]) -> Shape:
    """A shape that begins with one character of the class `first`, apart from letters, digits and decimals."""
    pattern = f"{first}(?<!{EDGE}{first})(?<![0-9][.]{first}){rest}(?!{EDGE})"
    return Shape(name, pattern, alphabet, chars_max, _whole(is_real))


def _whole(is_real: Callable[[str], bool]) -> Callable[[str], int]:
    return lambda text: len(text) if is_real(text) else 0
