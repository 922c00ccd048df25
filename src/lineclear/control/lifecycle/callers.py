"""Who still depends on a model version, as the ledger knows it.

In: the ledger, a version. Out: callers in facts and in words. Lets ingest catch up first, so that a call that was
just answered counts.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lineclear.base.clock import Clock
from lineclear.domain.money import usd_text
from lineclear.observe.callers import CALLERS_DAYS, Caller, callers_by_model
from lineclear.observe.period import time_text
from lineclear.store.ledger import Ledger


@dataclass(frozen=True)
class CallerFacts:
    """One app that calls a version in one environment."""

    app: str
    environment: str
    keys: list[str]
    """Ids of keys that it called with."""
    requests: int
    """In 30 days."""
    requests_by_day: list[int]
    """Of the last seven days in UTC, oldest first; the last is today."""
    last_call_at: str
    """ISO 8601, to the hour."""
    cost_usd: str
    """In 30 days."""


class Callers:
    """What the ledger says about callers."""

    def __init__(self, ledger: Ledger, clock: Clock, catch_up: Callable[[], object]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._catch_up = catch_up

    def by_model(self) -> dict[str, list[CallerFacts]]:
        """Callers of the last 30 days by `name@version`, the busiest first."""
        self._catch_up()
        found = callers_by_model(self._ledger, self._clock.unix_us())
        return {model: [_facts(caller) for caller in callers] for model, callers in found.items()}

    def of(self, version: str) -> list[CallerFacts]:
        """Callers of one version."""
        self._catch_up()
        found = callers_by_model(self._ledger, self._clock.unix_us(), version)
        return [_facts(caller) for caller in found.get(version, [])]


def callers_words(callers: list[CallerFacts]) -> str:
    """Each caller with its requests and last call."""
    return "; ".join(
        f"{caller.app or 'an unknown app'} in {caller.environment}, "
        f"{caller.requests:,} requests in {CALLERS_DAYS} days, last {caller.last_call_at}"
        for caller in callers
    )


def _facts(caller: Caller) -> CallerFacts:
    return CallerFacts(
        caller.app,
        caller.environment,
        sorted(caller.keys),
        caller.requests,
        caller.by_day,
        time_text(caller.last_us),
        usd_text(caller.cost_nano_usd),
    )
