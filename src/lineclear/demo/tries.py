"""One simulated try at a target: how long it takes, and which of our errors its failure is.

In: a candidate, the weather, chance. Out: what the gateway would have seen. Errors are made where the gateway makes
them, so that classes, codes and statuses are its own.
"""

import random
from typing import Final, assert_never

import msgspec

from lineclear.demo.weather import Sky, Trouble
from lineclear.domain.errors import ErrorCode, Sent, UpstreamError
from lineclear.gateway.attempt import FIRST_EVENT_S_ALONE, FIRST_EVENT_S_WITH_OTHERS
from lineclear.gateway.live import TargetHealth
from lineclear.gateway.recover import BACKOFF_MS, Recovery
from lineclear.gateway.status import error_of_status
from lineclear.net.failures import broken

REFUSAL_MS: Final = 90
"""Median until a vendor says no."""
SPREAD: Final = 0.35
"""Of the logarithm of every duration."""
WAITS_MS: Final = (None, 400, 1_000, 2_000, 8_000, 20_000)
"""What vendors put into Retry-After; None = nothing."""


class Failure(msgspec.Struct, frozen=True, gc=False):
    """A try that brought no answer."""

    error: UpstreamError
    took_us: int


def try_fails(sky: Sky, has_others: bool, is_slow: bool, chance: random.Random) -> Failure | None:
    """Whether, and how, a try fails under this sky; None = an answer begins."""
    point = chance.random()
    for trouble, share in sky.troubles.items():
        point -= share
        if point < 0:
            return _failure(trouble, has_others and not is_slow, chance)
    return None


def learn(error: UpstreamError, health: TargetHealth) -> None:
    """What a failure says of the target's health, as step `attempt` takes it."""
    if error.code is ErrorCode.UPSTREAM_REFUSED:
        health.succeeded()
    elif error.code is ErrorCode.UPSTREAM_RATE_LIMITED:
        if error.retry_after_ms is not None:
            health.throttled(error.retry_after_ms)
    else:
        health.failed()
        if error.retry_after_ms is not None and error.code is ErrorCode.UPSTREAM_OVERLOADED:
            health.throttled(error.retry_after_ms)


def wait_us(recovery: Recovery, error: UpstreamError, chance: random.Random) -> int:
    """The pause before the next try; where the gateway rolls dice, these are the history's."""
    if recovery.wait_ms and recovery.wait_ms != error.retry_after_ms:
        return chance.randint(1, BACKOFF_MS) * 1_000
    return recovery.wait_ms * 1_000


def spread(median: float, chance: random.Random, sigma: float = SPREAD) -> float:
    """A value around a median, never below a tenth of it: many a bit lower, few much higher."""
    return max(median * 0.1, median * chance.lognormvariate(0, sigma))


def _failure(trouble: Trouble, has_others: bool, chance: random.Random) -> Failure:
    match trouble:
        case Trouble.THROTTLED:
            error = error_of_status(429, b"", "rate_limit_exceeded", chance.choice(WAITS_MS))
        case Trouble.OVERLOADED:
            error = error_of_status(503, b"", "", None)
        case Trouble.FAILED:
            error = error_of_status(500, b"", "", None)
        case Trouble.REJECTED:
            error = error_of_status(400, b"", "invalid_request_error", None)
        case Trouble.UNREACHABLE:
            words = "the target refused the connection"
            error = broken(ErrorCode.UPSTREAM_UNREACHABLE, words, sent=Sent.NO, phase="connect")
            return Failure(error, int(spread(12, chance) * 1_000))
        case Trouble.SILENT:
            wait_s = FIRST_EVENT_S_WITH_OTHERS if has_others else FIRST_EVENT_S_ALONE
            words = "the target did not answer in time"
            error = broken(ErrorCode.UPSTREAM_TIMEOUT, words, sent=Sent.YES, phase="first_event")
            return Failure(error, int(wait_s * 1_000_000) + chance.randint(200, 4_000))
        case _:
            assert_never(trouble)
    return Failure(error, int(spread(REFUSAL_MS, chance) * 1_000))
