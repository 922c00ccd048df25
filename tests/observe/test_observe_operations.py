"""Sums by operation are those of the entries, whether one combination asked for one operation or for several."""

import pytest

from lineclear.base.clock import Clock
from lineclear.control.endpoint import AdminCode, Call, Refused
from lineclear.control.ingest.ingest import Ingest
from lineclear.control.ledger.http import LedgerDesk
from lineclear.domain.access import PrincipalKind, with_every_role
from lineclear.domain.entry import DAY_US, HOUR_US
from lineclear.domain.money import Usage
from lineclear.observe.period import Period
from lineclear.observe.usage import UsageQuestion, UsageReport, sum_usage
from lineclear.store.ledger import Ledger
from lineclear.testing.clock import START_UNIX_US
from lineclear.testing.records import Spool, intent, refusal, settle

ADMIN = with_every_role("admin", PrincipalKind.ADMIN_TOKEN)
FIRST_US = START_UNIX_US // DAY_US * DAY_US
DAYS = 3


class House:
    """A ledger with three days of calls; the first two are over and summed up."""

    def __init__(self, ledger: Ledger, spool: Spool) -> None:
        self.spool = spool
        clock: Clock = spool.clock
        self.ingest = Ingest(ledger, spool.directory, clock, accountant_positions=dict)
        self.desk = LedgerDesk(ledger, self.ingest, clock, lambda _model: None)
        self._number = 0

    def call(self, operation: str, at_us: int, *, app: str = "shop", tokens: int = 10, route: str = "mixed") -> None:
        self._number += 1
        self.spool.write(
            intent(self._number, at_us, operation=operation, app=app, route=route),
            settle(self._number, at_us, 1_000 * tokens, usage=Usage(tokens, 0, 0, 0, 1, 0), cost_nano_usd=tokens),
        )

    def refuse(self, operation: str, at_us: int) -> None:
        self._number += 1
        self.spool.write(refusal(self._number, at_us, operation=operation, route="mixed"))

    def usage(self, **query: str) -> UsageReport:
        self.ingest.catch_up()
        self.ingest.catch_up()
        return self.desk.usage(Call(ADMIN, {}, {"since": "2027-01-15", **query}, None))


@pytest.fixture
def house(ledger: Ledger, spool: Spool) -> House:
    made = House(ledger, spool)
    for day in range(DAYS):
        noon = FIRST_US + day * DAY_US + 12 * HOUR_US
        # One app asks a route for two things: what their sums are, only entries know.
        made.call("chat", noon, tokens=100)
        made.call("chat", noon + HOUR_US, tokens=30)
        made.call("embeddings", noon, tokens=7)
        made.refuse("embeddings", noon)
        made.call("embeddings", noon, app="search", tokens=5, route="vectors")
        made.call("messages", noon, app="search", tokens=3, route="texts")
    spool.clock.step_wall((FIRST_US - START_UNIX_US + DAYS * DAY_US - HOUR_US) / 1e6)
    return made


def figures(report: UsageReport, *names: str) -> dict[tuple[str, ...], tuple[int, int]]:
    return {tuple(row[name] for name in names): (row["requests"], row["input_tokens"]) for row in report.rows}


def test_usage_by_operation_is_the_sum_of_its_entries(house: House) -> None:
    report = house.usage(by="operation")
    assert figures(report, "operation") == {
        ("chat",): (2 * DAYS, 130 * DAYS),
        ("embeddings",): (3 * DAYS, 12 * DAYS),
        ("messages",): (DAYS, 3 * DAYS),
    }
    embeddings = {row["operation"]: row for row in report.rows}["embeddings"]
    assert (embeddings["errors"], embeddings["refused"]) == (DAYS, DAYS)
    assert embeddings["cost_usd"] == "0.000000036"
    assert report.total == house.usage(by="route").total
    assert figures(house.usage(by="operation,app", route="mixed"), "operation", "app") == {
        ("chat", "shop"): (2 * DAYS, 130 * DAYS),
        ("embeddings", "shop"): (2 * DAYS, 7 * DAYS),
    }


def test_hours_and_days_of_an_operation_are_counted_apart(house: House) -> None:
    hours = figures(house.usage(by="hour,operation", app="shop", since="2027-01-16T12:00", until="2027-01-16T14:00"),
                    "hour", "operation")  # fmt: skip
    assert hours == {
        ("2027-01-16T12:00:00.000Z", "chat"): (1, 100),
        ("2027-01-16T12:00:00.000Z", "embeddings"): (2, 7),
        ("2027-01-16T13:00:00.000Z", "chat"): (1, 30),
    }
    days = figures(house.usage(by="day", operation="chat"), "day")
    assert days == {(f"2027-01-{15 + day}",): (2, 130) for day in range(DAYS)}


def test_usage_narrowed_to_an_operation_has_nothing_else(house: House) -> None:
    report = house.usage(by="route", operation="embeddings")
    assert figures(report, "route") == {("mixed",): (2 * DAYS, 7 * DAYS), ("vectors",): (DAYS, 5 * DAYS)}
    assert report.total["requests"] == 3 * DAYS
    assert house.usage(by="route", operation="classify").rows == []


def test_a_question_that_reads_too_much_is_refused_with_what_to_do(house: House, ledger: Ledger) -> None:
    house.usage()
    period = Period(FIRST_US, FIRST_US + DAYS * DAY_US)

    def ask(entries_max: int, **only: str) -> int:
        report = sum_usage(ledger, UsageQuestion(("operation",), period, only, entries_max))
        requests: int = report.total["requests"]
        return requests

    # Refusals are of one operation; of the others there are three each day.
    assert ask(3 * DAYS) == 6 * DAYS
    with pytest.raises(ValueError, match=r"more than 8 entries .* shorter time, or one app or route"):
        ask(3 * DAYS - 1)
    # What only one operation was asked of needs no entry, however much it was.
    assert ask(0, app="search") == 2 * DAYS


def test_an_unknown_name_is_refused_with_those_there_are(house: House) -> None:
    with pytest.raises(Refused, match="operation, day, hour") as caught:
        house.usage(by="dialect")
    assert caught.value.code is AdminCode.INVALID_REQUEST
