"""What a check makes of one answer where nobody has to be asked: texts, patterns, schemas, numbers. Pure.

In: a check, a case, an answer's text. Out: a score from 0 to 1; None where the case does not say what it expects.
"""

import math
import re
from typing import Any, Final

import msgspec

from lineclear.checks.answer_schema import AnswerSchema, pattern_schema
from lineclear.domain.evals import CheckWay, Exact, Numeric, Pattern, Shape
from lineclear.domain.replay import Case

NUMBER: Final = re.compile(r"(?<![\d.])-?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?|(?<![\d.])-?\.\d+")
NUMBER_CHARS_MAX: Final = 100_000
"""Of an answer's end; the last number is looked for there."""


class TextScorer:
    """One check of text, with its pattern or schema compiled."""

    def __init__(self, way: Exact | Numeric | Pattern | Shape) -> None:
        """Raises SchemaMistake if the pattern or schema cannot be used."""
        self._way = way
        self._schema: AnswerSchema | None = None
        if isinstance(way, Shape):
            self._schema = AnswerSchema(way.json_schema)
        if isinstance(way, Pattern):
            self._schema = AnswerSchema(pattern_schema(way.regex))

    def score(self, case: Case, answer: str) -> float | None:
        """1 if the check is met, 0 if not; None if the case does not say what it expects."""
        match self._way:
            case Exact():
                return _exact(case.expected, answer, ignore_case=self._way.ignore_case)
            case Numeric():
                return _numeric(case.expected, answer, self._way)
            case Pattern():
                return float(self._meets(msgspec.json.encode(answer).decode()))
            case Shape():
                return float(self._meets(answer))

    def _meets(self, text: str) -> bool:
        return self._schema is not None and not self._schema.mistake(text)


def is_text_check(way: CheckWay) -> bool:
    """Whether `TextScorer` knows it."""
    return isinstance(way, Exact | Numeric | Pattern | Shape)


def cosine(one: list[float], other: list[float]) -> float | None:
    """Of two vectors; None if they have no angle."""
    if len(one) != len(other):
        return None
    norm = math.sqrt(sum(x * x for x in one)) * math.sqrt(sum(x * x for x in other))
    found = sum(x * y for x, y in zip(one, other, strict=True)) / norm if norm else math.nan
    return found if math.isfinite(found) else None


def last_number(text: str) -> float | None:
    """The last number that a text has; thousands may be parted by commas."""
    found = NUMBER.findall(text[-NUMBER_CHARS_MAX:])
    return float(found[-1].replace(",", "")) if found else None


def judged_score(text: str) -> float | None:
    """The mark from 0 to 10 that a judge gave, as a score; None if it gave none. `8/10` is 8."""
    mark = last_number(re.sub(r"/\s*10\b", "", text))
    return mark / 10 if mark is not None and 0 <= mark <= 10 else None


def _exact(expected: Any, answer: str, *, ignore_case: bool) -> float | None:
    # Any: a JSON value; one that is no text is compared as a value
    if expected is None:
        return None
    if not isinstance(expected, str):
        try:
            return float(msgspec.json.decode(answer) == expected)
        except (msgspec.DecodeError, RecursionError):
            return 0.0
    pair = (expected.strip(), answer.strip())
    return float(pair[0].casefold() == pair[1].casefold() if ignore_case else pair[0] == pair[1])


def _numeric(expected: Any, answer: str, way: Numeric) -> float | None:
    # Any: a JSON value; a number that no float holds cannot be met
    wanted = last_number(expected) if isinstance(expected, str) else expected
    if isinstance(wanted, bool) or not isinstance(wanted, int | float):
        return None
    try:
        wanted = float(wanted)
    except OverflowError:
        return None
    if not math.isfinite(wanted):
        return None
    found = last_number(answer)
    return float(found is not None and abs(found - wanted) <= max(way.tolerance, way.relative * abs(wanted)))
