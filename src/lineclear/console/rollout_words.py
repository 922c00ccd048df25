"""What rollouts are called on their pages: states, holds, steps, guards, what a person does, each with its mark.

In: names as the API has them. Out: words. A name that is not known here is shown as it is.
"""

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

NAMES_TOLD = 2
"""A heading names so many models that come or go; more stand in the table."""

STATE_WORDS: Mapping[str, str] = {
    "pending": "not begun",
    "running": "rolling out",
    "held": "held",
    "completed": "completed",
    "rolled_back": "rolled back",
    "cancelled": "cancelled",
}
STATE_MARKS: Mapping[str, str] = {
    "pending": "calm",
    "running": "good",
    "held": "warn",
    "completed": "good",
    "rolled_back": "bad",
    "cancelled": "calm",
}
HOLD_WORDS: Mapping[str, str] = {
    "manual": "paused by a person",
    "analysis": "a guard suspects something",
    "no_data": "data is missing",
    "approval": "waits for approval",
    "srm": "the arms are not dealt as planned",
    "gate": "a gate did not let it pass",
}
GUARD_WORDS: Mapping[str, str] = {
    "error": "Errors",
    "slow": "Slow",
    "cost": "Cost a request",
    "contract": "Broken contract",
    "review": "Rejected in review",
}
VERDICT_WORDS: Mapping[str, tuple[str, str]] = {
    "": ("clear", "good"),
    "suspected": ("holds", "warn"),
    "below_floor": ("holds", "warn"),
    "worse": ("worse", "bad"),
    "split_mismatch": ("holds", "warn"),
}
ACTION_PATHS: Mapping[str, str] = {
    "pause": "pauses",
    "resume": "resumptions",
    "run_again": "reruns",
    "approve": "advances",
    "advance": "advances",
    "roll_back": "rollbacks",
}
"""Where the form of an action goes, below its rollout."""


GATE_MARKS: Mapping[str, str] = {"running": "calm", "pass": "good", "fail": "bad", "inconclusive": "warn"}


def guard_words(guard: str) -> str:
    """A guard as a row of a table begins with it."""
    return GUARD_WORDS.get(guard, guard.replace("_", " ").capitalize())


def verdict_chip(verdict: str) -> tuple[str, str]:
    """A guard's verdict as a word and a mark; what is not known of is told beside it."""
    return VERDICT_WORDS.get(verdict, ("not watched" if verdict.startswith("not watched") else verdict, "calm"))


def against(e: float) -> str:
    """Evidence against the candidate; beyond a million more digits decide nothing."""
    if e <= 1:
        return "none"
    return "over 1,000,000 : 1" if e >= 1e6 else f"{e:,.0f} : 1" if e >= 10 else f"{e:.1f} : 1"


def evidence_place(e: float, roll_back_at: float) -> float:
    """Where evidence stands between none (0) and a rollback (100), by its logarithm, as evidence adds up."""
    if e <= 1 or roll_back_at <= 1:
        return 0.0
    return round(min(log(e) / log(roll_back_at), 1.0) * 100, 1)


def changed(components: Sequence[Mapping[str, Any]]) -> str:
    """What a release changes, as a heading: `acme@2 instead of acme@1, new prompt`."""
    told: list[str] = []
    for one in components:
        fields = [(field["field"], field["before"], field["after"]) for field in one["fields"]]
        comes = [name for name, before, after in fields if before is None and after is not None]
        goes = [name for name, before, after in fields if after is None and before is not None]
        if one["component"] == "targets" and comes and goes and max(len(comes), len(goes)) <= NAMES_TOLD:
            told.append(f"{' and '.join(comes)} instead of {' and '.join(goes)}")
        else:
            told.append(f"new {one['component']}".replace("_", " "))
    words = ", ".join(told)
    return words if words[:4] != "new " else "N" + words[1:]


def lasting(seconds: float) -> str:
    """A time that a step lasts: 45 s, 30 min, 25.2 h, 7 days."""
    for unit, size in (("days", 2 * 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{round(seconds / (86_400 if unit == 'days' else size), 1):g} {unit}"
    return f"{round(seconds, 1):g} s"
