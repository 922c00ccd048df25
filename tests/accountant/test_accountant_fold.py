"""The fold through real spool files: what it reads, where it stops, what it reports."""

from pathlib import Path

import msgspec
import pytest

from lineclear.accountant.books import Books
from lineclear.accountant.fold import CheckpointMoney, Fold, HeardIntent, IntentMoney, SettleMoney, decode_money
from lineclear.accountant.reservation import Moment
from lineclear.accountant.state import dump_books, load_books
from lineclear.base.clock import SystemClock
from lineclear.domain.accounts import Reserve, SettleAccount
from lineclear.domain.ledger import Checkpoint, Intent, Settle
from lineclear.handover.spool import SpoolLimits, SpoolWriter, list_segments
from lineclear.testing.money_records import a_checkpoint, a_heartbeat, a_settle, an_intent

AT = Moment(10**9, 1_800_000_000)
SOURCE = "local-b0-0-1"


def posted(books: Books) -> int:
    return sum(row.posted for row in books.rows.values())


def pending(books: Books) -> int:
    return sum(row.pending for row in books.rows.values())


@pytest.mark.parametrize(
    ("short", "whole"),
    [(IntentMoney, Intent), (HeardIntent, Intent), (CheckpointMoney, Checkpoint), (SettleMoney, Settle)],
)
def test_the_short_forms_are_the_beginning_of_the_ledgers_records(
    short: type[msgspec.Struct], whole: type[msgspec.Struct]
) -> None:
    count = len(short.__struct_fields__)
    assert short.__struct_fields__ == whole.__struct_fields__[:count]
    assert short.__struct_config__.tag == whole.__struct_config__.tag


def test_the_short_forms_read_what_the_writer_writes() -> None:
    intent = an_intent("a", accounts=("app:x", "team:y"), nano_usd=7)
    short = decode_money(msgspec.msgpack.encode(intent))
    assert isinstance(short, IntentMoney)
    assert (short.id, short.accounts, short.reserved_nano_usd) == ("a", ("app:x", "team:y"), 7)
    settle = decode_money(msgspec.msgpack.encode(a_settle("a", nano_usd=5)))
    assert isinstance(settle, SettleMoney)
    assert settle.cost_nano_usd == 5
    checkpoint = decode_money(msgspec.msgpack.encode(a_checkpoint("a", nano_usd=3)))
    assert isinstance(checkpoint, CheckpointMoney)
    assert checkpoint.cost_nano_usd == 3


def test_it_reads_on_where_it_stopped_across_segments_of_several_sources(spool: Path) -> None:
    limits = SpoolLimits(segment_bytes=800)
    writers = [SpoolWriter(spool, f"local-b0-{number}-1", SystemClock(), limits=limits) for number in range(2)]
    books = Books()
    fold = Fold(spool, books, {})
    for number in range(30):
        writer = writers[number % 2]
        writer.append(an_intent(f"r{number}", nano_usd=10))
        writer.append(a_heartbeat(number))
        writer.flush_now()
        assert fold.catch_up(AT) == 2
        assert pending(books) == 10
        writer.append(a_settle(f"r{number}", nano_usd=4))
        writer.flush_now()
        assert fold.catch_up(AT) == 1
        assert (posted(books), pending(books)) == (4 * (number + 1), 0)
    assert len(list_segments(spool)) > 4
    assert fold.positions.keys() == {name.path.name for name in list_segments(spool)}
    assert fold.live_sources() == {writer._source for writer in writers}
    assert fold.dead_sources() == set()
    writers[0].close()
    fold.catch_up(AT)
    assert fold.dead_sources() == {"local-b0-0-1"}
    for name in list_segments(spool):
        if name.source == "local-b0-0-1":
            name.path.unlink()
    assert fold.catch_up(AT) == 0
    assert {name.rsplit("-", 1)[0] for name in fold.positions} == {"local-b0-1-1"}
    writers[1].close()


def test_a_damaged_record_is_counted_and_a_segment_of_another_version_is_named(spool: Path) -> None:
    writer = SpoolWriter(spool, SOURCE, SystemClock())
    for number in range(3):
        writer.append(an_intent(f"r{number}"))
        writer.append(a_settle(f"r{number}"))
    writer.close()
    path = list_segments(spool)[0].path
    content = bytearray(path.read_bytes())
    content[content.index(b"r1")] ^= 1
    path.write_bytes(content)
    (spool / "local-b9-0-1-0.seg").write_bytes(b"LCSPOOL9 and so on")
    books = Books()
    fold = Fold(spool, books, {})
    fold.catch_up(AT)
    assert posted(books) == 20
    assert fold.damaged_records == 1
    assert list(fold.skipped) == ["local-b9-0-1-0.seg"]
    assert "local-b9-0-1-0.seg" not in fold.positions


def test_a_call_without_limited_accounts_leaves_no_trace(spool: Path) -> None:
    writer = SpoolWriter(spool, SOURCE, SystemClock())
    writer.append(an_intent("free", accounts=()))
    writer.append(a_settle("free"))
    writer.close()
    books = Books()
    Fold(spool, books, {}).catch_up(AT)
    assert not books.open
    assert not books.unconfirmed
    assert not books.confirmed
    assert not books.rows


def test_intents_open_calls_of_owners_that_were_not_heard_and_settles_end_them_all(spool: Path) -> None:
    heard, silent = (SpoolWriter(spool, f"local-b0-{number}-1", SystemClock()) for number in range(2))
    books = Books()
    source = books.hello("local-b0-0-1", (), AT)
    fold = Fold(spool, books, {})
    for writer in (heard, silent):
        for number in range(2):
            writer.append(an_intent(f"{writer._source}/{number}", nano_usd=10))
        writer.flush_now()
    assert fold.catch_up(AT) == 4
    assert list(books.open) == ["local-b0-1-1/0", "local-b0-1-1/1"]
    books.act(Reserve("local-b0-0-1/0", ("app:shop",), 1, 10), source, AT)
    assert pending(books) == 30
    for writer in (heard, silent):
        writer.append(a_settle(f"{writer._source}/0", nano_usd=4))
        writer.close()
    fold.catch_up(AT)
    assert (posted(books), pending(books)) == (8, 10)


def test_what_a_checkpoint_already_has_is_not_counted_again_when_the_ledger_tells_it(spool: Path) -> None:
    writer = SpoolWriter(spool, SOURCE, SystemClock())
    books = Books()
    source = books.hello(SOURCE, (), AT)
    fold = Fold(spool, books, {})
    held = Reserve("a", ("app:shop",), 1, 10)
    writer.append(an_intent("a"))
    books.act(held, source, AT)
    writer.append(a_settle("a", nano_usd=6))
    books.act(SettleAccount("a", 1, 6), source, AT)
    writer.append(an_intent("b"))
    books.act(Reserve("b", ("app:shop",), 1, 10), source, AT)
    state, positions = dump_books(books, AT), dict(fold.positions)
    writer.append(a_settle("b", nano_usd=7))
    writer.flush_now()
    again = load_books(state, AT)
    Fold(spool, again, positions).catch_up(AT)
    assert (posted(again), pending(again)) == (13, 0)
    assert not again.unconfirmed
    writer.close()
