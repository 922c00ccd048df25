"""What ingest holds in memory about the spool: sources, their segments, and the exchanges still open.

In: positions from the ledger and segments on disk. Out: state that can be thrown away at any time and be
rebuilt by reading each segment again from its `low`. Reads no record itself, writes nothing.
"""

from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from zlib import crc32

from lineclear.domain.ledger import Checkpoint, Intent
from lineclear.handover.segment import FRAME, FRAME_BYTES, SegmentName
from lineclear.store.ledger import Position

TAIL_BYTES_MAX = 256 * 1024
"""How much behind a broken frame is looked at for whole ones."""


class OpenExchange:
    """An intent without its settle yet."""

    __slots__ = ("checkpoint", "intent", "segment", "start")

    def __init__(self, intent: Intent, segment: "SegmentReading", start: int) -> None:
        self.intent = intent
        self.checkpoint: Checkpoint | None = None
        self.segment = segment
        self.start = start
        """Offset at which the intent's record begins."""


class SegmentReading:
    """How far one segment has been read, and what of it is open."""

    __slots__ = (
        "ended",
        "file",
        "high",
        "intents",
        "is_unreadable",
        "name",
        "open_starts",
        "orphans",
        "position",
        "refusals",
        "settles",
        "watermark_us",
    )

    def __init__(self, name: SegmentName, position: Position) -> None:
        self.name = name
        self.file = name.path.name
        self.position = position
        """What the ledger knows."""
        self.high = position.high
        self.intents = position.intents
        self.settles = position.settles
        self.refusals = position.refusals
        self.orphans = position.orphans
        self.watermark_us = position.watermark_us
        self.ended = position.closed
        """Nothing more will be written to it and all of it has been read."""
        self.is_unreadable = False
        """Not a segment, or one of another version: left alone and never deleted."""
        self.open_starts: dict[str, int] = {}
        """Where the intents of this segment begin that are still open, in order of writing."""

    def now(self) -> Position:
        """The position that stands for what has been read and folded so far."""
        low = next(iter(self.open_starts.values()), self.high)
        closed = self.ended and not self.open_starts
        return Position(
            self.file,
            low,
            self.high,
            self.intents,
            self.settles,
            self.refusals,
            self.orphans,
            self.watermark_us,
            closed,
        )


class SourceReading:
    """One worker life: its segments in order, and its open exchanges."""

    __slots__ = ("is_alive", "name", "open", "segments")

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = False
        """Whether its writer lived when it was read last."""
        self.segments: list[SegmentReading] = []
        self.open: dict[str, OpenExchange] = {}
        """By exchange id, in the order of their intents."""

    def take_segments(self, found: Iterable[SegmentName], positions: Mapping[str, Position]) -> list[SegmentReading]:
        """Follow the directory: forget segments that were deleted, return those that are new."""
        known = {segment.file: segment for segment in self.segments}
        fresh: list[SegmentReading] = []
        segments: list[SegmentReading] = []
        for name in found:
            segment = known.get(name.path.name)
            if segment is None:
                segment = SegmentReading(name, positions.get(name.path.name, Position(name.path.name)))
                fresh.append(segment)
            segments.append(segment)
        self.segments = segments
        return fresh

    def replay_starts(self, fresh: Iterable[SegmentReading]) -> dict[str, int]:
        """Where to begin reading each fresh segment again, to find what is open.

        Once one segment has open intents, their settles may stand anywhere in the later ones, so those are
        read again from their beginning.
        """
        starts: dict[str, int] = {}
        is_open = False
        for segment in fresh:
            starts[segment.file] = 0 if is_open else segment.position.low
            is_open = is_open or segment.position.low < segment.position.high
        return starts


def by_source(names: Iterable[SegmentName]) -> dict[str, list[SegmentName]]:
    """Segments grouped by who wrote them, each group in order of writing. The input is sorted by source."""
    return {source: list(group) for source, group in groupby(names, key=lambda name: name.source)}


def bytes_from(path: Path, offset: int) -> bytes:
    """At most TAIL_BYTES_MAX of a file from `offset` on; empty if it is gone."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(TAIL_BYTES_MAX)
    except FileNotFoundError:
        return b""


def has_whole_frame(tail: bytes) -> bool:
    """Whether a whole record stands somewhere in what looks like an unfinished write.

    An unfinished write is the beginning of one: nothing whole can follow where it breaks off.
    """
    for start in range(1, len(tail) - FRAME_BYTES):
        length, crc = FRAME.unpack_from(tail, start)
        body = start + FRAME_BYTES
        if 0 < length <= len(tail) - body and crc32(tail[body : body + length]) == crc:
            return True
    return False
