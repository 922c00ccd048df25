"""What evidence asks for: roll back, hold, or nothing.

In: ln E of each guard, of its floor and of the split. Out: the verdict and a reason for each guard that speaks.
Missing data is not seen here: a late or silent signal is a hold, which the caller decides before it asks.
Source: release-governance §2.1 (decision rule).
"""

from collections.abc import Iterable
from enum import StrEnum
from math import log
from typing import Final

import msgspec

from lineclear.domain.evidence import e_value

ALPHA_DEFAULT: Final = 0.01
"""At most one harmless rollout in a hundred is rolled back, over its whole life and all its guards."""
HOLD_E_DEFAULT: Final = 20.0
"""At most 5 % false holds for each guard; 80 where a hold is costly."""
SPLIT_ALPHA_DEFAULT: Final = 1e-4


class Verdict(StrEnum):
    ROLL_BACK = "roll_back"
    HOLD = "hold"
    OK = "ok"


class Cause(StrEnum):
    """Why a verdict is not `ok`."""

    WORSE = "worse"
    """E reached the rollback line, and so did E of the floor."""
    BELOW_FLOOR = "below_floor"
    """E reached the rollback line, but it is not shown that the rate matters: hold."""
    SUSPECTED = "suspected"
    """E reached the line to hold."""
    SPLIT_MISMATCH = "split_mismatch"
    """The arms are not dealt as the weight says, so no evidence of this rollout can be trusted: hold."""


class Promise(msgspec.Struct, frozen=True):
    """The error rates that a rollout is held to; fixed before its first step."""

    rollback_guards: int
    """How many guards may roll back (m), whether or not they have data: they share alpha."""
    alpha: float = ALPHA_DEFAULT
    """Upper bound of P(a harmless rollout is ever rolled back)."""
    hold_e: float = HOLD_E_DEFAULT
    split_alpha: float = SPLIT_ALPHA_DEFAULT

    def __post_init__(self) -> None:
        if self.rollback_guards < 0 or not (0 < self.alpha < 1 and 0 < self.split_alpha < 1 and self.hold_e > 1):
            raise ValueError(f"a promise needs guards >= 0, 0 < alpha < 1 and E to hold above 1: {self!r}")

    @property
    def rollback_e(self) -> float:
        """m/alpha: E at which a guard rolls back; 400 with four guards at 1 %."""
        return max(1, self.rollback_guards) / self.alpha


class GuardEvidence(msgspec.Struct, frozen=True):
    """Where one guard stands."""

    guard: str
    log_e: float
    floor_log_e: float | None
    """ln E against the floor; None where the guard has no floor (cost)."""
    may_roll_back: bool = True
    """False for a guard that only holds; it has no share of alpha."""


class Reason(msgspec.Struct, frozen=True):
    cause: Cause
    guard: str
    """Empty for the split."""
    e: float
    """The evidence, "e : 1 against"."""
    line_e: float
    """What it had to reach."""


class Decision(msgspec.Struct, frozen=True):
    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    """Strongest evidence first; empty if `ok`."""


def decide(guards: Iterable[GuardEvidence], split_log_e: float, promise: Promise) -> Decision:
    """The verdict on evidence that is complete. A broken split holds and never rolls back: its evidence is invalid."""
    reasons = sorted(
        (reason for guard in guards if (reason := judge(guard, promise)) is not None), key=lambda reason: -reason.e
    )
    if split_log_e >= log(1 / promise.split_alpha):
        mismatch = Reason(Cause.SPLIT_MISMATCH, "", e_value(split_log_e), 1 / promise.split_alpha)
        return Decision(Verdict.HOLD, (mismatch, *reasons))
    if any(reason.cause is Cause.WORSE for reason in reasons):
        return Decision(Verdict.ROLL_BACK, tuple(reasons))
    return Decision(Verdict.HOLD if reasons else Verdict.OK, tuple(reasons))


def judge(guard: GuardEvidence, promise: Promise) -> Reason | None:
    """What one guard has to say; None if nothing."""
    line = log(promise.rollback_e)
    e = e_value(guard.log_e)
    if guard.may_roll_back and guard.log_e >= line:
        is_material = guard.floor_log_e is None or guard.floor_log_e >= line
        return Reason(Cause.WORSE if is_material else Cause.BELOW_FLOOR, guard.guard, e, promise.rollback_e)
    if guard.log_e >= log(promise.hold_e):
        return Reason(Cause.SUSPECTED, guard.guard, e, promise.hold_e)
    return None
