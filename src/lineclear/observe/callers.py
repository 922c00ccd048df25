"""Who calls each model version: apps with their keys, how much, since when less, when last, for how much money.

In: the ledger's rollups and facets of some days. Out: callers by model version. Reads no entries; only of a caller's
last day the hours.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from lineclear.domain.entry import HOUR_US, day_of
from lineclear.domain.ledger import INNER_KEY_PREFIX
from lineclear.domain.shadow import SHADOW_APP
from lineclear.observe.asked import asked_by_control
from lineclear.store.day_rollups import hours_of, read_day
from lineclear.store.ledger import Ledger
from lineclear.store.ledger_tables import DIMENSIONS, ROLLUP_SUMS, facets
from lineclear.store.rollup import Rollup, RollupKey
from lineclear.store.standing_rollups import read_rollups

CALLERS_DAYS = 30
"""Who called so recently still depends on a version. Source: release-governance.md §3.2."""
TREND_DAYS = 7
KEYS_SHOWN_MAX = 100
"""Keys named for each caller; an app with more is seldom one app."""

_MODEL, _ENVIRONMENT, _APP = (DIMENSIONS.index(name) + 1 for name in ("model", "environment", "app"))
_REQUESTS = ROLLUP_SUMS.index("requests")
_COSTS = tuple(ROLLUP_SUMS.index(f"{basis}_nano_usd") for basis in ("reported", "priced", "estimated"))

CallerKey = tuple[str, str, str]
"""Model version, environment, app."""


@dataclass
class Caller:
    """One app that calls one model version in one environment; its figures grow while days are read."""

    app: str
    environment: str
    requests: int = 0
    """In CALLERS_DAYS."""
    cost_nano_usd: int = 0
    by_day: list[int] = field(default_factory=lambda: [0] * TREND_DAYS)
    """Requests of the last TREND_DAYS days in UTC, oldest first; the last is today."""
    last_us: int = 0
    """The end of the hour of its last call, unix microseconds; not later than now."""
    keys: set[str] = field(default_factory=set)
    """Ids of keys that it called with."""


def callers_by_model(ledger: Ledger, now_us: int, only: str = "") -> dict[str, list[Caller]]:
    """Callers of the last CALLERS_DAYS by `name@version`, the busiest first; `only` of one version if it is named."""
    today = day_of(now_us)
    found: dict[CallerKey, Caller] = {}
    for day in ledger.days():
        if not today - CALLERS_DAYS <= day <= today:
            continue
        with ledger.read(day) as connection:
            wanted = {"model": only} if only else {}
            # What control asked itself in an app's name, in replays and evals, is no reason to keep a version.
            left_out = asked_by_control(connection, wanted)
            rollups = ((key, one) for key, one in _rollups(connection, day, wanted) if key[1:] not in left_out)
            new = _add_day(rollups, day, today, found)
            if new:
                _date(connection, day, wanted, now_us, {key: found[key] for key in new}, left_out)
            _name_keys(connection, only, found)
    result: dict[str, list[Caller]] = {}
    for (model, _, _), caller in sorted(found.items(), key=lambda item: (-item[1].requests, item[0])):
        result.setdefault(model, []).append(caller)
    return result


def _add_day(
    rollups: Iterable[tuple[RollupKey, Rollup]], day: int, today: int, found: dict[CallerKey, Caller]
) -> set[CallerKey]:
    """Add a day's sums; days come newest first, so who is new here called last on this day."""
    new: set[CallerKey] = set()
    for key, rollup in rollups:
        caller_key = (key[_MODEL], key[_ENVIRONMENT], key[_APP])
        if not caller_key[0] or caller_key[2] == SHADOW_APP:
            continue  # refused before a model was chosen, or a copy that nobody gets the answer of
        caller = found.get(caller_key)
        if caller is None:
            caller = found[caller_key] = Caller(caller_key[2], caller_key[1])
            new.add(caller_key)
        requests = rollup.sums[_REQUESTS]
        caller.requests += requests
        caller.cost_nano_usd += sum(rollup.sums[place] for place in _COSTS)
        if today - day < TREND_DAYS:
            caller.by_day[TREND_DAYS - 1 - (today - day)] += requests
    return new


def _rollups(connection: Connection, day: int, only: Mapping[str, str]) -> Iterable[tuple[RollupKey, Rollup]]:
    folded = read_day(connection, day, only)
    return list(read_rollups(connection, *hours_of(day), only)) if folded is None else folded


def _date(
    connection: Connection,
    day: int,
    only: Mapping[str, str],
    now_us: int,
    new: Mapping[CallerKey, Caller],
    left_out: Collection[RollupKey],
) -> None:
    for key, _ in read_rollups(connection, *hours_of(day), only):
        caller = new.get((key[_MODEL], key[_ENVIRONMENT], key[_APP]))
        if caller is not None and key[1:] not in left_out:
            caller.last_us = max(caller.last_us, min(now_us, (key[0] + 1) * HOUR_US))


def _name_keys(connection: Connection, only: str, found: Mapping[CallerKey, Caller]) -> None:
    columns = (facets.c.model, facets.c.environment, facets.c.app, facets.c.key_id)
    statement = select(*columns).distinct()
    if only:
        statement = statement.where(facets.c.model == only)
    for model, environment, app, key_id in connection.execute(statement):
        caller = found.get((model, environment, app))
        is_own = key_id and not key_id.startswith(INNER_KEY_PREFIX)
        if caller is not None and is_own and len(caller.keys) < KEYS_SHOWN_MAX:
            caller.keys.add(key_id)
