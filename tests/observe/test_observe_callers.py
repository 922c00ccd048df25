"""Who calls: apps by what they ask themselves, and not by what control asks in their name or copies for a candidate."""

from collections import Counter
from pathlib import Path

import pytest

from lineclear.control.ingest.ingest import Ingest
from lineclear.domain.entry import DAY_US, HOUR_US
from lineclear.domain.shadow import SHADOW_APP
from lineclear.observe.behaviour import behaviour_of_releases
from lineclear.observe.callers import callers_by_model
from lineclear.observe.period import Period
from lineclear.observe.traffic import count_callers, sum_traffic
from lineclear.observe.usage import UsageQuestion, sum_usage
from lineclear.store.ledger import Ledger
from lineclear.testing.clock import START_UNIX_US
from lineclear.testing.records import Spool, intent, settle

MODEL = "acme-small@2026-08"
FIRST_US = START_UNIX_US // DAY_US * DAY_US
NOW_US = FIRST_US + 2 * DAY_US + HOUR_US
CALLS = (
    ("shop", "k1", 0, "rel_1"),
    ("shop", "k1", 0, "rel_1"),
    # Control asked the candidate in the shop's name, and an app's that never calls.
    ("shop", "inner:replay", DAY_US, "rel_2"),
    ("shop", "inner:judge", DAY_US, "rel_1"),
    ("idle", "inner:replay", DAY_US, "rel_1"),
    ("idle", "inner:eval", 2 * DAY_US, "rel_2"),
    (SHADOW_APP, "inner:shadow", DAY_US, "rel_2"),
    ("innermost", "innermost", DAY_US, "rel_1"),
)


@pytest.fixture
def books(ledger: Ledger, spool: Spool, tmp_path: Path) -> Ledger:
    """Three days; the first two are folded."""
    for number, (app, key, after_us, release) in enumerate(CALLS):
        at_us = FIRST_US + after_us
        spool.write(intent(number, at_us, app=app, key_id=key, release=release), settle(number, at_us, 5))
    spool.clock.advance((NOW_US - START_UNIX_US) / 1e6)
    Ingest(ledger, spool.directory, spool.clock, accountant_positions=dict).catch_up()
    return ledger


def test_who_is_asked_about_is_who_calls(books: Ledger) -> None:
    callers = {caller.app: caller for caller in callers_by_model(books, NOW_US)[MODEL]}
    assert set(callers) == {"shop", "innermost"}
    shop = callers["shop"]
    assert shop.keys == {"k1"}
    assert callers_by_model(books, NOW_US, MODEL).keys() == {MODEL}


def test_the_days_of_an_app_are_its_own(books: Ledger, request: pytest.FixtureRequest) -> None:
    (shop,) = (caller for caller in callers_by_model(books, NOW_US)[MODEL] if caller.app == "shop")
    if request.node.callspec.params["ledger"] == "sqlite":
        assert (shop.requests, shop.last_us) == (2, FIRST_US + HOUR_US)
    else:
        # The days share one table of combinations there, so a judgement on the shop's own release counts as its own.
        assert (shop.requests, shop.last_us) == (3, FIRST_US + DAY_US + HOUR_US)


def test_impact_and_notices_name_no_app_for_what_control_asked(books: Ledger) -> None:
    for only in ({}, {"model": MODEL}, {"environment": "live", "route": "support-chat"}):
        assert set(count_callers(books, 30, NOW_US, only)) == {"shop", "innermost"}
    assert count_callers(books, 30, NOW_US, {"release": "rel_2"}) == {}
    assert count_callers(books, 30, NOW_US, {"app": "idle"}) == {}
    assert set(sum_traffic(books, 30, NOW_US)["live", "support-chat"].apps) == {"shop", "innermost"}


def test_a_release_behaves_as_apps_found_it(books: Ledger) -> None:
    found = behaviour_of_releases(books, "live", "support-chat", NOW_US)
    # Of rel_2 are a replay, an eval and a copy only.
    assert found.keys() == {"rel_1"}


def test_usage_tells_who_calls_if_asked_for_callers(books: Ledger) -> None:
    period, only = Period(FIRST_US, NOW_US), {"environment": "live", "route": "support-chat"}

    def apps(by: tuple[str, ...], *, is_of_apps: bool) -> dict[str, int]:
        report = sum_usage(books, UsageQuestion(by, period, only, is_of_apps=is_of_apps))
        assert report.total["requests"] == sum(row["requests"] for row in report.rows)
        found = Counter[str]()
        for row in report.rows:
            found[row["app"]] += row["requests"]
        return found

    for by in (("app",), ("app", "hour"), ("app", "day"), ("app", "operation")):
        assert apps(by, is_of_apps=False) == {"shop": 4, "idle": 2, SHADOW_APP: 1, "innermost": 1}
        assert set(apps(by, is_of_apps=True)) == {"shop", "innermost"}
