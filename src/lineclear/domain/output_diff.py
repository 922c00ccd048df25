"""In what the answers of two releases to the same cases differ: same or changed, fields of JSON, length, cost, time.

In: results of a replay. Out: what a pair is, and the report of all of them. Pure. Whether different is worse is not
decided here; only that an answer is better than none (`domain.pairs`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from math import ceil
from typing import Any, Final

import msgspec

from lineclear.domain.evidence import Arm
from lineclear.domain.pairs import PairRule, Pairs, PairVerdict
from lineclear.domain.replay import CaseResult

FIELDS_MAX: Final = 100
"""Changed fields told of one pair; more are a rewritten answer."""
FIELDS_SHOWN: Final = 20
"""In a report: those that changed most often."""
CODES_SHOWN: Final = 10
DEPTH_MAX: Final = 40
_FENCE: Final = "```"


class PairKind(StrEnum):
    """What became of a case on both sides."""

    SAME = "same"
    SAME_JSON = "same_json"
    """Other bytes, the same JSON value."""
    CHANGED = "changed"
    CANDIDATE_FAILED = "candidate_failed"
    """Stable answered, the candidate did not."""
    STABLE_FAILED = "stable_failed"
    BOTH_FAILED = "both_failed"


class FieldChange(msgspec.Struct, frozen=True):
    """One place in two JSON answers; a side that does not have it is empty text."""

    path: str
    """Like `items.0.price`; empty for the whole value."""
    before: str
    """JSON."""
    after: str


class ArmReport(msgspec.Struct, frozen=True):
    """What one release did with the cases."""

    asked: int = 0
    answered: int = 0
    cost_nano_usd: int = 0
    """Of those with a price."""
    unpriced: int = 0
    duration_us_p50: int = 0
    """Of those that were answered; 0 if none was."""
    duration_us_p95: int = 0
    text_bytes: int = 0
    """Of all answers."""
    errors: tuple[tuple[str, int], ...] = ()
    """Error codes and how often, most often first."""


class ReplayReport(msgspec.Struct, frozen=True):
    """A replay in figures."""

    arms: dict[Arm, ArmReport]
    pairs: int = 0
    """Cases that both releases were asked."""
    kinds: dict[PairKind, int] = {}
    fields: tuple[tuple[str, int], ...] = ()
    """Paths of JSON answers and in how many pairs they differ; places in lists count as one."""
    verdict: PairVerdict = PairVerdict.INCONCLUSIVE
    """Whether the candidate fails more often, by paired evidence; says nothing about answers that differ."""
    log_e_worse: float = 0.0
    log_e_within: float = 0.0

    @property
    def differing(self) -> int:
        """Pairs where both answered and not the same."""
        return self.kinds.get(PairKind.CHANGED, 0)


def pair_kind(stable: CaseResult, candidate: CaseResult) -> PairKind:
    """What a pair is."""
    if not stable.is_answered:
        return PairKind.STABLE_FAILED if candidate.is_answered else PairKind.BOTH_FAILED
    if not candidate.is_answered:
        return PairKind.CANDIDATE_FAILED
    if stable.digest == candidate.digest:
        return PairKind.SAME
    return PairKind.SAME_JSON if _fields_of(stable, candidate) == () else PairKind.CHANGED


def field_changes(before: str, after: str) -> tuple[FieldChange, ...] | None:
    """Where two answers differ as JSON; None if one of them is no object or list."""
    old, new = _json(before), _json(after)
    if not isinstance(old, dict | list) or not isinstance(new, dict | list):
        return None
    found: list[FieldChange] = []
    for change in _changes("", old, new, DEPTH_MAX):
        found.append(change)
        if len(found) >= FIELDS_MAX:
            break
    return tuple(found)


def report_of(results: Iterable[Mapping[Arm, CaseResult]], rule: PairRule | None = None) -> ReplayReport:
    """The report of results case by case; reads them once."""
    sums = {arm: _ArmSum() for arm in Arm}
    kinds: Counter[PairKind] = Counter()
    paths: Counter[str] = Counter()
    badness: list[tuple[float, float]] = []
    for found in results:
        for arm, result in found.items():
            sums[arm].add(result)
        if len(found) < len(Arm):
            continue
        stable, candidate = found[Arm.STABLE], found[Arm.CANDIDATE]
        kind = pair_kind(stable, candidate)
        kinds[kind] += 1
        badness.append((float(not candidate.is_answered), float(not stable.is_answered)))
        if kind is PairKind.CHANGED:
            paths.update({_general(change.path) for change in _fields_of(stable, candidate) or ()})
    pairs = Pairs.compared(rule or PairRule(), badness)
    return ReplayReport(
        arms={arm: total.report() for arm, total in sums.items() if total.results},
        pairs=len(badness),
        kinds=dict(kinds),
        fields=tuple(paths.most_common(FIELDS_SHOWN)),
        verdict=pairs.verdict(),
        log_e_worse=pairs.log_e_worse(),
        log_e_within=pairs.log_e_within(),
    )


class _ArmSum:
    """Adds up one arm."""

    def __init__(self) -> None:
        self.results = 0
        self._answered = 0
        self._cost_nano_usd = 0
        self._unpriced = 0
        self._text_bytes = 0
        self._durations_us: list[int] = []
        self._codes: Counter[str] = Counter()

    def add(self, result: CaseResult) -> None:
        self.results += 1
        if result.cost_nano_usd is None:
            self._unpriced += 1
        else:
            self._cost_nano_usd += result.cost_nano_usd
        if not result.is_answered:
            self._codes[result.error_code] += 1
            return
        self._answered += 1
        self._text_bytes += result.text_bytes
        self._durations_us.append(result.duration_us)

    def report(self) -> ArmReport:
        ascending = sorted(self._durations_us)
        return ArmReport(
            asked=self.results,
            answered=self._answered,
            cost_nano_usd=self._cost_nano_usd,
            unpriced=self._unpriced,
            duration_us_p50=_quantile(ascending, 0.5),
            duration_us_p95=_quantile(ascending, 0.95),
            text_bytes=self._text_bytes,
            errors=tuple(self._codes.most_common(CODES_SHOWN)),
        )


def _quantile(ascending: Sequence[int], share: float) -> int:
    return ascending[ceil(share * len(ascending)) - 1] if ascending else 0


def _fields_of(stable: CaseResult, candidate: CaseResult) -> tuple[FieldChange, ...] | None:
    if stable.is_cut or candidate.is_cut:
        return None
    return field_changes(stable.text, candidate.text)


def _json(text: str) -> Any:  # Any: a JSON value, or None
    stripped = text.strip()
    if stripped.startswith(_FENCE) and stripped.endswith(_FENCE) and "\n" in stripped:
        # Models like to wrap JSON in a fence of Markdown, with or without a language.
        stripped = stripped.split("\n", 1)[1].removesuffix(_FENCE).strip()
    if not stripped.startswith(("{", "[")):
        return None
    try:
        return msgspec.json.decode(stripped)
    except (msgspec.DecodeError, RecursionError):
        return None


def _changes(path: str, old: Any, new: Any, depth: int) -> Iterator[FieldChange]:
    # Any: JSON values.
    if depth and isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys((*old, *new)):
            yield from _place(f"{path}.{name}" if path else name, old, new, name, depth)
    elif depth and isinstance(old, list) and isinstance(new, list):
        sides = dict(enumerate(old)), dict(enumerate(new))
        for place in range(max(len(old), len(new))):
            yield from _place(f"{path}.{place}" if path else str(place), *sides, place, depth)
    elif old != new or isinstance(old, bool) is not isinstance(new, bool):
        yield FieldChange(path, _shown(old), _shown(new))


def _place(path: str, old: Mapping[Any, Any], new: Mapping[Any, Any], key: object, depth: int) -> Iterator[FieldChange]:
    if key not in new:
        yield FieldChange(path, _shown(old[key]), "")
    elif key not in old:
        yield FieldChange(path, "", _shown(new[key]))
    else:
        yield from _changes(path, old[key], new[key], depth - 1)


def _shown(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _general(path: str) -> str:
    """`items.3.price` → `items.*.price`."""
    return ".".join("*" if part.isdecimal() else part for part in path.split(".")) or "(whole)"
