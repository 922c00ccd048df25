"""The override journal, acknowledgements, checkpoint file and pokes."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
import uvloop

from lineclear.control.overrides.drills import LOOK_S
from lineclear.domain.overrides import Block, Drill, Override, Revoke, Rollback, Start, Stop
from lineclear.handover.acks import forget_ack, read_acks, write_ack
from lineclear.handover.checkpoint import CheckpointBroken, accountant_positions, load_checkpoint, save_checkpoint
from lineclear.handover.override_desk import GATEWAYS_WAIT_S
from lineclear.handover.overrides import (
    DRILL_READ_BY_US,
    READ_BY_US,
    JournalBroken,
    JournalReader,
    append_override,
    broken_journals,
    read_overrides,
    rotate_journal,
)
from lineclear.handover.poke import PokeListener, poke_all, poke_directory
from lineclear.testing.clock import TestClock

ALL: tuple[Override, ...] = (
    Rollback("live", "chat", "rel_0123456789abcdef", 7),
    Block("acme@1"),
    Revoke("abcdefabcdef"),
    Stop("all"),
    Start("all"),
)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "overrides" / "journal"


def test_every_override_comes_back_with_who_and_why(journal: Path) -> None:
    assert read_overrides(journal) == ()
    for override in ALL:
        append_override(journal, override, "ops", "it burns", TestClock())
    entries = read_overrides(journal)
    assert tuple(entry.override for entry in entries) == ALL
    assert [entry.sequence for entry in entries] == [1, 2, 3, 4, 5]
    assert read_overrides(journal, after=3) == entries[3:]
    assert journal.stat().st_mode & 0o077 == 0


def test_what_was_never_acknowledged_is_dropped(journal: Path) -> None:
    append_override(journal, ALL[0], "ops", "", TestClock())
    with journal.open("ab") as file:
        file.write(b'{"sequence":2,"at_us":')
    assert len(read_overrides(journal)) == 1
    append_override(journal, ALL[1], "ops", "", TestClock())
    assert [entry.override for entry in read_overrides(journal)] == [ALL[0], ALL[1]]


@pytest.mark.parametrize("what", ["reason", "order", "removed", "kind"])
def test_tampering_is_found_and_what_came_before_holds(journal: Path, what: str) -> None:
    for override in ALL[:3]:
        append_override(journal, override, "ops", "because", TestClock())
    lines = journal.read_bytes().splitlines(keepends=True)
    if what == "reason":
        lines[1] = lines[1].replace(b"because", b"no cause")
    elif what == "kind":
        lines[1] = lines[1].replace(b'"block"', b'"allow"')
    elif what == "order":
        lines[1], lines[2] = lines[2], lines[1]
    else:
        del lines[1]
    journal.write_bytes(b"".join(lines))
    with pytest.raises(JournalBroken) as broken:
        read_overrides(journal)
    assert [entry.override for entry in broken.value.good] == [ALL[0]]
    # An emergency does not wait for a repair: what holds goes on, what does not is kept beside it.
    entry = append_override(journal, ALL[3], "ops", "", TestClock(), floor=3)
    assert entry.sequence == 4
    assert [entry.override for entry in read_overrides(journal)] == [ALL[0], ALL[3]]
    assert broken_journals(journal) == ("journal.broken-1",)
    assert (journal.parent / "journal.broken-1").read_bytes() == b"".join(lines)


APPENDER = """
import sys
from pathlib import Path
from lineclear.base.clock import SystemClock
from lineclear.domain.overrides import Block
from lineclear.handover.overrides import append_override
for number in range(25):
    append_override(Path(sys.argv[1]), Block(f"{sys.argv[2]}@{number}"), sys.argv[2], "", SystemClock())
"""


def test_a_reader_keeps_what_it_verified(journal: Path) -> None:
    reader = JournalReader(journal)
    assert not reader.changed()
    assert reader.read() == ()
    for override in ALL[:3]:
        append_override(journal, override, "ops", "because", TestClock())
    assert reader.changed()
    assert [entry.override for entry in reader.read()] == list(ALL[:3])
    assert [entry.sequence for entry in reader.read(after=1)] == [2, 3]
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0])
    assert reader.changed()
    assert [entry.sequence for entry in reader.read(after=1)] == [2, 3]
    append_override(journal, ALL[3], "ops", "", TestClock(), floor=3)
    assert [entry.override for entry in reader.read(after=1)] == [ALL[1], ALL[2], ALL[3]]
    assert reader.problem == ""
    journal.unlink()
    assert [entry.sequence for entry in reader.read(after=2)] == [3, 4]
    assert "is gone" in reader.problem
    append_override(journal, ALL[4], "ops", "", TestClock(), floor=4)
    assert [entry.sequence for entry in reader.read(after=3)] == [4, 5]
    assert reader.problem == ""


def test_a_reader_forgets_only_what_it_is_told_to(journal: Path) -> None:
    reader = JournalReader(journal)
    for override in ALL[:3]:
        append_override(journal, override, "ops", "because", TestClock())
    assert reader.read(after=3) == ()
    assert [entry.sequence for entry in reader.read()] == [1, 2, 3]
    reader.forget(2)
    assert [entry.sequence for entry in reader.read()] == [3]


def test_a_reader_tells_what_is_broken_and_goes_on_once_it_is_set_aside(journal: Path) -> None:
    reader = JournalReader(journal)
    for override in ALL[:3]:
        append_override(journal, override, "ops", "because", TestClock())
    journal.write_bytes(journal.read_bytes().replace(b"acme@1", b"acme@2"))
    assert [entry.sequence for entry in reader.read()] == [1]
    assert "after entry 1 breaks the hash chain" in reader.problem
    append_override(journal, ALL[4], "ops", "", TestClock(), floor=3)
    assert [entry.sequence for entry in reader.read()] == [1, 4]
    assert reader.problem == ""


def test_a_line_that_is_no_utf8_is_a_break_like_any_other(journal: Path) -> None:
    for override in ALL[:2]:
        append_override(journal, override, "ops", "because", TestClock())
    reader = JournalReader(journal)
    before, _, after = journal.read_bytes().rpartition(b"because")
    journal.write_bytes(before + b"bec\xffuse" + after)
    assert [entry.sequence for entry in reader.read()] == [1]
    assert "after entry 1 cannot be read" in reader.problem
    assert append_override(journal, ALL[2], "ops", "", TestClock(), floor=2).sequence == 3


def test_a_long_journal_begins_anew_once_all_of_it_is_folded(journal: Path) -> None:
    reason = "r" * 1900
    for _ in range(600):
        append_override(journal, Stop("all", cut_streams=True), "ops", reason, TestClock())
    # A snapshot holds what ends no open answers, but not every gateway can take the newest snapshot.
    last = append_override(journal, ALL[1], "ops", reason, TestClock(TestClock().unix_us() + 5_000_000))
    read_us = last.at_us + READ_BY_US
    assert not rotate_journal(journal, last.sequence - 1, read_us)
    assert not rotate_journal(journal, last.sequence, read_us - 1)
    assert rotate_journal(journal, last.sequence, read_us)
    assert not rotate_journal(journal, last.sequence, read_us)
    entry = append_override(journal, ALL[0], "ops", "", TestClock(), floor=last.sequence)
    assert entry.sequence == last.sequence + 1
    assert read_overrides(journal) == (entry,)


def test_a_drill_keeps_the_journal_no_longer_than_somebody_waits_for_it(journal: Path) -> None:
    long_ago, now = TestClock(), TestClock(TestClock().unix_us() + READ_BY_US)
    for _ in range(600):
        append_override(journal, ALL[1], "ops", "r" * 1900, long_ago)
    drill = append_override(journal, Drill("live", "chat", "rel_0123456789abcdef", 7), "drill-schedule", "", now)
    assert not rotate_journal(journal, drill.sequence, drill.at_us + DRILL_READ_BY_US - 1)
    assert rotate_journal(journal, drill.sequence, drill.at_us + DRILL_READ_BY_US)
    assert GATEWAYS_WAIT_S * 1e6 < DRILL_READ_BY_US < LOOK_S * 1e6


def test_two_processes_append_to_one_chain(journal: Path) -> None:
    children = [subprocess.Popen([sys.executable, "-c", APPENDER, str(journal), name]) for name in ("control", "cli")]
    assert [child.wait() for child in children] == [0, 0]
    entries = read_overrides(journal)
    assert [entry.sequence for entry in entries] == list(range(1, 51))
    assert sum(entry.actor == "cli" for entry in entries) == 25


def test_acknowledgements_by_source(tmp_path: Path) -> None:
    acks = tmp_path / "acks"
    assert read_acks(acks) == {}
    write_ack(acks, "local-b-0-1", 1, 7, at_us=5)
    write_ack(acks, "local-b-0-1", 1, 8, at_us=6, overrides=2)
    write_ack(acks, "local-b-1-1", 1, 7, at_us=6)
    (acks / "local-b-2-1.json").write_text("{")
    (acks / "local-b-3-1.json").write_bytes(b'{"source": "\xff"}')
    found = read_acks(acks)
    assert {source: (ack.revision, ack.overrides) for source, ack in found.items()} == {
        "local-b-0-1": (8, 2),
        "local-b-1-1": (7, 0),
    }
    forget_ack(acks, "local-b-0-1")
    forget_ack(acks, "local-b-0-1")
    assert set(read_acks(acks)) == {"local-b-1-1"}


def test_a_checkpoint_is_whole_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "accountant" / "checkpoint"
    assert load_checkpoint(path) is None
    assert accountant_positions(path) == {}
    save_checkpoint(path, {"local-b-0-1-0.seg": 77}, b"state")
    checkpoint = load_checkpoint(path)
    assert checkpoint is not None
    assert checkpoint.state == b"state"
    assert accountant_positions(path) == {"local-b-0-1-0.seg": 77}
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole.replace(b"state", b"stale"), b"", whole + b"x", whole.replace(b"seg", b"s\xffg")):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointBroken, match="move it away") as caught:
            accountant_positions(path)
        assert str(path) in str(caught.value)


def test_a_poke_wakes_every_listener_and_clears_away_the_dead(tmp_path: Path) -> None:
    async def work() -> None:
        woken = [asyncio.Event(), asyncio.Event()]
        listeners = [PokeListener(tmp_path, "local-b-0-1"), PokeListener(tmp_path, "accountant")]
        for listener, event in zip(listeners, woken, strict=True):
            listener.attach(asyncio.get_running_loop(), event.set)
        dead = PokeListener(tmp_path, "local-b-1-1")
        dead._socket.close()
        assert poke_all(tmp_path) == 2
        assert {path.name for path in poke_directory(tmp_path).iterdir()} == {"local-b-0-1.sock", "accountant.sock"}
        async with asyncio.timeout(5):
            await asyncio.gather(*[event.wait() for event in woken])
        for listener in listeners:
            listener.close()
        assert poke_all(tmp_path) == 0
        assert list(poke_directory(tmp_path).iterdir()) == []

    uvloop.run(work())


def test_pokes_that_find_a_full_queue_do_not_block(tmp_path: Path) -> None:
    listener = PokeListener(tmp_path, "slow")
    assert all(poke_all(tmp_path) == 1 for _ in range(2000))
    assert listener.drain() > 0
    listener.close()


def test_a_long_path_is_reached_too(tmp_path: Path) -> None:
    run_dir = tmp_path / ("d" * 60) / ("e" * 60)
    run_dir.mkdir(parents=True)
    listener = PokeListener(run_dir, "local-0123456789abcdef-0-1")
    assert poke_all(run_dir) == 1
    assert listener.drain() == 1
    listener.close()
    assert poke_all(tmp_path / "nowhere") == 0
