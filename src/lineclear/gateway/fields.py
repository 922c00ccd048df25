"""Header fields of an answer. The only list is architecture §6; the grammar is decision 52.

In: what the walk knows. Out: header lines as text, encoded once by whoever sends them. A fact that is not known is
left out.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from lineclear.domain.accounts import Granted
from lineclear.domain.exchange import Dialect
from lineclear.domain.ledger import AttemptRecord
from lineclear.domain.money import CostBasis, usd_text
from lineclear.gateway.plan import Planned
from lineclear.gateway.snapshot import Candidate

JSON_FIELDS = b"content-type: application/json\r\n"
STREAM_FIELDS = (
    b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-store\r\nx-accel-buffering: no\r\n"
)

OPENAI: Final = Dialect.OPENAI
UNPRICED: Final = CostBasis.UNPRICED
_PLAIN_ANSWER = frozenset(
    {b"server", b"date", b"content-type", b"content-length", b"connection", b"keep-alive", b"transfer-encoding"}
)
"""Reading an enum member through its class costs ten times a module name on Python 3.11."""


def id_fields(request_id: str) -> str:
    """The exchange's id under both names that SDKs look for."""
    return f"x-request-id: {request_id}\r\nrequest-id: {request_id}\r\n"


def snapshot_fields(revision: int, environment: str) -> str:
    """Which snapshot answered, for which environment, where no route was asked."""
    return f"x-lineclear-environment: {environment}\r\nx-lineclear-revision: {revision}\r\n"


def exchange_fields(
    planned: Planned, attempts: int, candidate: Candidate | None, total_us: int, upstream_us: int
) -> str:
    """The exchange's id, its route, release and model after how many attempts, and `Server-Timing`.

    The timing is our own and the target's share, in milliseconds.
    """
    admitted = planned.admitted
    request_id = admitted.parsed.identified.head.request_id
    model = ""
    if candidate is not None:
        fallback = "false" if candidate is planned.candidates[0] else "true"
        model = f"{candidate.fields}x-lineclear-fallback: {fallback}\r\n"
    ours_us = total_us - upstream_us if total_us > upstream_us else 0
    return (
        f"x-request-id: {request_id}\r\nrequest-id: {request_id}\r\n"
        f"{admitted.route.fields}{model}x-lineclear-attempts: {attempts}\r\n"
        f"server-timing: gateway;dur={ours_us / 1000:.3f}, upstream;dur={upstream_us / 1000:.3f}\r\n"
    )


def unanswered_fields(planned: Planned, attempts: Iterable[AttemptRecord]) -> str:
    """Of an exchange that no target answered: whether a fallback was tried."""
    first = planned.candidates[0].model
    has_fallback = any(attempt.model != first for attempt in attempts)
    return f"x-lineclear-fallback: {'true' if has_fallback else 'false'}\r\n"


def refusal_fields(total_us: int) -> str:
    """Of a call that was turned away before any attempt: there was none, and all of the time is ours."""
    return f"x-lineclear-attempts: 0\r\nserver-timing: gateway;dur={total_us / 1000:.3f}, upstream;dur=0.000\r\n"


def policy_fields(rules: tuple[str, ...]) -> str:
    """Ids of the rules that took part."""
    return f"x-lineclear-policy: {','.join(rules)}\r\n" if rules else ""


def cost_fields(cost_nano_usd: int, basis: str) -> str:
    """Cost and where the figure comes from. What has no price has no figure: unpriced is never 0."""
    if basis == UNPRICED:
        return f"x-lineclear-cost-basis: {basis}\r\n"
    return f"x-lineclear-cost-usd: {usd_text(cost_nano_usd)}\r\nx-lineclear-cost-basis: {basis}\r\n"


def limit_fields(granted: Granted, dialect: Dialect, given_back_nano_usd: int, now_us: int) -> str:
    """What is left of budget and rates, the rates under the dialect's own names.

    `given_back_nano_usd` is what the settle returned of the reservation; 0 while that is not known.
    `now_us` is the wall clock, unix microseconds.
    """
    fields = ""
    if granted.budget_remaining_nano_usd is not None:
        left = granted.budget_remaining_nano_usd + given_back_nano_usd
        fields = f"x-lineclear-budget-remaining-usd: {usd_text(left)}\r\n"
    if granted.requests_limit is not None:
        remaining, reset_ms = granted.requests_remaining or 0, granted.requests_reset_ms or 0
        fields += _rate_lines(dialect, "requests", granted.requests_limit, remaining, reset_ms, now_us)
    if granted.tokens_limit is not None:
        remaining, reset_ms = granted.tokens_remaining or 0, granted.tokens_reset_ms or 0
        fields += _rate_lines(dialect, "tokens", granted.tokens_limit, remaining, reset_ms, now_us)
    return fields


def instant(unix_s: int) -> str:
    """A second in ISO 8601, in UTC."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _rate_lines(dialect: Dialect, unit: str, limit: int, remaining: int, reset_ms: int, now_us: int) -> str:
    if dialect is OPENAI:
        return (
            f"x-ratelimit-limit-{unit}: {limit}\r\nx-ratelimit-remaining-{unit}: {remaining}\r\n"
            f"x-ratelimit-reset-{unit}: {reset_ms}ms\r\n"
        )
    reset = instant(-(-(now_us + reset_ms * 1_000) // 1_000_000))
    return (
        f"anthropic-ratelimit-{unit}-limit: {limit}\r\nanthropic-ratelimit-{unit}-remaining: {remaining}\r\n"
        f"anthropic-ratelimit-{unit}-reset: {reset}\r\n"
    )


def upstream_rate_fields(fields: Mapping[bytes, bytes]) -> bytes:
    """A vendor's own rate-limit fields, renamed so that they are not taken for ours (decision 31)."""
    lines = b""
    if fields.keys() <= _PLAIN_ANSWER:
        return lines
    for name, value in fields.items():
        if name.startswith((b"x-ratelimit-", b"anthropic-ratelimit-")):
            lines += b"x-lineclear-upstream-" + name.removeprefix(b"x-") + b": " + value + b"\r\n"
    return lines
