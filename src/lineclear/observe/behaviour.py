"""How each release of a route behaved: errors, refusals, length of answers, cost and time of a request.

In: the ledger's rollups of some days. Out: figures by release. Reads no single entries.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lineclear.domain.histogram import quantile_us
from lineclear.domain.ledger import Outcome
from lineclear.observe.traffic import rollups_of
from lineclear.store.ledger import Ledger
from lineclear.store.ledger_tables import DIMENSIONS, ROLLUP_SUMS
from lineclear.store.rollup import Rollup

BEHAVIOUR_DAYS = 30
_PLACES = {name: place for place, name in enumerate(DIMENSIONS, start=1)}
_SUMS = {name: place for place, name in enumerate(ROLLUP_SUMS)}
_ERRORS = frozenset({Outcome.FAILED, Outcome.TRUNCATED, Outcome.DEADLINE, Outcome.FAULT})
_COSTS = ("reported_nano_usd", "priced_nano_usd", "estimated_nano_usd")


@dataclass(frozen=True)
class Behaviour:
    """Of one release, in BEHAVIOUR_DAYS. Means and quantiles are of requests that we did not refuse."""

    requests: int
    error_share: float
    refused_share: float
    output_tokens_mean: float
    cost_nano_usd_mean: float
    latency_ms_p50: float | None
    """None = nothing was answered."""
    latency_ms_p95: float | None


def behaviour_of_releases(ledger: Ledger, environment: str, route: str, now_us: int) -> dict[str, Behaviour]:
    """By release id, of what apps asked themselves; releases that none did are not in it."""
    asked, tried = dict[str, int](), dict[str, Rollup]()
    failed = dict[str, int]()
    place = {"environment": environment, "route": route}
    for key, rollup in rollups_of(ledger, BEHAVIOUR_DAYS, now_us, place, is_of_apps=True):
        release, outcome = key[_PLACES["release"]], key[_PLACES["outcome"]]
        requests = rollup.sums[_SUMS["requests"]]
        asked[release] = asked.get(release, 0) + requests
        if outcome in _ERRORS:
            failed[release] = failed.get(release, 0) + requests
        if outcome != Outcome.REFUSED:
            tried.setdefault(release, Rollup()).add(rollup)
    return {name: _behaviour(count, failed.get(name, 0), tried.get(name)) for name, count in asked.items() if name}


def _behaviour(requests: int, failed: int, tried: Rollup | None) -> Behaviour:
    rollup = tried or Rollup()
    answered = rollup.sums[_SUMS["requests"]]
    cost = sum(rollup.sums[_SUMS[name]] for name in _COSTS)
    return Behaviour(
        requests,
        failed / max(answered, 1),
        (requests - answered) / max(requests, 1),
        rollup.sums[_SUMS["output_tokens"]] / max(answered, 1),
        cost / max(answered, 1),
        _ms(rollup.durations, 0.5),
        _ms(rollup.durations, 0.95),
    )


def _ms(durations: Mapping[int, int], share: float) -> float | None:
    found = quantile_us(durations, share)
    return None if found is None else round(found / 1000, 1)
