"""Rollups kept in memory between batches are still the sums of what stands in the ledger."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from lineclear.control.ingest.ingest import Ingest
from lineclear.observe.check import LedgerCheck, check_ledger
from lineclear.store.ledger import Committed, Ledger, LedgerBatch
from lineclear.testing.records import Spool, intent, settle


def none_accounted() -> Mapping[str, int]:
    return {}


def checked(ledger: Ledger, ingest: Ingest) -> LedgerCheck:
    with ingest.still() as open_exchanges:
        return check_ledger(ledger, open_exchanges, None, lambda _model: None)


def test_what_another_writer_added_is_added_to(tmp_path: Path, spool: Spool) -> None:
    other_spool = Spool(tmp_path / "other-spool")
    first, second = Ledger.open(tmp_path / "ledger"), Ledger.open(tmp_path / "ledger")
    one = Ingest(first, spool.directory, spool.clock, accountant_positions=none_accounted)
    other = Ingest(second, other_spool.directory, spool.clock, accountant_positions=none_accounted)
    for number in range(6):
        spool.write(intent(number), settle(number))
        one.catch_up()
        other_spool.write(intent(number + 100), settle(number + 100), source="local-b00t-1-1")
        other.catch_up()
    verdict = checked(first, one)
    assert (verdict.ok, verdict.settles) == (True, 12), verdict
    for ledger in (first, second):
        ledger.close()
    other_spool.close()


class FailingLedger(Ledger):
    """A ledger whose transactions fail at their end, while `is_failing`: after the rollups were added to."""

    is_failing = False

    def commit(self, batch: LedgerBatch) -> Committed:
        if self.is_failing:
            beyond = [replace(position, high=2**64) for position in batch.positions]
            batch = replace(batch, positions=beyond)
        return super().commit(batch)


def test_sums_of_a_batch_that_was_undone_are_forgotten(tmp_path: Path, spool: Spool) -> None:
    ledger = FailingLedger.open(tmp_path / "ledger")
    assert isinstance(ledger, FailingLedger)
    ingest = Ingest(ledger, spool.directory, spool.clock, accountant_positions=none_accounted)
    spool.write(intent(1), settle(1))
    ingest.catch_up()
    spool.write(intent(2), settle(2))
    ledger.is_failing = True
    with pytest.raises(OverflowError):
        ingest.catch_up()
    ledger.is_failing = False
    ingest.catch_up()
    verdict = checked(ledger, ingest)
    assert (verdict.ok, verdict.settles) == (True, 2), verdict
    ledger.close()
