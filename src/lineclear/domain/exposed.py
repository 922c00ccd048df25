"""What one request of a rollout says about its arm: how it ended, as marks that guards count.

In: the facts of an entry. Out: marks. The same rule for both arms and no request left out after its arm was dealt:
what leaves the analysis can only leave it unevenly (design decision 40). Pure.
"""

from collections.abc import Sequence
from enum import IntFlag
from typing import Final

import msgspec

from lineclear.domain.errors import AttemptClass, ErrorCode
from lineclear.domain.ledger import AttemptRecord, Intent, Outcome


class Mark(IntFlag):
    """What can be said against a request. Stored as numbers, so these never change their meaning."""

    FAILED = 1
    """An attempt of its arm failed, even where a fallback rescued it, or it ended in another way than well."""
    NOT_OK = 2
    """It did not end well; a guardrail's refusal included, a caller's own limit not."""
    BROKE_CONTRACT = 4
    """A guardrail blocked or flagged it, the model refused, or the answer was cut for length."""
    UNPRICED = 8
    """Nobody knows what it cost."""
    OTHER_RELEASE = 16
    """The app says that it was configured by another release than the arm's, so it is of neither (decision 42)."""


NO_MARKS: Final = Mark(0)
OF_THE_CALLER: Final = frozenset(
    {
        ErrorCode.BUDGET_EXCEEDED.value,
        ErrorCode.RATE_LIMITED.value,
        ErrorCode.CONCURRENCY_LIMITED.value,
        ErrorCode.INVALID_API_KEY.value,
        ErrorCode.STOPPED.value,
    }
)
"""Refusals for the caller's own limits, and answers that an override ended, which no release has a part in: they count
as requests and against nobody. A stop of a provider is none of them: only a release that calls it meets it."""
FINE_ATTEMPTS: Final = frozenset({AttemptClass.OK.value, AttemptClass.POLICY.value})
PROVIDER_STOP: Final = "stop.provider:"
"""How the id of a stop of a provider begins."""
GUARDRAIL: Final = "guardrail."
"""How the ids of guardrail rules begin."""


class Exposed(msgspec.Struct, frozen=True, gc=False):
    """One request of a rollout, as the ledger keeps it for evidence."""

    id: str
    rollout: str
    arm: str
    weight_bp: int
    unit_hash: str
    """16 hex digits; empty where the request is its own unit."""
    started_us: int
    duration_us: int
    cost_nano_usd: int
    """Charged or wasted: what it cost, whoever bears it."""
    marks: int


def is_of_other_release(intent: Intent) -> bool:
    """Whether the app says that another release than its arm's configured it."""
    return bool(intent.echo) and intent.echo != intent.release


def marks_of(
    outcome: str, error_code: str, attempts: Sequence[AttemptRecord], rules: Sequence[str], *, is_cut: bool
) -> Mark:
    """What an exchange or a refusal says against its arm; `is_cut`: the model refused, or stopped for length."""
    if error_code in OF_THE_CALLER and not any(rule.startswith(PROVIDER_STOP) for rule in rules):
        return NO_MARKS
    marks = NO_MARKS
    if outcome != Outcome.OK:
        marks |= Mark.NOT_OK
        if error_code != ErrorCode.GUARDRAIL_BLOCKED:
            marks |= Mark.FAILED
    if any(attempt.attempt_class not in FINE_ATTEMPTS for attempt in attempts):
        marks |= Mark.FAILED
    if is_cut or error_code == ErrorCode.GUARDRAIL_BLOCKED or any(rule.startswith(GUARDRAIL) for rule in rules):
        marks |= Mark.BROKE_CONTRACT
    return marks
