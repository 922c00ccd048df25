"""What ingest makes of records, on SQLite and PostgreSQL."""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lineclear.control.ingest.entry_row import ASKED_CHARS_MAX
from lineclear.control.ingest.ingest import Ingest
from lineclear.domain.entry import DAY_US, EntryKind
from lineclear.domain.money import Usage
from lineclear.observe.check import LedgerCheck, check_ledger
from lineclear.observe.entry import LOGS_MAX, Entry, EntryQuestion, find_entries, list_entries
from lineclear.observe.logs import list_logs
from lineclear.observe.period import Period
from lineclear.store.ledger import AnomalyKind, Ledger
from lineclear.testing.clock import START_UNIX_US
from lineclear.testing.records import (
    Spool,
    checkpoint,
    exchange_id,
    frames,
    heartbeat,
    intent,
    refusal,
    settle,
)

PASSED = 1 << 60
EVERYTHING = EntryQuestion(Period(0, START_UNIX_US + DAY_US), {}, LOGS_MAX)


def everything_accounted(spool: Spool) -> Mapping[str, int]:
    return {path.name: PASSED for path in spool.paths()}


def make_ingest(ledger: Ledger, spool: Spool) -> Ingest:
    return Ingest(ledger, spool.directory, spool.clock, accountant_positions=lambda: everything_accounted(spool))


def all_entries(ledger: Ledger) -> list[Entry]:
    return list_entries(ledger, EVERYTHING)


def checked(ledger: Ledger, ingest: Ingest) -> LedgerCheck:
    with ingest.still() as open_exchanges:
        return check_ledger(ledger, open_exchanges, None, lambda _model: None)


def test_who_has_an_answer_finds_its_entry(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    spool.write(intent(1), settle(1))
    assert ingest.catch_up().entries == 1
    (entry,) = find_entries(ledger, exchange_id(1))
    assert (entry.kind, entry.facts["route"], entry.facts["outcome"]) == (EntryKind.EXCHANGE, "support-chat", "ok")
    assert (entry.usage, entry.cost_nano_usd) == (Usage(input_tokens=121, output_tokens=10), 24_150)
    assert entry.detail().accounts == ("app:shop", "route:live/support-chat")
    assert entry.detail().candidates[1].exclusion == "weight is 0"


def test_an_open_exchange_waits_for_its_settle(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    spool.write(intent(1), checkpoint(1))
    assert ingest.catch_up().entries == 0
    assert list(ingest.open_exchanges()) == [exchange_id(1)]
    # Control restarts: what is open is found again from the position alone.
    ingest = make_ingest(ledger, spool)
    ingest.catch_up()
    assert list(ingest.open_exchanges()) == [exchange_id(1)]
    spool.write(settle(1))
    assert ingest.catch_up().entries == 1
    assert ingest.open_exchanges() == {}


def test_a_dead_workers_exchange_is_closed_at_its_last_checkpoint(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    spool.write(intent(1), intent(2), checkpoint(2, attempt=2), intent(3), settle(3))
    spool.die()
    report = ingest.catch_up()
    assert (report.entries, report.orphans, report.segments_deleted) == (3, 2, 1)
    (first,) = find_entries(ledger, exchange_id(1))
    (second,) = find_entries(ledger, exchange_id(2))
    for entry in (first, second):
        assert (entry.kind, entry.facts["outcome"]) == (EntryKind.ORPHAN, "unknown")
        assert entry.facts["cost_basis"] == "estimated"
    assert (first.cost_nano_usd, first.facts["model"], first.attempts) == (0, "acme-small@2026-08", 1)
    assert (second.cost_nano_usd, second.facts["model"], second.attempts) == (9_000, "acme-large@2026-08", 2)
    verdict = checked(ledger, ingest)
    assert (verdict.ok, verdict.intents, verdict.settles, verdict.orphans_closed) == (True, 3, 1, 2)


def test_a_living_workers_exchange_is_never_closed(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    # Its intent's segment was sealed and rotated; the writer lives on in the next one.
    spool.writer(segment_bytes=2_000)
    for number in range(1, 30):
        spool.write(intent(number))
    assert len(spool.paths()) > 2
    assert ingest.catch_up().orphans == 0
    for number in range(1, 30):
        spool.write(settle(number))
    assert ingest.catch_up().entries == 29
    assert ingest.open_exchanges() == {}


def test_refusals_do_not_let_callers_name_rollups(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    spool.write(
        refusal(1),
        refusal(2, error_code="model_not_found", route="no-such-route", status=404),
        refusal(3, error_code="task_not_allowed", task="my-own-task", status=403),
    )
    ingest.catch_up()
    found = {entry.id: entry for entry in all_entries(ledger)}
    assert [found[exchange_id(number)].facts["route"] for number in (1, 2, 3)] == ["support-chat", "", "support-chat"]
    assert found[exchange_id(2)].detail().asked == "no-such-route"
    assert (found[exchange_id(3)].facts["task"], found[exchange_id(3)].detail().asked) == ("", "my-own-task")
    assert checked(ledger, ingest).refusals == 3


def test_a_refusal_without_a_release_names_nothing_in_rollups(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    long = "x" * 5_000
    spool.write(
        refusal(1, release="", error_code="invalid_request", status=400, route="any-name", task="evil-1"),
        refusal(2, release="", error_code="invalid_json", status=400, route="", task="evil-2"),
        refusal(3, release="", error_code="model_not_found", status=404, route=long, task="evil-3"),
        refusal(4, task="customer-support"),
    )
    ingest.catch_up()
    found = {entry.id: entry for entry in all_entries(ledger)}
    named = [(found[exchange_id(n)].facts["route"], found[exchange_id(n)].facts["task"]) for n in range(1, 5)]
    assert named == [("", ""), ("", ""), ("", ""), ("support-chat", "customer-support")]
    assert found[exchange_id(1)].detail().asked == "any-name"
    assert found[exchange_id(3)].detail().asked == "x" * ASKED_CHARS_MAX
    lines = {row["id"]: row["route"] for row in list_logs(ledger, EVERYTHING)}
    assert lines == {
        exchange_id(1): "any-name",
        exchange_id(2): "",
        exchange_id(3): "x" * ASKED_CHARS_MAX,
        exchange_id(4): "support-chat",
    }


def test_no_character_of_a_vendor_or_caller_stops_the_ledger(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    spool.write(intent(1, task="a\0b"), settle(1, stop_reason="\0end", response_id="resp\0", model_echo="\0"))
    spool.write(refusal(2, route="no\0route", task="t\0", inbound_id="mine\0"), intent(3), settle(3))
    spool.write(intent(4, inbound_id="\0"), checkpoint(4, model="m\0@1"))
    assert ingest.catch_up().entries == 3
    spool.die()
    assert ingest.catch_up().orphans == 1
    (first,) = find_entries(ledger, exchange_id(1))
    assert (first.facts["task"], first.facts["stop_reason"]) == ("a\ufffdb", "\ufffdend")
    assert first.detail().response_id == "resp\0"
    assert find_entries(ledger, exchange_id(4))[0].facts["model"] == "m\ufffd@1"
    assert checked(ledger, ingest).ok


def test_a_record_whose_id_no_database_takes_is_one_exchange_all_the_same(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    spool.write(intent(1, id="req_\0"), checkpoint(1, id="req_\0"))
    ingest.catch_up()
    # Control restarts while it is open.
    ingest = make_ingest(ledger, spool)
    spool.write(settle(1, id="req_\0"), settle(2, id="stray\0"), refusal(3, id="ref\0"))
    assert ingest.catch_up().entries == 2
    assert [len(find_entries(ledger, exchange)) for exchange in ("req_\ufffd", "ref\ufffd")] == [1, 1]
    assert [(note.kind, note.exchange) for note in ledger.anomalies()] == [
        (AnomalyKind.SETTLE_WITHOUT_INTENT, "stray\ufffd")
    ]


def test_what_the_database_refuses_is_set_aside_and_said(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    no_revision = 2**64 - 1
    for number in range(1, 20):
        bad = number in (4, 11, 12)
        spool.write(intent(number, revision=no_revision if bad else 7), settle(number))
    spool.write(refusal(20, revision=no_revision), refusal(21))
    ingest.catch_up()
    kept = {entry.id for entry in all_entries(ledger)}
    assert kept == {exchange_id(number) for number in range(1, 22) if number not in (4, 11, 12, 20)}
    noted = ledger.anomalies()
    assert {note.kind for note in noted} == {AnomalyKind.REFUSED_ENTRY}
    assert {note.exchange for note in noted} == {exchange_id(number) for number in (4, 11, 12, 20)}
    verdict = checked(ledger, ingest)
    assert (verdict.ok, verdict.missing, verdict.doubled, verdict.altered) == (False, 4, 0, 0)
    # What comes after it, with the same facts, is taken or set aside as well; a restart reads nothing twice.
    spool.write(intent(30, revision=no_revision), settle(30), intent(31), settle(31))
    again = make_ingest(ledger, spool)
    again.catch_up()
    assert exchange_id(31) in {entry.id for entry in all_entries(ledger)}
    verdict = checked(ledger, again)
    assert (verdict.missing, verdict.settles, verdict.refusals) == (5, 17, 1)


def test_a_batch_never_spans_two_days(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    midnight_us = (START_UNIX_US // DAY_US + 1) * DAY_US
    before = midnight_us - 100_000
    for number in range(1, 40):
        # Settles fall alternately before and after midnight.
        spool.write(intent(number, before), settle(number, before, took_us=50_000 if number % 2 else 150_000))
    ingest.catch_up()
    assert sorted(Counter(entry.day for entry in all_entries(ledger)).values()) == [19, 20]
    again = make_ingest(ledger, spool)
    assert again.catch_up().entries == 0
    assert checked(ledger, again).ok


def test_damaged_records_are_noted_and_passed_over(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    spool.write(intent(1), settle(1), intent(2), settle(2))
    (path,) = spool.paths()
    start, end = frames(path)[2]
    with path.open("r+b") as file:
        file.seek((start + end) // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0xFF]))
    assert ingest.catch_up().entries == 1
    verdict = checked(ledger, ingest)
    assert (verdict.ok, verdict.altered) == (False, 1)
    # The settle is lost, so the exchange is closed as unknown once its worker is gone.
    spool.die()
    assert ingest.catch_up().orphans == 1


@pytest.mark.parametrize(
    "wrong",
    [{"attempts": (7,)}, {"candidates": ("x",)}, {"rules": (1,)}, {"steps_us": ("a",)}, {"attempts": (("ok",),)}],
    ids="-".join,
)
def test_a_settle_whose_lists_have_another_form_is_noted_and_passed_over(
    ledger: Ledger, spool: Spool, wrong: dict[str, Any]
) -> None:
    ingest = make_ingest(ledger, spool)
    spool.write(intent(1), settle(1, **wrong), intent(2), settle(2))
    assert ingest.catch_up().entries == 1
    (note,) = ledger.anomalies()
    assert (note.kind, "no record" in note.detail) == (AnomalyKind.DAMAGED, True)
    assert (checked(ledger, ingest).ok, checked(ledger, ingest).altered) == (False, 1)
    # What stands in the ledger can be read to its end.
    assert [entry.detail().attempts[0].attempt for entry in all_entries(ledger)] == [1]


def test_a_torn_last_record_of_a_dead_worker_never_counted(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    spool.write(intent(1), settle(1), intent(2))
    (path,) = spool.paths()
    spool.die()
    start, end = frames(path)[-1]
    with path.open("r+b") as file:
        file.truncate((start + end) // 2)
    assert ingest.catch_up().orphans == 0
    verdict = checked(ledger, ingest)
    assert (verdict.ok, verdict.torn_tails, verdict.intents) == (True, 1, 1)


def test_a_damaged_length_is_no_torn_tail(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    spool.write(intent(1), settle(1), intent(2), settle(2))
    (path,) = spool.paths()
    spool.die()
    start, _ = frames(path)[2]
    with path.open("r+b") as file:
        file.seek(start + 2)
        file.write(b"\x09")
    ingest.catch_up()
    verdict = checked(ledger, ingest)
    assert (verdict.ok, verdict.altered, verdict.torn_tails) == (False, 1, 0)


def test_doubled_records_are_noted_and_counted_once(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    spool.write(intent(1), settle(1), settle(1), intent(2), intent(2), settle(2))
    ingest.catch_up()
    # The same exchange once more, from another source: within one batch, and against what is there.
    spool.write(intent(1), settle(1), intent(3), settle(3), source="other-0")
    spool.write(intent(3), settle(3), source="other-1")
    spool.write(intent(1), source="other-2")
    spool.die("other-2")
    ingest.catch_up()
    assert sorted(entry.id for entry in all_entries(ledger)) == [exchange_id(number) for number in (1, 2, 3)]
    noted = sorted(note.kind for note in ledger.anomalies())
    assert noted == sorted(
        [
            AnomalyKind.DOUBLED_SETTLE,
            AnomalyKind.DOUBLED_INTENT,
            AnomalyKind.DOUBLED_ENTRY,
            AnomalyKind.DOUBLED_ENTRY,
            AnomalyKind.INTENT_AFTER_END,
        ]
    )
    verdict = checked(ledger, ingest)
    assert (verdict.ok, verdict.doubled, verdict.missing, verdict.altered) == (False, 5, 0, 0)


def test_a_settle_without_its_intent_is_missing(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    spool.write(intent(1), settle(1), settle(9))
    ingest.catch_up()
    verdict = checked(ledger, ingest)
    assert (verdict.ok, verdict.missing) == (False, 1)


def test_nonsense_figures_do_not_hold_up_the_ledger(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    spool.write(intent(1), settle(1, usage=Usage(input_tokens=2**64 - 1, output_tokens=3)), intent(2), settle(2))
    assert ingest.catch_up().entries == 2
    assert find_entries(ledger, exchange_id(1))[0].usage.input_tokens == 2**53 - 1
    assert checked(ledger, ingest).ok


def test_a_foreign_file_is_left_alone(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    spool.write(intent(1), settle(1))
    stranger = spool.directory / "stranger-0.seg"
    stranger.write_bytes(b"no segment at all, but long enough to be one")
    spool.die()
    ingest.catch_up()
    ingest.catch_up()
    assert spool.paths() == [stranger]
    assert [note.kind for note in ledger.anomalies()] == [AnomalyKind.UNREADABLE_SEGMENT]


def test_a_segment_stays_until_the_accountant_has_passed_it(ledger: Ledger, spool: Spool) -> None:
    accounted: dict[str, int] = {}
    ingest = Ingest(ledger, spool.directory, spool.clock, accountant_positions=lambda: accounted)
    spool.write(intent(1), settle(1))
    (path,) = spool.paths()
    spool.die()
    ingest.catch_up()
    accounted[path.name] = 10
    ingest.catch_up()
    assert path.exists()
    accounted[path.name] = path.stat().st_size
    assert ingest.catch_up().segments_deleted == 1
    assert not path.exists()
    assert make_ingest(ledger, spool).catch_up().entries == 0


def test_heartbeats_move_the_watermark(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    assert ingest.watermark_us() is None
    spool.write(heartbeat(START_UNIX_US + 5))
    spool.write(heartbeat(START_UNIX_US + 3), source="other-0")
    ingest.catch_up()
    assert ingest.watermark_us() == START_UNIX_US + 3


@pytest.mark.parametrize("entry_count", [300])
def test_an_entry_takes_at_most_400_bytes(tmp_path: Path, spool: Spool, entry_count: int) -> None:
    ledger = Ledger.open(tmp_path / "sized")
    for number in range(entry_count):
        spool.write(intent(number), settle(number))
    make_ingest(ledger, spool).catch_up()
    ledger.close()
    size = sum(path.stat().st_size for path in (tmp_path / "sized").iterdir())
    bare = Ledger.open(tmp_path / "bare")
    with bare.read(START_UNIX_US // 86_400_000_000):
        pass  # opening a day makes its tables
    bare.close()
    empty = sum(path.stat().st_size for path in (tmp_path / "bare").iterdir())
    assert (size - empty) / entry_count <= 400
