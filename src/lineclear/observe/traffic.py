"""What routes answered over some days, as a change is judged by: requests by app, tokens by bucket, cost.

In: the ledger's rollups. Out: sums by environment and route, and who called a thing. Must not read single entries.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lineclear.domain.entry import DAY_US, HOUR_US
from lineclear.domain.ledger import Outcome
from lineclear.domain.money import Usage
from lineclear.domain.shadow import SHADOW_APP
from lineclear.observe.asked import asked_by_control
from lineclear.store.day_rollups import hours_of, read_day
from lineclear.store.ledger import Ledger
from lineclear.store.ledger_tables import DIMENSIONS, ROLLUP_SUMS
from lineclear.store.rollup import Rollup, RollupKey
from lineclear.store.standing_rollups import read_rollups

_PLACES = {name: place for place, name in enumerate(DIMENSIONS, start=1)}
_SUMS = {name: place for place, name in enumerate(ROLLUP_SUMS)}
_TOKENS = (
    "input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens", "output_tokens",
    "reasoning_tokens", "audio_input_tokens", "audio_output_tokens",
)  # fmt: skip
_COSTS = ("reported_nano_usd", "priced_nano_usd", "estimated_nano_usd")


@dataclass
class RouteTraffic:
    """The growing sums of one route in one environment. Refused requests count as asked, not as answered."""

    apps: dict[str, int] = field(default_factory=dict)
    answered: int = 0
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_TOKENS, 0))
    cost_nano_usd: int = 0

    def add(self, app: str, outcome: str, rollup: Rollup) -> None:
        """Add the sums of one rollup."""
        requests = rollup.sums[_SUMS["requests"]]
        self.apps[app] = self.apps.get(app, 0) + requests
        if outcome != Outcome.REFUSED:
            self.answered += requests
        for name in _TOKENS:
            self.tokens[name] += rollup.sums[_SUMS[name]]
        self.cost_nano_usd += sum(rollup.sums[_SUMS[name]] for name in _COSTS)

    @property
    def usage(self) -> Usage:
        return Usage(**self.tokens)


def sum_traffic(ledger: Ledger, days: int, now_us: int) -> dict[tuple[str, str], RouteTraffic]:
    """The traffic of the last days up to now, by (environment, route)."""
    found: dict[tuple[str, str], RouteTraffic] = {}
    for key, rollup in rollups_of(ledger, days, now_us, {}, is_of_apps=True):
        place = (key[_PLACES["environment"]], key[_PLACES["route"]])
        traffic = found.setdefault(place, RouteTraffic())
        traffic.add(key[_PLACES["app"]], key[_PLACES["outcome"]], rollup)
    return found


def count_callers(ledger: Ledger, days: int, now_us: int, only: Mapping[str, str]) -> dict[str, int]:
    """Requests by app of the last days, of entries with these values in these dimensions."""
    found: dict[str, int] = {}
    for key, rollup in rollups_of(ledger, days, now_us, only, is_of_apps=True):
        app = key[_PLACES["app"]]
        found[app] = found.get(app, 0) + rollup.sums[_SUMS["requests"]]
    return found


def rollups_of(
    ledger: Ledger, days: int, now_us: int, only: Mapping[str, str], *, is_of_apps: bool = False
) -> Iterator[tuple[RollupKey, Rollup]]:
    """Those of the last days up to now, of entries with these values in these dimensions.

    With `is_of_apps` without copies that nobody gets the answer of, and without what control alone asked (`asked`).
    """
    first_hour, last_hour = (now_us - days * DAY_US) // HOUR_US, now_us // HOUR_US
    for day in ledger.days():
        start, end = hours_of(day)
        first, last = max(start, first_hour), min(end, last_hour)
        if first > last:
            continue
        with ledger.read(day) as connection:
            whole = read_day(connection, day, only) if (first, last) == (start, end) else None
            found = whole if whole is not None else list(read_rollups(connection, first, last, only))
            left_out = asked_by_control(connection, only) if is_of_apps else frozenset()
        for key, rollup in found:
            if not (is_of_apps and (key[_PLACES["app"]] == SHADOW_APP or key[1:] in left_out)):
                yield key, rollup
