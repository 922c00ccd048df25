"""What a caller is told where AI is stopped: who did it, when, why. Pure."""

from datetime import UTC, datetime

from lineclear.domain.errors import ErrorCode, PlatformFault
from lineclear.domain.overrides import STOP_ALL, scope_parts
from lineclear.domain.snapshot import StopEntry


def stopped_error(stop: StopEntry) -> PlatformFault:
    """The refusal of a call that a stop covers; it is never to be repeated by itself."""
    return PlatformFault(
        ErrorCode.STOPPED,
        f"AI is {stop_words(stop)}",
        hint=f"ask {stop.actor}; `lineclear start {stop.scope}` lifts it",
        rules=(stop_rule(stop),),
    )


def stop_words(stop: StopEntry) -> str:
    """`stopped for app shop since 2026-01-31T10:00:00Z by admin: why`."""
    kind, name = scope_parts(stop.scope)
    whom = "everybody" if kind == STOP_ALL else f"{kind} {name}"
    since = datetime.fromtimestamp(stop.at_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")
    return f"stopped for {whom} since {since} by {stop.actor}: {stop.reason or 'no reason was given'}"


def stop_rule(stop: StopEntry) -> str:
    """The id of a stop as `x-lineclear-policy` and `error.rules` carry it: `stop.all`, `stop.app:shop`."""
    return f"stop.{stop.scope}"
