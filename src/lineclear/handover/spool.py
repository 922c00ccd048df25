"""The writer of a spool: one per worker life, records in, one write per tick of the loop out.

In: records (`LedgerSink`). Out: segments that ingest and the accountant tail. A record counts once `flushed_to`
has passed it; what a failed write did not put into the file is void and says so to whoever waits for it. Must not
wait for the disk in the loop, must not read records back. The format is `handover.segment`'s.
"""

import asyncio
import errno
import fcntl
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from lineclear.base.clock import Clock
from lineclear.domain.errors import ErrorCode, PlatformFault
from lineclear.domain.ledger import RECORD_VERSION, Intent, Record, Review
from lineclear.handover.ballast import Ballast, clear_leftovers
from lineclear.handover.files import private_directory, sync_directory, write_all
from lineclear.handover.segment import (
    FRAME,
    FRAME_BYTES,
    MAGIC,
    RECORD_BYTES_MAX,
    SEAL_FRAME,
    SegmentBatch,
    SegmentHeader,
    SegmentName,
    SegmentUnreadable,
    Tail,
    list_segments,
    read_frames,
    read_header,
    read_segment,
    segment_is_held,
    segment_path,
    source_is_alive,
)

__all__ = [
    "SegmentBatch",
    "SegmentHeader",
    "SegmentName",
    "SegmentUnreadable",
    "SpoolLimits",
    "SpoolWriter",
    "Tail",
    "list_segments",
    "read_frames",
    "read_header",
    "read_segment",
    "segment_is_held",
    "segment_path",
    "source_is_alive",
]

SYNC_INTERVAL_S: Final = 0.010
BUFFER_BYTES_MAX: Final = 1 << 20
"""A fuller buffer is written at once, without waiting for the end of the tick."""
HELD_SEGMENTS_MAX: Final = 64
"""Sealed segments whose lock is kept so that readers see the writer as alive."""
VOID_RANGES_MAX: Final = 1024
RETRY_INTERVAL_NS: Final = 250_000_000
"""Between tries to open a segment, or to get the ballast back, after a failure."""

pack_frame: Final = FRAME.pack
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class SpoolLimits(msgspec.Struct, frozen=True):
    """Sizes in bytes."""

    segment_bytes: int = 32 << 20
    """A segment that has grown past this is sealed and a next one begun."""
    ballast_bytes: int = 1 << 20
    """Space kept for settles of what is under way when the disk is full; 0 = none."""


class SpoolWriter:
    """Writes one source's records. Belongs to one event loop, used from its thread only.

    Outside a running loop nothing is written by itself: call `flush_now`.
    """

    def __init__(
        self,
        directory: Path,
        source: str,
        clock: Clock,
        *,
        strict: bool = False,
        limits: SpoolLimits | None = None,
        write: Callable[[int, memoryview], int] = os.write,
    ) -> None:
        """Opens the first segment.

        Args:
            directory: the spool; made if missing.
            source: `<node>-<boot>-<slot>-<life>`; never used twice.
            clock: for the header and for pauses between retries.
            strict: a record counts only when it is on the disk, not when it is in the file.
            limits: sizes.
            write: how bytes reach a descriptor.

        Raises:
            FileExistsError: the source name was used before.
            OSError: the directory cannot be written.
        """
        self._directory = private_directory(directory)
        self._source = source
        self._clock = clock
        self._strict = strict
        self._limits = limits or SpoolLimits()
        self._ballast = Ballast(self._directory, source, self._limits.ballast_bytes)
        self._write = write
        self._encode = msgspec.msgpack.Encoder().encode
        self._buffer: list[bytes] = []
        self._buffered_from = 0
        self._appended = 0
        self._flushed = 0
        self._synced = 0
        self._voids: deque[tuple[int, int]] = deque(maxlen=VOID_RANGES_MAX)
        self._mark: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_scheduled = False
        self._is_closed = False
        self._is_disk_full = False
        self._retry_at_ns = 0
        self._sequence = -1
        self._segment = -1
        self._segment_bytes = 0
        self._sealed: deque[int] = deque()
        self._dirty: list[int] = []
        self._is_syncing = False
        self._sync_timer: asyncio.TimerHandle | None = None
        self._sync_thread = ThreadPoolExecutor(1, thread_name_prefix="spool-sync")
        self._counters = dict.fromkeys(
            (
                "spool_writes",
                "spool_bytes",
                "spool_syncs",
                "spool_rotations",
                "spool_write_failures",
                "spool_sync_failures",
                "spool_voided_bytes",
                "spool_refused",
            ),
            0,
        )
        clear_leftovers(self._directory, clock)
        self._open_segment()
        sync_directory(self._directory)
        self._is_disk_full = not self._ballast.take()

    # Appending

    def append(self, record: Record) -> int:
        """Queues a record for this tick's write; see `LedgerSink.append`.

        Raises:
            PlatformFault: `ledger_unavailable`: closed, the disk is full (intents and reviews only: what is under way
                may still settle into the ballast), or no segment can be opened.
        """
        if self._is_disk_full or self._segment < 0:
            self._refuse_or_recover(record)
        encode = self._encode
        payload = encode(record)
        size = len(payload)
        if size > RECORD_BYTES_MAX:
            raise _unavailable(f"a record of {size} bytes is larger than the spool takes ({RECORD_BYTES_MAX})")
        self._buffer += (pack_frame(size, crc32(payload)), payload)
        self._appended += size + FRAME_BYTES
        if not self._is_scheduled:
            self._schedule()
        elif self._appended - self._buffered_from > BUFFER_BYTES_MAX:
            self.flush_now()
        return self._appended

    @property
    def flushed_to(self) -> int:
        """Everything before this position is in the file (strict: on the disk) or void."""
        return self._synced if self._strict else self._flushed

    @property
    def accepts_intents(self) -> bool:
        """False while the disk is full, no segment can be opened, or the writer is closed."""
        return not (self._is_disk_full or self._is_closed or self._segment < 0)

    async def flushed(self, position: int) -> None:
        """Waits until `flushed_to` ≥ position.

        Raises:
            PlatformFault: `ledger_unavailable` if the record that ends there is void.
        """
        while (self._synced if self._strict else self._flushed) < position:
            try:
                await self._next_mark()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Another waiter was cancelled and took the shared future with it: wait for the next one.
        if self._voids and self._is_void(position):
            raise _unavailable("the ledger's spool could not be written; nothing was sent")

    def flush_now(self) -> None:
        """Writes everything queued, at once. Never raises: what could not be written is void for its waiters."""
        if not self._buffer:
            return
        data = b"".join(self._buffer)
        self._buffer.clear()
        if self._segment < 0:
            self._void(self._buffered_from)
        else:
            try:
                written = self._write(self._segment, memoryview(data))
                if written != len(data):
                    self._continue_write(data, written, None)
                else:
                    self._wrote(written)
            except OSError as error:
                self._continue_write(data, 0, error)
        self._buffered_from = self._flushed = self._appended
        if not self._strict:
            self._wake()
        elif not self._dirty and not self._is_syncing:
            self._synced = self._flushed
            self._wake()
        if self._segment_bytes >= self._limits.segment_bytes:
            self._rotate()
        self._arm_sync()

    def close(self) -> None:
        """Writes what is queued, syncs, marks the end and lets go of every lock. The writer takes nothing after it."""
        if self._is_closed:
            return
        self.flush_now()
        self._is_closed = True
        if self._sync_timer is not None:
            self._sync_timer.cancel()
        if self._segment >= 0:
            self._seal()
        self._sync_thread.shutdown(wait=True)
        try:
            for descriptor in self._dirty:
                os.fdatasync(descriptor)
            self._synced = self._flushed
        except OSError:
            self._sync_failed(self._synced, self._flushed)
        self._wake()
        while self._sealed:
            os.close(self._sealed.popleft())
        self._ballast.free()

    @property
    def counters(self) -> dict[str, int]:
        """Cumulative since this life began; names as in docs/metrics.md."""
        return dict(self._counters)

    # One tick

    def _schedule(self) -> None:
        if self._loop is None:
            try:
                self._loop = asyncio.get_running_loop()
            except RuntimeError:
                return
        self._is_scheduled = True
        self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        self._is_scheduled = False
        self.flush_now()

    def _next_mark(self) -> asyncio.Future[None]:
        mark = self._mark
        if mark is None or mark.done():
            self._mark = mark = asyncio.get_running_loop().create_future()
        return mark

    def _wake(self) -> None:
        mark = self._mark
        if mark is not None:
            self._mark = None
            if not mark.done():
                mark.set_result(None)

    def _wrote(self, written: int) -> None:
        self._segment_bytes += written
        if not self._dirty or self._dirty[-1] != self._segment:
            self._dirty.append(self._segment)
        self._counters["spool_writes"] += 1
        self._counters["spool_bytes"] += written

    # When a write fails

    def _continue_write(self, data: bytes, written: int, error: OSError | None) -> None:
        """After a short or failed write: go on, with the ballast freed if the disk is full; else void the rest."""
        while written < len(data):
            if error is not None:
                if error.errno not in _DISK_FULL or self._is_disk_full:
                    break
                self._is_disk_full = True
                self._retry_at_ns = self._clock.monotonic_ns() + RETRY_INTERVAL_NS
                self._ballast.free()
            try:
                written += self._write(self._segment, memoryview(data)[written:])
                error = None
            except OSError as again:
                error = again
        kept = _whole_frames(data, written)
        if kept:
            self._wrote(kept)
        if kept < len(data):
            self._counters["spool_write_failures"] += 1
            self._cut_to_whole_frames()
            self._void(self._buffered_from + kept)
            self._rotate()

    def _cut_to_whole_frames(self) -> None:
        try:
            os.ftruncate(self._segment, self._segment_bytes)
        except OSError:
            # A torn frame stays at the end; readers report it and go on with the next segment.
            self._counters["spool_write_failures"] += 1

    def _void(self, low: int) -> None:
        self._counters["spool_voided_bytes"] += self._appended - low
        if self._voids and self._voids[-1][1] == low:
            low = self._voids.pop()[0]
        self._voids.append((low, self._appended))

    def _is_void(self, position: int) -> bool:
        return any(low < position <= high for low, high in self._voids)

    def _refuse_or_recover(self, record: Record) -> None:
        if not self._is_closed and self._clock.monotonic_ns() >= self._retry_at_ns:
            self._retry_at_ns = self._clock.monotonic_ns() + RETRY_INTERVAL_NS
            if self._segment < 0:
                self._try_open_segment()
            if self._is_disk_full:
                self._is_disk_full = not self._ballast.take()
        if self._segment < 0 or (self._is_disk_full and isinstance(record, Intent | Review)):
            self._counters["spool_refused"] += 1
            reason = "is closed" if self._is_closed else "has no room: the disk is full or cannot be written"
            raise _unavailable(f"the ledger's spool {reason}; nothing was sent")

    # Segments

    def _open_segment(self) -> None:
        """Begins the next segment: it appears under its name only once it is locked and has its header."""
        sequence = self._sequence + 1
        path = segment_path(self._directory, self._source, sequence)
        header = msgspec.msgpack.encode(
            SegmentHeader(RECORD_VERSION, self._source, sequence, self._clock.unix_us(), self._appended)
        )
        content = MAGIC + FRAME.pack(len(header), crc32(header)) + header
        new = self._directory / f".{path.name}.new"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            write_all(descriptor, content)
            os.link(new, path)
        except BaseException:
            os.close(descriptor)
            raise
        finally:
            new.unlink(missing_ok=True)
        self._sequence, self._segment, self._segment_bytes = sequence, descriptor, len(content)

    def _try_open_segment(self) -> None:
        try:
            self._open_segment()
        except OSError:
            self._counters["spool_write_failures"] += 1

    def _rotate(self) -> None:
        """Begins a next segment before the old one is marked as ended, so that the source never looks dead."""
        old, self._segment = self._segment, -1
        self._try_open_segment()
        if self._segment < 0:
            self._retry_at_ns = self._clock.monotonic_ns() + RETRY_INTERVAL_NS
        self._counters["spool_rotations"] += 1
        self._end(old)
        for _ in range(len(self._sealed)):
            descriptor = self._sealed.popleft()
            is_deleted = os.fstat(descriptor).st_nlink == 0
            if (is_deleted or len(self._sealed) >= HELD_SEGMENTS_MAX) and descriptor not in self._dirty:
                os.close(descriptor)
            else:
                self._sealed.append(descriptor)

    def _seal(self) -> None:
        old, self._segment = self._segment, -1
        self._end(old)

    def _end(self, descriptor: int) -> None:
        try:
            write_all(descriptor, SEAL_FRAME)
        except OSError:
            self._counters["spool_write_failures"] += 1
        self._sealed.append(descriptor)

    # The disk

    def _arm_sync(self) -> None:
        if self._is_syncing or self._sync_timer is not None or not self._dirty or self._loop is None or self._is_closed:
            return
        if self._strict:
            self._start_sync()
        else:
            self._sync_timer = self._loop.call_later(SYNC_INTERVAL_S, self._start_sync)

    def _start_sync(self) -> None:
        self._sync_timer = None
        if self._is_closed or self._loop is None:
            return
        self._is_syncing = True
        descriptors, self._dirty = self._dirty, []
        job = self._loop.run_in_executor(self._sync_thread, _sync_all, descriptors)
        low, high = self._synced, self._flushed
        job.add_done_callback(lambda done: self._sync_done(done.exception(), low, high))

    def _sync_done(self, error: BaseException | None, low: int, high: int) -> None:
        self._is_syncing = False
        if error is None:
            self._synced = max(self._synced, high)
            self._counters["spool_syncs"] += 1
        else:
            self._sync_failed(low, high)
            if self._segment >= 0 and not self._is_closed:
                self._rotate()
        if self._strict:
            self._wake()
        self._arm_sync()

    def _sync_failed(self, low: int, high: int) -> None:
        self._counters["spool_sync_failures"] += 1
        self._synced = max(self._synced, high)
        if self._strict:
            self._voids.append((low, high))


def _whole_frames(data: bytes, written: int) -> int:
    """How many of the first `written` bytes are whole frames."""
    end = 0
    while end + FRAME_BYTES <= written:
        length, _ = FRAME.unpack_from(data, end)
        if end + FRAME_BYTES + length > written:
            break
        end += FRAME_BYTES + length
    return end


def _sync_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.fdatasync(descriptor)


def _unavailable(message: str) -> PlatformFault:
    return PlatformFault(
        ErrorCode.LEDGER_UNAVAILABLE,
        message,
        hint="free space on the disk that holds the data directory; requests are accepted again by themselves",
        retry_after_ms=1000,
    )
