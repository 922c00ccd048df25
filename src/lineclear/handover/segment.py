"""One spool segment: its name, its bytes, and reading it while its writer may still be writing.

In: a path and an offset. Out: records with the offsets just past them, damage and torn tails named. Must not
write, lock for longer than a probe, or decide what a record means.

Format: magic, then frames of `length u32 LE · CRC-32 of the payload u32 LE · payload`. The first payload is the
header, the others are records as msgpack. A frame of length 0xFFFFFFFF says that nothing follows (sealed).
"""

import fcntl
import os
import re
import struct
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final, Generic, TypeVar
from zlib import crc32

import msgspec

from lineclear.domain.ledger import RECORD_VERSION, Record

MAGIC: Final = b"LCSPOOL1"
FRAME: Final = struct.Struct("<II")
FRAME_BYTES: Final = FRAME.size
SEAL_LENGTH: Final = 0xFFFFFFFF
SEAL_FRAME: Final = FRAME.pack(SEAL_LENGTH, crc32(b"sealed"))
RECORD_BYTES_MAX: Final = 1 << 20
WHOLE_RECORD_BYTES: Final = FRAME_BYTES + RECORD_BYTES_MAX
"""As many bytes hold at least one whole record."""
READ_BYTES_MAX: Final = 4 << 20
HEADER_BYTES_MAX: Final = 4096
SUFFIX: Final = ".seg"

_NAME = re.compile(r"(?P<source>.+)-(?P<sequence>\d+)\.seg")
T = TypeVar("T")


class SegmentHeader(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The first frame of a segment."""

    record_version: int
    source: str
    sequence: int
    created_us: int
    """Unix microseconds."""
    base_position: int
    """The writer's position of the first record: positions run on through a source's segments."""


class SegmentName(msgspec.Struct, frozen=True, gc=False, order=True):
    """What a segment's file name says."""

    source: str
    """`<node>-<boot>-<slot>-<life>`."""
    sequence: int
    path: Path


class Tail(StrEnum):
    """How the part that was read ends."""

    OPEN = "open"
    """At the end of a frame; more may follow."""
    TORN = "torn"
    """In the middle of a frame: being written if the segment is held, lost otherwise."""
    SEALED = "sealed"
    """The writer said that nothing follows."""


class SegmentBatch(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """A run of records."""

    records: list[T]
    ends: list[int]
    """For each record the offset just past it, where a later read may begin."""
    damaged: tuple[tuple[int, int], ...]
    """(start, end) of frames whose content does not match its CRC or is no record; skipped."""
    offset: int
    """Where the next read begins."""
    tail: Tail


class SegmentUnreadable(Exception):
    """Not a segment, or one of a version this program does not read. Nothing was consumed."""


_decode_header = msgspec.msgpack.Decoder(SegmentHeader).decode
_decode_record: Callable[[memoryview], Record] = msgspec.msgpack.Decoder(Record).decode


def segment_path(directory: Path, source: str, sequence: int) -> Path:
    return directory / f"{source}-{sequence}{SUFFIX}"


def list_segments(directory: Path) -> tuple[SegmentName, ...]:
    """All segments, by source and then in the order in which they were written. Empty if there is no directory."""
    if not directory.is_dir():
        return ()
    matches = ((_NAME.fullmatch(path.name), path) for path in directory.iterdir())
    return tuple(
        sorted(
            SegmentName(match["source"], int(match["sequence"]), path) for match, path in matches if match is not None
        )
    )


def segment_is_held(path: Path) -> bool:
    """Whether the segment's writer still lives (it holds the lock for life). False if the file is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def source_is_alive(directory: Path, source: str) -> bool:
    """Whether the process that writes under this source name lives.

    Ask this, not the one segment, before closing an exchange as orphaned: its settle may stand in a later segment.
    """
    return any(segment_is_held(name.path) for name in reversed(list_segments(directory)) if name.source == source)


def read_header(path: Path) -> SegmentHeader:
    """What the segment says about itself.

    Raises:
        SegmentUnreadable: not a segment, or of another version.
        FileNotFoundError: it was deleted.
    """
    return _header(path.name, _read(path, 0, HEADER_BYTES_MAX)[0])[0]


def read_segment(path: Path, offset: int = 0, *, limit_bytes: int = READ_BYTES_MAX) -> SegmentBatch[Record]:
    """Reads whole records from `offset` (0 or one that an earlier read gave), about `limit_bytes` of them.

    Raises:
        SegmentUnreadable: not a segment, or of another version.
        FileNotFoundError: it was deleted.
    """
    return read_frames(path, _decode_record, offset, limit_bytes=limit_bytes)


def read_frames(
    path: Path, decode: Callable[[memoryview], T], offset: int = 0, *, limit_bytes: int = READ_BYTES_MAX
) -> SegmentBatch[T]:
    """As `read_segment`, with a decoder of one's own; what it refuses counts as damaged.

    Raises:
        SegmentUnreadable: not a segment, or of another version.
        FileNotFoundError: it was deleted.
    """
    data, size = _read(path, offset, max(limit_bytes, HEADER_BYTES_MAX))
    start = 0
    if offset == 0:
        if MAGIC.startswith(data[: len(MAGIC)]) and len(data) < len(MAGIC) + FRAME_BYTES:
            return SegmentBatch([], [], (), 0, Tail.TORN)
        start = _header(path.name, data)[1]
    at_end = offset + len(data) >= size
    batch = _parse(data, start, offset, decode, at_end=at_end)
    if batch.offset == offset and batch.tail is Tail.OPEN and not at_end and limit_bytes < WHOLE_RECORD_BYTES:
        # A record longer than the limit; what is longer than this is none.
        return read_frames(path, decode, offset, limit_bytes=WHOLE_RECORD_BYTES)
    return batch


def _parse(data: bytes, start: int, offset: int, decode: Callable[[memoryview], T], *, at_end: bool) -> SegmentBatch[T]:
    view = memoryview(data)
    size = len(data)
    records: list[T] = []
    ends: list[int] = []
    damaged: list[tuple[int, int]] = []
    tail = Tail.OPEN
    unpack = FRAME.unpack_from
    while size - start >= FRAME_BYTES:
        length, crc = unpack(data, start)
        if length > RECORD_BYTES_MAX or length == 0:
            tail = Tail.SEALED if data.startswith(SEAL_FRAME, start) else Tail.TORN
            break
        body = start + FRAME_BYTES
        end = body + length
        if end > size:
            break
        payload = view[body:end]
        if crc32(payload) != crc:
            damaged.append((offset + start, offset + end))
        else:
            try:
                records.append(decode(payload))
                ends.append(offset + end)
            except msgspec.MsgspecError:
                damaged.append((offset + start, offset + end))
        start = end
    if tail is Tail.OPEN and at_end and start < size:
        tail = Tail.TORN
    return SegmentBatch(records, ends, tuple(damaged), offset + start, tail)


def _read(path: Path, offset: int, limit_bytes: int) -> tuple[bytes, int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        if offset >= size:
            return b"", size
        return os.pread(descriptor, min(limit_bytes, size - offset), offset), size
    finally:
        os.close(descriptor)


def _header(name: str, data: bytes) -> tuple[SegmentHeader, int]:
    body = len(MAGIC) + FRAME_BYTES
    if not data.startswith(MAGIC) or len(data) < body:
        raise SegmentUnreadable(f"{name!r} does not begin as a spool segment")
    length, crc = FRAME.unpack_from(data, len(MAGIC))
    payload = data[body : body + length]
    if len(payload) != length or crc32(payload) != crc:
        raise SegmentUnreadable(f"the header of spool segment {name!r} is damaged")
    try:
        header = _decode_header(payload)
    except msgspec.MsgspecError as error:
        raise SegmentUnreadable(f"the header of spool segment {name!r} is of an unknown form: {error}") from error
    if header.record_version != RECORD_VERSION:
        raise SegmentUnreadable(
            f"spool segment {name!r} has record version {header.record_version}; this program reads {RECORD_VERSION}. "
            "Upgrade this process, or read the segment with the version that wrote it"
        )
    return header, body + length
