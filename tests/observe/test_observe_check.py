"""The ledger check finds each kind of planted damage by itself, without an upstream's log where it can."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lineclear.control.ingest.ingest import Ingest
from lineclear.domain.entry import check_number
from lineclear.domain.money import Price
from lineclear.observe.check import LedgerCheck, check_ledger
from lineclear.observe.dispatches import Dispatch, read_dispatches
from lineclear.store.ledger import Ledger
from lineclear.store.ledger_tables import ENTRY_COLUMNS
from lineclear.testing.records import Spool, exchange_id, intent, refusal, settle

COUNT = 10
PRICE = Price(version="manifest", input_per_mtok=150_000_000, output_per_mtok=600_000_000)


class Books:
    """A ledger of ten exchanges and a refusal, with its file at hand."""

    def __init__(self, directory: Path, spool: Spool) -> None:
        self.directory = directory
        self.ledger = Ledger.open(directory)
        self.ingest = Ingest(self.ledger, spool.directory, spool.clock, accountant_positions=dict)
        for number in range(COUNT):
            spool.write(intent(number), settle(number))
        spool.write(refusal(COUNT))
        self.ingest.catch_up()

    def change(self, statement: str, *values: object) -> None:
        (path,) = self.directory.glob("ledger-*.db")
        with closing(sqlite3.connect(path)) as connection, connection:
            assert connection.execute(statement, values).rowcount == 1

    def check(self, dispatches: list[Dispatch] | None = None) -> LedgerCheck:
        with self.ingest.still() as open_exchanges:
            return check_ledger(self.ledger, open_exchanges, dispatches, lambda _model: PRICE)


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    spool = Spool(tmp_path / "spool")
    opened = Books(tmp_path / "ledger", spool)
    yield opened
    opened.ledger.close()
    spool.close()


def dispatches(*numbers: int) -> list[Dispatch]:
    return read_dispatches(f"{exchange_id(number)}.1 200 121 10" for number in numbers)


def test_true_books_are_ok(books: Books) -> None:
    verdict = books.check()
    assert (verdict.ok, verdict.intents, verdict.settles, verdict.refusals) == (True, COUNT, COUNT, 1)
    assert books.check(dispatches(*range(COUNT))).ok
    # An upstream's log may cover only a part; the ledger's other calls went elsewhere or before.
    assert books.check(dispatches()).ok


def test_a_lost_entry_is_missing(books: Books) -> None:
    books.change("DELETE FROM entries WHERE id = ?", exchange_id(3))
    verdict = books.check()
    assert (verdict.ok, verdict.missing, verdict.intents, verdict.settles) == (False, 1, COUNT, COUNT - 1)
    with_log = books.check(dispatches(*range(COUNT)))
    assert with_log.missing == 1
    assert exchange_id(3) in {problem.exchange for problem in with_log.problems}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE entries SET cost_nano_usd = cost_nano_usd + 1 WHERE id = ?",
        "UPDATE entries SET output_tokens = 9 WHERE id = ?",
        "UPDATE entries SET detail = x'00' WHERE id = ?",
        "UPDATE entries SET facet = facet + 1 WHERE id = ?",
        "UPDATE entries SET settled_us = settled_us + 1 WHERE id = ?",
    ],
)
def test_an_altered_entry_is_found(books: Books, change: str) -> None:
    books.change(change, exchange_id(4))
    verdict = books.check()
    assert not verdict.ok
    assert verdict.altered >= 1
    assert verdict.problems[0].exchange == exchange_id(4)


def test_an_altered_entry_is_found_even_if_its_check_number_was_made_anew(books: Books) -> None:
    with books.ledger.read(books.ledger.days()[0]) as connection:
        found = connection.exec_driver_sql(f"SELECT * FROM entries WHERE id = '{exchange_id(5)}'").one()
    row = list(found[:-1])
    row[ENTRY_COLUMNS.index("cost_nano_usd")] -= 1
    change = "UPDATE entries SET cost_nano_usd = cost_nano_usd - 1, check_number = ? WHERE id = ?"
    books.change(change, check_number(tuple(row)), exchange_id(5))
    verdict = books.check()
    assert not verdict.ok
    # Both the rollup and the price of its nine neighbours contradict it.
    details = " ".join(problem.detail for problem in verdict.problems)
    assert "its usage costs" in details
    assert "not the sum of its entries" in details


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE facets SET app = 'other' WHERE app = ? AND outcome = 'ok'",
        "UPDATE rollups SET requests = requests + 1 WHERE app = ? AND outcome = 'ok'",
        "UPDATE rollups SET duration_histogram = x'80' WHERE app = ? AND outcome = 'ok'",
        "DELETE FROM rollups WHERE app = ? AND outcome = 'ok'",
    ],
)
def test_altered_sums_and_facets_are_found(books: Books, change: str) -> None:
    books.change(change, "shop")
    assert books.check().altered >= 1


def test_what_an_upstream_contradicts(books: Books) -> None:
    everything = dispatches(*range(COUNT))
    stray = read_dispatches(["req_0000000000000000000000000000.1 200 1 1"])
    assert books.check(everything + stray).missing == 1
    second = read_dispatches([f"{exchange_id(1)}.2 200 1 1"])
    assert books.check(everything + second).missing == 1
    assert books.check(everything + everything[:1]).doubled == 1
    refused = read_dispatches([f"{exchange_id(COUNT)}.1 200 1 1"])
    assert books.check(everything + refused).missing == 1
    for line in ("500 121 10", "200 122 10", "200 121 11"):
        altered = read_dispatches([f"{exchange_id(2)}.1 {line}"])
        assert books.check([*everything[:2], *altered, *everything[3:]]).altered == 1
    assert books.check(everything[1:]).unseen == 1


@pytest.mark.parametrize("line", ["", "x 200 1 1", "req_1.x 200 1 1", "req_1.1 200 1", "req_1.1 ok 1 1"])
def test_lines_that_are_no_dispatches_are_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"line 1|invalid literal"):
        read_dispatches([line])
