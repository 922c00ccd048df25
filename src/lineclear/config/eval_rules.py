"""What the fields of an Eval and of a replay must be on their own: one thing for each check to look at, and ranges.

In: one Eval, or one step of a rollout. Out: (path, code, message) per mistake. Pure; whether a pattern or a schema can
be used, and whether a dataset is there, is control's knowledge.
"""

import re
from collections.abc import Iterator
from typing import Final

from lineclear.config.manifest_dates import Mistake
from lineclear.config.rollout_rules import ALPHA_MAX, ALPHA_MIN, RATIO_MAX
from lineclear.config.yaml_tree import PlainPath
from lineclear.domain.manifest import Eval, EvalCheck, EvalVerdict, ReplayStep

CHECKS_MAX: Final = 20
KINDS: Final = ("exact", "regex", "json_schema", "numeric", "similarity", "judge", "python")
PATTERN_CHARS_MAX: Final = 4_000
QUESTION_CHARS_MAX: Final = 8_000
REPEATS_MAX: Final = 9
MARGIN_MIN: Final = 0.001
MARGIN_MAX: Final = 0.5
AT_LEAST_MIN: Final = 0.01
DATASET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}(@[0-9a-f]{16})?")
ENTRY_POINT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
ANSWERED: Final = "answered"
"""The check that every Eval has."""


def check_eval(one: Eval) -> Iterator[Mistake]:
    """Every mistake of one Eval but its names' and its money's."""
    yield from _dataset(one.dataset, ("dataset",))
    yield from _verdict(one.verdict, ("verdict",))
    if one.at_least is not None:
        yield from _within(one.at_least, AT_LEAST_MIN, 1, ("at_least",))
    yield from _above_nothing(one.spend_usd, ("spend_usd",))
    if len(one.checks) > CHECKS_MAX:
        yield ("checks",), "too_large", f"more than {CHECKS_MAX} checks"
    for at, check in enumerate(one.checks):
        for path, code, message in _check(check):
            yield ("checks", at, *path), code, message


def check_replay_step(step: ReplayStep, root: PlainPath) -> Iterator[Mistake]:
    """Every mistake of a step that replays, but its money's."""
    yield from _dataset(step.dataset, (*root, "dataset"))
    yield from _verdict(step.verdict, (*root, "verdict"))
    yield from _above_nothing(step.spend_usd, (*root, "spend_usd"))
    yield from _within(step.max_changed, 0, 1, (*root, "max_changed"))


def _check(check: EvalCheck) -> Iterator[Mistake]:
    given = [name for name in KINDS if getattr(check, name) not in ("", None)]
    if len(given) != 1:
        words = f"this one has {' and '.join(given)}" if given else "this one has none"
        yield ("id",), "invalid_value", f"a check has one of {', '.join(KINDS)}; {words}"
    if check.id == ANSWERED:
        yield ("id",), "invalid_value", f"every Eval has {ANSWERED!r}; take another name"
    if len(check.regex) > PATTERN_CHARS_MAX:
        yield ("regex",), "too_large", f"longer than {PATTERN_CHARS_MAX} characters"
    if check.python and not ENTRY_POINT.fullmatch(check.python):
        yield ("python",), "invalid_value", f"{check.python!r} is no name of an entry point"
    yield from _numbers(check)
    if check.judge is not None:
        if not check.judge.question.strip():
            yield ("judge", "question"), "invalid_value", "must ask something"
        elif len(check.judge.question) > QUESTION_CHARS_MAX:
            yield ("judge", "question"), "too_large", f"longer than {QUESTION_CHARS_MAX} characters"


def _numbers(check: EvalCheck) -> Iterator[Mistake]:
    if check.numeric is not None:
        for name in ("tolerance", "relative"):
            yield from _within(getattr(check.numeric, name), 0, 1e300, ("numeric", name))
    if check.similarity is not None:
        yield from _within(check.similarity.at_least, -1, 1, ("similarity", "at_least"))
    if check.judge is not None:
        yield from _within(check.judge.repeats, 1, REPEATS_MAX, ("judge", "repeats"))


def _verdict(verdict: EvalVerdict, root: PlainPath) -> Iterator[Mistake]:
    yield from _within(verdict.margin, MARGIN_MIN, MARGIN_MAX, (*root, "margin"))
    yield from _within(verdict.ratio, 1, RATIO_MAX, (*root, "ratio"))
    yield from _within(verdict.alpha, ALPHA_MIN, ALPHA_MAX, (*root, "alpha"))


def _dataset(name: str, path: PlainPath) -> Iterator[Mistake]:
    if not DATASET.fullmatch(name):
        yield path, "invalid_value", f"{name!r} is no dataset: its name, or `name@` and 16 hex digits of its digest"


def _above_nothing(spend_usd: str, path: PlainPath) -> Iterator[Mistake]:
    if not spend_usd.strip("0."):
        yield path, "invalid_value", "must be above 0: nothing can be asked for nothing"


def _within(value: float, low: float, high: float, path: PlainPath) -> Iterator[Mistake]:
    if not low <= value <= high:
        yield path, "invalid_value", f"must be from {low:g} to {high:,.12g}"
