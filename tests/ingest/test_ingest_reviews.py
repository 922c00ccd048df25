"""Reviews find their requests, on SQLite and PostgreSQL: whoever wrote what, in whatever order, whatever crashes."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from lineclear.control.ingest.ingest import Ingest
from lineclear.control.ingest.reviews import CLOCKS_US, WAIT_US
from lineclear.domain.entry import DAY_US
from lineclear.observe.reviews import reviews_of
from lineclear.store.ledger import Committed, Ledger, LedgerBatch
from lineclear.store.ledger_tables import reviews
from lineclear.testing.clock import START_UNIX_US
from lineclear.testing.records import Spool, exchange_id, heartbeat, intent, refusal, review, settle

OTHER = "local-b00t-1-1"
FACTS: dict[str, Any] = {
    "arm": "candidate",
    "rollout": "ro_1",
    "weight_bp": 1_000,
    "unit_hash": "00000000000000aa",
}


def make_ingest(ledger: Ledger, spool: Spool) -> Ingest:
    return Ingest(ledger, spool.directory, spool.clock, accountant_positions=dict)


def rows(ledger: Ledger) -> list[Any]:
    # Any: rows as the database gives them.
    found: list[Any] = []
    for day in ledger.days():
        with ledger.read(day) as connection:
            question = select(reviews).where(reviews.c.day == day).order_by(reviews.c.id)
            found += connection.execute(question).all()
    return found


def states(ledger: Ledger) -> list[str]:
    return [row.state for row in rows(ledger)]


def test_a_review_takes_the_facts_of_its_request(ledger: Ledger, spool: Spool) -> None:
    spool.write(intent(1, **FACTS), settle(1), review(2, about=1, outcome="rejected", reason="no\0", reviewer="ann"))
    make_ingest(ledger, spool).catch_up()
    (row,) = rows(ledger)
    assert (row.state, row.number, row.outcome, row.reason) == ("counted", 1, "rejected", "no\ufffd")
    assert (row.rollout, row.arm, row.weight_bp, row.unit_hash) == ("ro_1", "candidate", 1_000, "00000000000000aa")
    assert (row.route, row.release, row.model, row.team) == (
        "support-chat",
        "rel_0123456789abcdef",
        "acme-small@2026-08",
        "support",
    )
    assert (row.started_us, row.other_release) == (START_UNIX_US, False)
    (shown,) = reviews_of(ledger, exchange_id(1))
    assert (shown["outcome"], shown["reviewer"], shown["id"]) == ("rejected", "ann", exchange_id(2))


def test_it_waits_for_the_end_of_its_request_which_another_worker_writes(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    spool.write(review(2, about=1), source=OTHER)
    ingest.catch_up()
    assert states(ledger) == ["waiting"]
    spool.write(intent(1))
    ingest.catch_up()
    # An answer that takes long is reviewed before its end perhaps; control restarts meanwhile.
    spool.clock.advance(WAIT_US // 1_000_000 + 1)
    ingest = make_ingest(ledger, spool)
    ingest.catch_up()
    assert states(ledger) == ["waiting"]
    spool.write(settle(1))
    ingest.catch_up()
    assert states(ledger) == ["counted"]


@pytest.mark.parametrize("changes", [{"app": "other"}, {"environment": "test"}])
def test_what_is_said_of_others_requests_counts_for_nothing(
    ledger: Ledger, spool: Spool, changes: dict[str, Any]
) -> None:
    spool.write(intent(1, **FACTS), settle(1), review(2, about=1, **changes), refusal(3), review(4, about=3))
    make_ingest(ledger, spool).catch_up()
    assert states(ledger) == ["unknown", "unknown"]
    assert [row.rollout for row in rows(ledger)] == ["", ""]
    assert reviews_of(ledger, exchange_id(1)) == []


def test_what_is_said_of_a_request_that_never_was_is_given_up(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    spool.write(review(2, about=1))
    ingest.catch_up()
    assert states(ledger) == ["waiting"]
    # Its intent would have been there before: once everything of that time is read, it cannot come any more.
    spool.write(heartbeat(START_UNIX_US + CLOCKS_US + 1))
    ingest.catch_up()
    assert states(ledger) == ["unknown"]
    # Where nothing says how far all is read, it is given up by the clock.
    spool.write(review(4, about=3, at_us=START_UNIX_US + 2 * CLOCKS_US))
    ingest.catch_up()
    assert states(ledger) == ["unknown", "waiting"]
    spool.clock.advance(WAIT_US // 1_000_000 + 30)
    ingest.catch_up()
    assert states(ledger) == ["unknown", "unknown"]


def test_a_late_review_finds_a_request_of_another_day(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    spool.write(intent(1, **FACTS), settle(1))
    ingest.catch_up()
    spool.clock.advance(3 * DAY_US // 1_000_000)
    spool.write(review(2, at_us=spool.clock.unix_us(), about=1))
    ingest.catch_up()
    (row,) = rows(ledger)
    assert (row.state, row.rollout, row.day) == ("counted", "ro_1", spool.clock.unix_us() // DAY_US)
    assert len(reviews_of(ledger, exchange_id(1))) == 1


@pytest.mark.parametrize("is_restarted", [False, True], ids=["at once", "after a restart"])
def test_reviews_that_were_read_days_late_find_their_requests(
    ledger: Ledger, spool: Spool, *, is_restarted: bool
) -> None:
    # Control was away for three days: what was said meanwhile lies beside rows of the first of them.
    spool.write(intent(1, **FACTS), settle(1), review(2, about=1), intent(3, **FACTS), review(4, about=3))
    spool.clock.advance(3 * DAY_US // 1_000_000)
    ingest = make_ingest(ledger, spool)
    ingest.catch_up()
    assert {row.day for row in rows(ledger)} == {START_UNIX_US // DAY_US}
    assert states(ledger) == ["counted", "waiting"]
    if is_restarted:
        ingest = make_ingest(ledger, spool)
    spool.write(settle(3))
    ingest.catch_up()
    assert states(ledger) == ["counted", "counted"]


class Crash(Exception):
    """Control dies here."""


class CrashingLedger(Ledger):
    fates: list[str]

    def commit(self, batch: LedgerBatch) -> Committed:
        fate = self.fates.pop() if self.fates else ""
        if fate == "before":
            raise Crash
        committed = super().commit(batch)
        if fate == "after":
            raise Crash
        return committed


def test_a_crash_keeps_each_review_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    ledger = CrashingLedger.open(tmp_path / "ledger")
    assert isinstance(ledger, CrashingLedger)
    for number in range(0, 40, 2):
        spool.write(intent(number, **FACTS), settle(number))
        spool.write(review(number + 1, about=number), source=OTHER)
        ledger.fates = ["after", "before"][: number % 3]
        ingest = make_ingest(ledger, spool)
        for _ in range(3):
            try:
                ingest.catch_up()
            except Crash:
                ingest = make_ingest(ledger, spool)
    found = rows(ledger)
    assert {row.state for row in found} == {"counted"}
    assert sorted(row.number for row in found) == list(range(1, 21))
    assert len({row.id for row in found}) == 20
    ledger.close()
    spool.close()
