"""The spool through real files: one write a tick, nothing counted that is not in the file, nothing lost to a kill."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from lineclear.base.clock import SystemClock
from lineclear.domain.errors import ErrorCode, PlatformFault
from lineclear.domain.ledger import Heartbeat, Record
from lineclear.handover.segment import HEADER_BYTES_MAX, MAGIC, SegmentUnreadable, Tail, read_header
from lineclear.handover.spool import (
    SpoolLimits,
    SpoolWriter,
    list_segments,
    read_segment,
    segment_is_held,
    source_is_alive,
)
from lineclear.testing.clock import TestClock
from lineclear.testing.money_records import a_heartbeat, a_settle, an_intent

SOURCE = "local-b0-0-1"


def run(work: Coroutine[Any, Any, None]) -> None:
    uvloop.run(work)


def everything(spool: Path) -> list[Record]:
    found: list[Record] = []
    for name in list_segments(spool):
        offset = 0
        while True:
            batch = read_segment(name.path, offset)
            found += batch.records
            if batch.offset == offset:
                break
            offset = batch.offset
    return found


def test_records_come_back_in_order_and_one_tick_is_one_write(spool: Path) -> None:
    async def work() -> None:
        writer = SpoolWriter(spool, SOURCE, SystemClock())
        wanted: list[Record] = [an_intent("a"), a_settle("a"), a_heartbeat(1)]
        positions = [writer.append(record) for record in wanted]
        assert writer.flushed_to == 0
        assert everything(spool) == []
        await asyncio.gather(*[writer.flushed(position) for position in positions])
        assert writer.flushed_to == positions[-1]
        assert everything(spool) == wanted
        assert writer.counters["spool_writes"] == 1
        writer.close()
        assert everything(spool) == wanted

    run(work())


def test_who_waits_later_does_not_wait(spool: Path) -> None:
    async def work() -> None:
        writer = SpoolWriter(spool, SOURCE, SystemClock())
        position = writer.append(an_intent("a"))
        writer.flush_now()
        assert writer.flushed_to == position
        await writer.flushed(position)
        writer.close()

    run(work())


def test_a_cancelled_waiter_takes_no_other_waiter_with_it(spool: Path) -> None:
    async def work() -> None:
        writer = SpoolWriter(spool, SOURCE, SystemClock(), strict=True)
        position = writer.append(an_intent("a"))
        first = asyncio.ensure_future(writer.flushed(position))
        second = asyncio.ensure_future(writer.flushed(position))
        await asyncio.sleep(0)
        first.cancel()
        await second
        with pytest.raises(asyncio.CancelledError):
            await first
        writer.close()

    run(work())


def test_strict_counts_a_record_only_when_the_disk_has_it(spool: Path) -> None:
    async def work() -> None:
        writer = SpoolWriter(spool, SOURCE, SystemClock(), strict=True)
        position = writer.append(an_intent("a"))
        writer.flush_now()
        assert everything(spool) == [an_intent("a")]
        assert writer.flushed_to < position
        await writer.flushed(position)
        assert writer.counters["spool_syncs"] == 1
        writer.close()

    run(work())


def test_without_strict_the_disk_follows_by_itself(spool: Path) -> None:
    async def work() -> None:
        writer = SpoolWriter(spool, SOURCE, SystemClock())
        await writer.flushed(writer.append(an_intent("a")))
        for _ in range(500):
            await asyncio.sleep(0.01)
            if writer.counters["spool_syncs"]:
                break
        assert writer.counters["spool_syncs"]
        writer.close()

    run(work())


def test_a_full_segment_is_sealed_and_the_next_begun_without_the_source_looking_dead(spool: Path) -> None:
    writer = SpoolWriter(spool, SOURCE, SystemClock(), limits=SpoolLimits(segment_bytes=1500))
    wanted: list[Record] = []
    for number in range(60):
        record = an_intent(f"req_{number}")
        wanted.append(record)
        writer.append(record)
        writer.flush_now()
        assert source_is_alive(spool, SOURCE)
    names = list_segments(spool)
    assert len(names) > 2
    assert [name.sequence for name in names] == list(range(len(names)))
    assert everything(spool) == wanted
    tails = [read_segment(name.path, 0).tail for name in names]
    assert set(tails[:-1]) == {Tail.SEALED}
    assert tails[-1] is Tail.OPEN
    assert all(segment_is_held(name.path) for name in names)
    bases = [read_header(name.path).base_position for name in names]
    assert bases == sorted(set(bases))
    writer.close()
    assert not any(segment_is_held(name.path) for name in names)
    assert not source_is_alive(spool, SOURCE)
    assert not list(spool.glob(".*"))


def test_deleted_segments_are_let_go_of(spool: Path) -> None:
    async def work() -> None:
        writer = SpoolWriter(spool, SOURCE, SystemClock(), limits=SpoolLimits(segment_bytes=300), strict=True)
        await writer.flushed(writer.append(an_intent("first")))
        before = _descriptors()
        for number in range(30):
            await writer.flushed(writer.append(an_intent(f"req_{number}")))
            for name in list_segments(spool)[:-1]:
                name.path.unlink()
        assert writer.counters["spool_rotations"] > 10
        assert _descriptors() <= before + 4
        writer.close()

    run(work())


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_source_name_is_used_once(spool: Path) -> None:
    SpoolWriter(spool, SOURCE, SystemClock()).close()
    with pytest.raises(FileExistsError):
        SpoolWriter(spool, SOURCE, SystemClock())


class Disk:
    """How bytes reach a descriptor, with so many bytes of room left."""

    def __init__(self, room: int, reason: int) -> None:
        self.room = room
        self.reason = reason

    def __call__(self, descriptor: int, data: memoryview) -> int:
        if self.room == 0:
            raise OSError(self.reason, os.strerror(self.reason))
        written = os.write(descriptor, data[: self.room])
        self.room -= written
        return written


def test_what_a_failed_write_left_out_is_void_and_what_it_took_counts(spool: Path) -> None:
    async def work() -> None:
        disk = Disk(10**9, errno.EIO)
        writer = SpoolWriter(spool, SOURCE, SystemClock(), write=disk)
        sizes = [writer.append(an_intent(f"before{n}")) for n in range(2)]
        writer.flush_now()
        disk.room = (sizes[1] - sizes[0]) + 100
        kept, torn, never = (writer.append(an_intent(f"failed{n}")) for n in range(3))
        writer.flush_now()
        disk.room = 10**9
        after = writer.append(an_intent("after"))
        writer.flush_now()
        await writer.flushed(kept)
        await writer.flushed(after)
        for position in (torn, never):
            with pytest.raises(PlatformFault) as refused:
                await writer.flushed(position)
            assert refused.value.code is ErrorCode.LEDGER_UNAVAILABLE
        names = list_segments(spool)
        assert [read_segment(name.path).tail for name in names] == [Tail.SEALED, Tail.OPEN]
        ids = [record.id for record in everything(spool) if not hasattr(record, "counters")]
        assert ids == ["before0", "before1", "failed0", "after"]
        assert writer.counters["spool_voided_bytes"] == never - kept
        writer.close()

    run(work())


def test_waiters_of_the_same_tick_hear_of_the_failure(spool: Path) -> None:
    async def work() -> None:
        writer = SpoolWriter(spool, SOURCE, SystemClock(), write=Disk(0, errno.EIO))
        waits = [asyncio.ensure_future(writer.flushed(writer.append(an_intent(f"r{n}")))) for n in range(3)]
        answers = await asyncio.gather(*waits, return_exceptions=True)
        assert all(isinstance(answer, PlatformFault) for answer in answers)
        assert everything(spool) == []
        writer.close()

    run(work())


def test_a_full_disk_frees_the_ballast_refuses_intents_and_still_takes_settles(spool: Path) -> None:
    clock = TestClock()
    disk = Disk(10**9, errno.ENOSPC)
    ballast = 8192
    writer = SpoolWriter(spool, SOURCE, clock, limits=SpoolLimits(ballast_bytes=ballast), write=disk)
    reserve = spool / f".ballast-{SOURCE}"
    assert reserve.stat().st_blocks * 512 >= ballast
    writer.append(an_intent("a"))
    writer.flush_now()
    disk.room = 20

    def write(descriptor: int, data: memoryview) -> int:
        if not reserve.exists():
            disk.room = max(disk.room, ballast)
        return disk(descriptor, data)

    writer._write = write
    writer.append(a_settle("a"))
    writer.flush_now()
    assert everything(spool) == [an_intent("a"), a_settle("a")]
    with pytest.raises(PlatformFault) as refused:
        writer.append(an_intent("b"))
    assert refused.value.code is ErrorCode.LEDGER_UNAVAILABLE
    writer.append(a_settle("c"))
    writer.flush_now()
    assert everything(spool)[-1] == a_settle("c")
    clock.advance(1)
    writer.append(an_intent("b"))
    assert reserve.exists()
    writer.close()
    assert everything(spool)[-1] == an_intent("b")


def test_after_close_nothing_is_taken(spool: Path) -> None:
    writer = SpoolWriter(spool, SOURCE, SystemClock())
    writer.close()
    writer.close()
    with pytest.raises(PlatformFault, match="is closed"):
        writer.append(a_settle("a"))


def test_a_record_too_large_is_refused(spool: Path) -> None:
    writer = SpoolWriter(spool, SOURCE, SystemClock())
    with pytest.raises(PlatformFault, match="larger"):
        writer.append(an_intent("x" * (1 << 20)))
    writer.close()


# Reading damage


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 2000), count=st.integers(1, 5))
def test_a_segment_cut_anywhere_gives_its_whole_records_and_then_says_torn(
    tmp_path_factory: pytest.TempPathFactory, cut: int, count: int
) -> None:
    spool = tmp_path_factory.mktemp("spool")
    writer = SpoolWriter(spool, SOURCE, SystemClock(), limits=SpoolLimits(ballast_bytes=0))
    for number in range(count):
        writer.append(an_intent(f"r{number}"))
    writer.flush_now()
    path = list_segments(spool)[0].path
    ends = read_segment(path).ends
    start = path.stat().st_size - ends[-1] + _header_end(path)
    assert start == _header_end(path)
    size = min(path.stat().st_size, max(cut, _header_end(path)))
    os.truncate(path, size)
    batch = read_segment(path)
    assert batch.ends == [end for end in ends if end <= size]
    assert batch.tail is (Tail.OPEN if size in {_header_end(path), *ends} else Tail.TORN)
    os.close(writer._segment)


def _header_end(path: Path) -> int:
    length = int.from_bytes(path.read_bytes()[len(MAGIC) : len(MAGIC) + 4], "little")
    return len(MAGIC) + 8 + length


def test_an_altered_record_is_named_and_the_ones_around_it_still_read(spool: Path) -> None:
    writer = SpoolWriter(spool, SOURCE, SystemClock())
    for number in range(3):
        writer.append(a_settle(f"r{number}"))
    writer.close()
    path = list_segments(spool)[0].path
    first, second, _ = read_segment(path).ends
    content = bytearray(path.read_bytes())
    content[second - 5] ^= 1
    path.write_bytes(content)
    batch = read_segment(path)
    assert [record.id for record in batch.records if not hasattr(record, "counters")] == ["r0", "r2"]
    assert batch.damaged == ((first, second),)
    assert batch.tail is Tail.SEALED


def test_a_record_longer_than_what_is_read_at_once_is_read_whole(spool: Path) -> None:
    writer = SpoolWriter(spool, SOURCE, SystemClock())
    wanted: list[Record] = [an_intent("a"), Heartbeat(1, {f"name{n}": n for n in range(9_000)}), a_settle("a")]
    for record in wanted:
        writer.append(record)
    writer.close()
    path = list_segments(spool)[0].path
    found: list[Record] = []
    ends: list[int] = []
    batch = read_segment(path, limit_bytes=HEADER_BYTES_MAX)
    while batch.records:
        found += batch.records
        ends += batch.ends
        batch = read_segment(path, batch.offset, limit_bytes=HEADER_BYTES_MAX)
    assert found == wanted
    assert ends == read_segment(path).ends
    assert batch.tail is Tail.SEALED


def test_zeroes_at_the_end_are_a_torn_tail_and_no_records(spool: Path) -> None:
    writer = SpoolWriter(spool, SOURCE, SystemClock())
    writer.append(a_settle("r"))
    writer.flush_now()
    path = list_segments(spool)[0].path
    with path.open("ab") as file:
        file.write(bytes(64))
    batch = read_segment(path)
    assert len(batch.records) == 1
    assert batch.tail is Tail.TORN
    writer.close()


@pytest.mark.parametrize("content", [b"not a segment, surely", MAGIC + bytes(40), b"LCSPOOL2" + bytes(40)])
def test_what_is_no_segment_is_refused(spool: Path, content: bytes) -> None:
    spool.mkdir()
    path = spool / "local-b0-0-1-0.seg"
    path.write_bytes(content)
    with pytest.raises(SegmentUnreadable):
        read_segment(path)


def test_names_sort_by_source_and_number_and_strangers_are_left_out(spool: Path) -> None:
    spool.mkdir()
    for name in (
        "local-b-1-0-10.seg",
        "local-b-1-0-9.seg",
        "local-b-0-3-2.seg",
        "notes.txt",
        ".local-b-1-0-11.seg.new",
    ):
        (spool / name).write_bytes(b"")
    assert [name.path.name for name in list_segments(spool)] == [
        "local-b-0-3-2.seg",
        "local-b-1-0-9.seg",
        "local-b-1-0-10.seg",
    ]
    assert list_segments(spool / "nowhere") == ()


# Other processes

KILLED = """
import asyncio, sys, uvloop
from pathlib import Path
from lineclear.testing.money_records import an_intent, a_settle
from lineclear.base.clock import SystemClock
from lineclear.handover.spool import SpoolWriter, SpoolLimits

async def main():
    writer = SpoolWriter(Path(sys.argv[1]), "local-b0-0-1", SystemClock(), limits=SpoolLimits(segment_bytes=20000))
    for number in range(10**9):
        position = writer.append(an_intent(f"r{number}"))
        await writer.flushed(position)
        print(number, flush=True)

uvloop.run(main())
"""


def test_kill_9_loses_nothing_that_was_flushed_and_frees_the_lock(spool: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(spool)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    last = -1
    with child.stdout:
        for line in child.stdout:
            last = int(line)
            if last == 700:
                assert source_is_alive(spool, SOURCE)
                child.send_signal(signal.SIGKILL)
    child.wait()
    ids = [record.id for record in everything(spool) if not hasattr(record, "counters")]
    assert len(ids) >= last + 1
    assert ids == [f"r{number}" for number in range(len(ids))]
    assert not source_is_alive(spool, SOURCE)
    assert list(spool.glob(".ballast-*"))
    SpoolWriter(spool, "local-b1-0-1", SystemClock()).close()
    assert not list(spool.glob(".ballast-*"))


SHORT_FILES = """
import asyncio, resource, signal, sys, uvloop
from pathlib import Path
from lineclear.testing.money_records import an_intent
from lineclear.base.clock import SystemClock
from lineclear.domain.errors import PlatformFault
from lineclear.handover.spool import SpoolWriter, SpoolLimits

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
    writer = SpoolWriter(Path(sys.argv[1]), "local-b0-0-1", SystemClock(), limits=SpoolLimits(ballast_bytes=0))
    for number in range(100):
        try:
            await writer.flushed(writer.append(an_intent(f"r{number}")))
            print(number)
        except PlatformFault as fault:
            assert fault.code == "ledger_unavailable"
    writer.close()

uvloop.run(main())
"""


def test_where_the_system_itself_stops_a_write_short_the_file_has_exactly_what_counted(spool: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHORT_FILES, str(spool)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    counted = [f"r{line}" for line in done.stdout.split()]
    ids = [record.id for record in everything(spool) if not hasattr(record, "counters")]
    assert ids == counted
    assert 50 < len(counted) < 100
