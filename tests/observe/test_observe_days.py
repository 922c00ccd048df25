"""The sums of a whole day are those of its hours: whatever came, however late, of whichever version."""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.engine import Engine

from lineclear.control.ingest.ingest import FOLDS_PER_LOOK_MAX, Ingest
from lineclear.domain.entry import DAY_US, HOUR_US, day_of
from lineclear.domain.money import Usage
from lineclear.observe.check import check_ledger
from lineclear.observe.entry import EntryQuestion, list_entries
from lineclear.observe.period import Period, period_of
from lineclear.observe.usage import UsageQuestion, UsageReport, sum_usage
from lineclear.store.database import Database
from lineclear.store.day_rollups import is_folded
from lineclear.store.ledger import Ledger
from lineclear.testing.clock import START_UNIX_US
from lineclear.testing.postgres import PostgresCluster
from lineclear.testing.records import Spool, intent, refusal, settle

FIXTURE = Path(__file__).parents[1] / "fixtures" / "data-0.1.0"
DAYS = 4
FIRST_US = START_UNIX_US // DAY_US * DAY_US
PERIOD = Period(FIRST_US, FIRST_US + DAYS * DAY_US)
BY = (("app",), ("day", "route"), ("outcome", "model"), ("hour",), ())

Happening = tuple[int, int, str, str, int, int, int]
happenings = st.lists(
    st.tuples(
        st.integers(0, DAYS * DAY_US - 1),
        st.integers(0, 5_000_000),
        st.sampled_from(("shop", "bank", "forum")),
        st.sampled_from(("ok", "failed", "refused")),
        st.sampled_from((0, 1, 24_150, 7_777_777)),
        st.integers(0, 2_000),
        st.integers(1, 3),
    ),
    max_size=60,
)
"""When within the days, how long it took, app, outcome, nano-USD, tokens, which route."""


class Books:
    """A ledger that looks into a spool, at a clock moved by hand."""

    def __init__(self, place: Path | Database, directory: Path) -> None:
        self.spool = Spool(directory / "spool")
        self.ledger = Ledger.open(place)
        self.ingest = Ingest(self.ledger, self.spool.directory, self.spool.clock, accountant_positions=dict)

    def write(self, found: Sequence[Happening], first: int = 0) -> None:
        for number, (after_us, took_us, app, outcome, cost, tokens, route) in enumerate(found, start=first):
            at_us, name = FIRST_US + after_us, f"route-{route}"
            if outcome == "refused":
                self.spool.write(refusal(number, at_us, app=app, route=name))
            else:
                figures = {"outcome": outcome, "cost_nano_usd": cost, "usage": Usage(tokens, 0, 0, 0, tokens, 0)}
                self.spool.write(intent(number, at_us, app=app, route=name), settle(number, at_us, took_us, **figures))

    def reports(self) -> list[UsageReport]:
        """All that can be asked of the days, whole and in parts."""
        periods = [PERIOD, Period(FIRST_US + 5 * HOUR_US, FIRST_US + 3 * DAY_US + HOUR_US)]
        # Midnight in Kolkata and in New York: neither is a day of UTC.
        periods += [period_of("2027-01-16T00:00+05:30", "2027-01-18T00:00-05:00", PERIOD.until_us)]
        return [
            sum_usage(self.ledger, UsageQuestion(by, period, only))
            for period in periods
            for by in BY
            for only in ({}, {"app": "bank"}, {"app": "nobody"})
        ]

    def folded(self) -> list[int]:
        """Days of the period that have sums of their own."""
        found = []
        for day in sorted(self.ledger.days()):
            with self.ledger.read(day) as connection:
                if is_folded(connection, day):
                    found.append(day)
        return found

    def is_true(self) -> bool:
        with self.ingest.still() as open_exchanges:
            return check_ledger(self.ledger, open_exchanges, None, lambda _model: None).ok

    def close(self) -> None:
        self.ledger.close()
        self.spool.close()


@contextmanager
def books_of(postgres: PostgresCluster | None) -> Iterator[Books]:
    with tempfile.TemporaryDirectory() as name:
        database = None if postgres is None else Database.open(postgres.fresh_url())
        books = Books(database or Path(name) / "ledger", Path(name))
        try:
            yield books
        finally:
            books.close()
            if database is not None:
                database.close()


def compare(books: Books, found: Sequence[Happening], late: Sequence[Happening]) -> None:
    """The same answers from hours alone, from days, and again after entries for days that were over."""
    books.spool.clock.step_wall((FIRST_US - START_UNIX_US) / 1e6)
    books.write(found)
    books.ingest.catch_up()
    assert books.folded() == []
    by_hours = books.reports()
    books.spool.clock.step_wall((DAYS + 2) * DAY_US / 1e6)
    books.ingest.catch_up()
    settled = {day_of(FIRST_US + after_us + (took_us if outcome != "refused" else 90))
               for after_us, took_us, _, outcome, *_ in found}  # fmt: skip
    assert books.folded() == sorted(settled)
    assert books.reports() == by_hours
    assert books.is_true()
    books.write(late, first=len(found))
    books.ingest.catch_up()
    before = books.reports()
    books.ingest.catch_up()
    assert set(books.folded()) >= settled
    assert books.reports() == before
    assert before[3 * BY.index(())].total["requests"] == sum(
        1 for after_us, took_us, _, outcome, *_ in (*found, *late)
        if after_us + (took_us if outcome != "refused" else 90) < DAYS * DAY_US
    )  # fmt: skip
    assert books.is_true()


@given(happenings, happenings)
@settings(max_examples=25, deadline=None)
def test_days_are_the_sums_of_their_hours(found: list[Happening], late: list[Happening]) -> None:
    with books_of(None) as books:
        compare(books, found, late)


EXAMPLE: list[Happening] = [
    (hour * HOUR_US * 5, 1_000_000, app, outcome, 24_150, hour, hour % 3)
    for hour in range(DAYS * 4)
    for app, outcome in (("shop", "ok"), ("bank", "failed"), ("bank", "ok"), ("forum", "refused"))
]


def test_days_are_the_sums_of_their_hours_on_postgresql(postgres: PostgresCluster) -> None:
    with books_of(postgres) as books:
        compare(books, EXAMPLE, EXAMPLE[:9])


def test_a_day_is_summed_once_it_is_over(tmp_path: Path) -> None:
    books = Books(tmp_path / "ledger", tmp_path)
    books.write([(9 * HOUR_US, 1_000, "shop", "ok", 1, 1, 1)])
    for hours, expected in ((0, 0), (15.9, 0), (0.2, 1)):
        books.spool.clock.step_wall(hours * 3600)
        books.ingest.catch_up()
        books.ingest.catch_up()
        assert len(books.folded()) == expected
    books.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE day_rollups SET priced_nano_usd = priced_nano_usd + 1 WHERE app = 'shop'",
        "UPDATE day_rollups SET duration_histogram = x'80' WHERE app = 'shop'",
        "DELETE FROM day_rollups WHERE app = 'shop'",
    ],
)
def test_a_wrong_day_is_found(tmp_path: Path, change: str) -> None:
    books = Books(tmp_path / "ledger", tmp_path)
    books.write([(1, 1_000, "shop", "ok", 1, 1, 1), (1, 1_000, "bank", "ok", 1, 1, 1)])
    books.spool.clock.step_wall(2 * DAY_US / 1e6)
    books.ingest.catch_up()
    books.ingest.catch_up()
    assert books.is_true()
    (path,) = (tmp_path / "ledger").glob("ledger-2027-01-15.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(change).rowcount == 1
    assert not books.is_true()
    books.close()


def test_damaged_hours_hold_nothing_up(tmp_path: Path) -> None:
    books = Books(tmp_path / "ledger", tmp_path)
    books.write([(1, 1_000, "shop", "ok", 1, 1, 1)])
    books.ingest.catch_up()
    (path,) = (tmp_path / "ledger").glob("ledger-2027-01-15.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("UPDATE rollups SET duration_histogram = x'00'").rowcount == 1
    books.spool.clock.step_wall(2 * DAY_US / 1e6)
    books.ingest.catch_up()
    books.write([(2 * DAY_US, 1_000, "shop", "ok", 1, 1, 1)], first=1)
    assert books.ingest.catch_up().entries == 1
    assert books.folded() == []
    books.close()


def test_the_days_of_an_earlier_version_are_summed(tmp_path: Path) -> None:
    facts = json.loads((FIXTURE / "facts.json").read_text())
    shutil.copytree(FIXTURE / "data" / "ledger", tmp_path / "ledger")
    books = Books(tmp_path / "ledger", tmp_path)
    (day,) = books.ledger.days()
    assert day * DAY_US < books.spool.clock.unix_us()
    question = UsageQuestion(("route", "outcome"), Period(day * DAY_US, (day + 1) * DAY_US), {})
    assert sum_usage(books.ledger, question).rows == facts["usage"]["rows"]
    books.ingest.catch_up()
    assert books.folded() == [day]
    assert sum_usage(books.ledger, question).rows == facts["usage"]["rows"]
    books.close()


def test_a_long_history_is_summed_a_few_days_at_a_time(tmp_path: Path) -> None:
    books = Books(tmp_path / "ledger", tmp_path)
    count = FOLDS_PER_LOOK_MAX + 3
    books.write([(number * DAY_US, 1_000, "shop", "ok", 1, 1, 1) for number in range(count)])
    books.spool.clock.step_wall((count + 1) * DAY_US / 1e6)
    books.ingest.catch_up()
    assert len(books.folded()) == FOLDS_PER_LOOK_MAX
    books.ingest.catch_up()
    assert len(books.folded()) == count
    books.close()


def test_no_question_of_a_page_reads_all_entries_or_sums(tmp_path: Path) -> None:
    books = Books(tmp_path / "ledger", tmp_path)
    books.write(EXAMPLE)
    books.spool.clock.step_wall(DAYS * DAY_US / 1e6)
    books.ingest.catch_up()
    books.ingest.catch_up()
    plans: list[str] = []

    def explain(_connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        # Any: SQLAlchemy's untyped event.
        if statement.startswith("SELECT") and " FROM " in statement.replace("\n", " "):
            inner = cursor.connection.cursor()
            inner.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(str(row[3]) for row in inner.fetchall())

    event.listen(Engine, "before_cursor_execute", explain)
    try:
        filters: list[Mapping[str, str]] = [{}, {"app": "bank"}, {"outcome": "failed"}]
        for only in filters:
            sum_usage(books.ledger, UsageQuestion(("day", "app"), Period(FIRST_US + HOUR_US, PERIOD.until_us), only))
            assert list_entries(books.ledger, EntryQuestion(PERIOD, only, 100))
    finally:
        event.remove(Engine, "before_cursor_execute", explain)
    found = {plan.split(" ")[1] for plan in plans if plan.startswith("SEARCH")}
    assert found == {"entries", "facets", "rollups", "day_rollups"}, plans
    assert [plan for plan in plans if not plan.startswith("SEARCH")] == []
    books.close()
