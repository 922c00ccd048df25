"""Makes what evidence reads of one request of a rollout, beside the request's own row.

In: records of an exchange that was dealt an arm. Out: `Exposed`. Pure; what is a mark is `domain.exposed`'s.
"""

from typing import Final

from lineclear.control.ingest.entry_row import storable
from lineclear.domain.exchange import StopReason
from lineclear.domain.exposed import Exposed, Mark, is_of_other_release, marks_of
from lineclear.domain.ledger import Checkpoint, Intent, Outcome, Refusal, Settle
from lineclear.domain.money import CostBasis
from lineclear.wire import anthropic_events, openai_events

CUTS: Final = frozenset({StopReason.LENGTH, StopReason.CONTEXT_FULL, StopReason.REFUSAL})
CUT_WORDS: Final = frozenset(
    word
    for reasons in (anthropic_events.STOP_REASONS, openai_events.STOP_REASONS)
    for word, reason in reasons.items()
    if reason in CUTS
)
"""The vendors' own words for an answer that was refused or stopped for length."""


def exchange_exposed(intent: Intent, settle: Settle) -> Exposed:
    """Of an exchange that ended."""
    is_cut = settle.stop_reason in CUT_WORDS
    marks = marks_of(settle.outcome, settle.error_code, settle.attempts, settle.rules, is_cut=is_cut)
    if settle.cost_basis == CostBasis.UNPRICED:
        marks |= Mark.UNPRICED
    if is_of_other_release(intent):
        marks |= Mark.OTHER_RELEASE
    return _exposed(intent, intent.at_us, settle.duration_us, settle.cost_nano_usd + settle.waste_nano_usd, marks)


def orphan_exposed(intent: Intent, checkpoint: Checkpoint | None) -> Exposed:
    """Of an exchange whose worker died: unknown counts against its arm."""
    cost = checkpoint.cost_nano_usd if checkpoint else 0
    last_us = checkpoint.at_us if checkpoint else intent.at_us
    marks = marks_of(Outcome.UNKNOWN, "", (), (), is_cut=False)
    if is_of_other_release(intent):
        marks |= Mark.OTHER_RELEASE
    return _exposed(intent, intent.at_us, max(0, last_us - intent.at_us), cost, marks)


def refusal_exposed(refusal: Refusal) -> Exposed:
    """Of a call that its arm's release refused."""
    marks = marks_of(Outcome.REFUSED, refusal.error_code, (), refusal.rules, is_cut=False)
    return _exposed(refusal, refusal.at_us - refusal.duration_us, refusal.duration_us, 0, marks)


def _exposed(dealt: Intent | Refusal, started_us: int, duration_us: int, cost_nano_usd: int, marks: Mark) -> Exposed:
    return Exposed(
        dealt.id,
        storable(dealt.rollout),
        dealt.arm,
        dealt.weight_bp,
        dealt.unit_hash,
        started_us,
        duration_us,
        cost_nano_usd,
        marks.value,
    )
