"""Step `recover`: what may follow a failed attempt. A pure function of its class and what is left.

In: the failures so far and what is left. Out: Recovery. Reads classes and codes, never message text. The only owner of
retries: nothing below it tries twice on its own.
"""

import random
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from lineclear.domain.errors import AttemptClass, ErrorCode, PlatformFault, UpstreamError

ATTEMPTS_MAX = 3
"""Upstream attempts per request, retries and fallbacks together. Source: reliability-security.md §3."""
INLINE_WAIT_MS_MAX = 3_000
"""A Retry-After up to this is waited for; a longer one goes to the next candidate (decision 26)."""
BACKOFF_MS = 50
UNREACHABLE_BACKOFF_MS = 20
"""Short, so that a request for which nothing can be reached fails within 50 ms (row U30)."""
THROTTLE_BACKOFF_MS = 1_000
REUSED_PHASE = "reused"
"""A kept-alive connection died before any response byte: the target may never have seen the request."""

_THROTTLES = frozenset({ErrorCode.UPSTREAM_RATE_LIMITED, ErrorCode.UPSTREAM_OVERLOADED})
_NEVER_HERE = frozenset({ErrorCode.UPSTREAM_AUTH, ErrorCode.UPSTREAM_QUOTA, ErrorCode.UPSTREAM_BAD_RESPONSE})


class Move(StrEnum):
    """What to do next."""

    SAME = "same"
    NEXT = "next"
    FIRST = "first"
    """Back to the first candidate, after the others."""
    STOP = "stop"


class Left(msgspec.Struct, frozen=True, gc=False):
    """What is left to try."""

    has_others: bool
    """A candidate that has not been tried yet."""
    has_moved: bool
    """The newest attempt was not at the first candidate."""
    time_ms: int


class Recovery(msgspec.Struct, frozen=True, gc=False):
    """The next move, after a wait, on a new connection if `fresh`."""

    move: Move
    wait_ms: int = 0
    fresh: bool = False
    counts_as_retry: bool = False
    """It takes from the target's retry budget."""


STOP = Recovery(Move.STOP)
NEXT = Recovery(Move.NEXT)


def recover(errors: Sequence[UpstreamError], left: Left) -> Recovery:
    """Decide the move after the newest of these failed attempts; at least one.

    Source: reliability-security.md §3 (table of attempt classes), decision 26.
    """
    error = errors[-1]
    if len(errors) >= ATTEMPTS_MAX or left.time_ms <= 0:
        return STOP
    if error.has_sibling:
        return Recovery(Move.SAME, fresh=True)
    match error.attempt_class:
        case AttemptClass.NOT_SENT:
            return NEXT if left.has_others else _same(error, left)
        case AttemptClass.REJECTED:
            return _after_rejection(error, left)
        case AttemptClass.AMBIGUOUS:
            return _after_ambiguity(errors, left)
        case AttemptClass.PARTIAL | AttemptClass.CLIENT_ERROR | AttemptClass.POLICY | AttemptClass.OK:
            return STOP


def final_error(errors: Sequence[UpstreamError]) -> UpstreamError | PlatformFault:
    """What the caller is told when no attempt succeeded: the last failure, unless all failures say the same.

    All targets unreachable is NO_HEALTHY_TARGET; all throttled carries the shortest wait (row U16, U30).
    """
    last = errors[-1]
    last.is_spent = last.retry_after_ms is None
    if last.attempt_class is AttemptClass.CLIENT_ERROR:
        return last
    if all(error.sent == "no" and error.attempt_class is AttemptClass.NOT_SENT for error in errors):
        unreachable = PlatformFault(
            ErrorCode.NO_HEALTHY_TARGET,
            f"no target could be reached: {last.message}",
            hint="try again after the time in retry-after; `lineclear explain` lists every attempt",
            retry_after_ms=THROTTLE_BACKOFF_MS,
        )
        unreachable.is_spent = True
        return unreachable
    waits = [error.retry_after_ms for error in errors if error.retry_after_ms is not None]
    if waits and last.code in _THROTTLES:
        last.retry_after_ms = min(waits)
    return last


def _after_rejection(error: UpstreamError, left: Left) -> Recovery:
    if error.code in _NEVER_HERE:
        return NEXT if left.has_others else STOP
    wait_ms = error.retry_after_ms
    if wait_ms is not None and wait_ms <= min(INLINE_WAIT_MS_MAX, left.time_ms):
        return Recovery(Move.SAME, wait_ms=wait_ms, counts_as_retry=True)
    if left.has_others:
        return NEXT
    return STOP if wait_ms is not None else _same(error, left)


def _after_ambiguity(errors: Sequence[UpstreamError], left: Left) -> Recovery:
    if errors[-1].phase == REUSED_PHASE:
        return Recovery(Move.SAME, fresh=True)
    # The request may have been carried out, and may be billed: one other target, never the same again.
    ambiguous = sum(error.attempt_class is AttemptClass.AMBIGUOUS for error in errors)
    return NEXT if left.has_others and ambiguous <= 1 else STOP


def _same(error: UpstreamError, left: Left) -> Recovery:
    if error.attempt_class is AttemptClass.NOT_SENT:
        base_ms = UNREACHABLE_BACKOFF_MS
    else:
        base_ms = THROTTLE_BACKOFF_MS if error.code in _THROTTLES else BACKOFF_MS
    # Full jitter spreads retries of many callers; it need not be unpredictable.
    wait_ms = int(base_ms * random.random()) + 1  # noqa: S311 - jitter, not a secret
    if wait_ms >= left.time_ms:
        return STOP
    # "Elsewhere first, then here" (decision 26): after the others, back to the first.
    return Recovery(Move.FIRST if left.has_moved else Move.SAME, wait_ms=wait_ms, fresh=True, counts_as_retry=True)
