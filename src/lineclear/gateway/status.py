"""What a target's HTTP status and retry fields mean, as one of our errors.

In: status, error body, fields. Out: UpstreamError. Sends nothing.
Source: research/protocols.md §4 and §5; rows U16 to U20 of the fault matrix.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from lineclear.base.clock import Clock
from lineclear.domain.errors import AttemptClass, ErrorCode, Sent, UpstreamError
from lineclear.wire.problems import PASSED_ON_STATUSES

RETRY_AFTER_MS_MAX = 24 * 3600 * 1000
"""Longer waits are cut to a day: a vendor's 10⁹ is not a plan."""

_QUOTA_TYPES = frozenset({"insufficient_quota", "billing_error", "billing_not_active"})


def error_of_status(status: int, body: bytes, native_type: str, wait_ms: int | None) -> UpstreamError:
    """The error for a target's answer that is not 200."""
    if status in PASSED_ON_STATUSES:
        return UpstreamError(
            ErrorCode.UPSTREAM_REFUSED,
            f"the model's provider refused the request with status {status}",
            attempt_class=AttemptClass.CLIENT_ERROR,
            sent=Sent.YES,
            status=status,
            body=body,
            hint="the provider's own message says what to change",
        )
    code, message, hint = _meaning(status, native_type)
    return UpstreamError(
        code,
        message,
        attempt_class=AttemptClass.REJECTED,
        sent=Sent.YES,
        status=status,
        retry_after_ms=wait_ms,
        hint=hint,
    )


def _meaning(status: int, native_type: str) -> tuple[ErrorCode, str, str]:
    operator = "an operator has to look at the provider's credential"
    if native_type in _QUOTA_TYPES or status == 402:
        return ErrorCode.UPSTREAM_QUOTA, "the account at the model's provider has no quota left", operator
    if status in {401, 403}:
        return ErrorCode.UPSTREAM_AUTH, "the model's provider did not accept our credential", operator
    again = "try again after a moment"
    if status == 429:
        return ErrorCode.UPSTREAM_RATE_LIMITED, "the model's provider limits our rate", again
    if status in {503, 529}:
        return ErrorCode.UPSTREAM_OVERLOADED, f"the model's provider is overloaded (status {status})", again
    if status >= 500 or status == 408:
        return ErrorCode.UPSTREAM_ERROR, f"the model's provider failed with status {status}", again
    return ErrorCode.UPSTREAM_BAD_RESPONSE, f"the model's provider answered with unexpected status {status}", ""


def retry_after_ms(fields: Mapping[bytes, bytes], clock: Clock) -> int | None:
    """How long a target asks to be left alone, in milliseconds; None if it does not say or cannot be read."""
    for name in (b"retry-after-ms", b"x-ms-retry-after-ms"):
        wait = _number(fields.get(name))
        if wait is not None:
            return min(int(wait), RETRY_AFTER_MS_MAX)
    text = fields.get(b"retry-after")
    wait = _number(text)
    if wait is not None:
        return min(int(wait * 1000), RETRY_AFTER_MS_MAX)
    return _until_date(text, fields.get(b"date"), clock) if text else None


def _number(text: bytes | None) -> float | None:
    if text is None or len(text) > 20 or not text.replace(b".", b"", 1).isdigit():
        return None
    return float(text)


def _until_date(text: bytes, sent_at: bytes | None, clock: Clock) -> int | None:
    """A wait until an HTTP date, counted from the target's own Date field, so that clocks need not agree."""
    until, now = _date(text), _date(sent_at) or clock.now()
    if until is None:
        return None
    return min(max(0, int((until - now).total_seconds() * 1000)), RETRY_AFTER_MS_MAX)


def _date(text: bytes | None) -> datetime | None:
    if text is None:
        return None
    try:
        read = parsedate_to_datetime(text.decode("latin-1"))
    except ValueError:
        return None
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)
