"""The fold: the ledger's spool, read back into the books, so that a restart is a checkpoint and a replay.

In: spool segments from the positions on. Out: intents, checkpoints and settles in the books; positions. Reading the
same record twice changes nothing. Must not wait for a writer, and must not delete a segment.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from lineclear.accountant.books import Books
from lineclear.accountant.reservation import Moment
from lineclear.domain.accounts import Reserve
from lineclear.handover.segment import (
    SegmentName,
    SegmentUnreadable,
    Tail,
    list_segments,
    read_frames,
    segment_is_held,
)

SKIPPED_NAMES_MAX: Final = 1024


class MoneyRecord(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Base: the leading fields of a ledger record; what the books do not need is left undecoded."""


class IntentMoney(MoneyRecord, frozen=True, tag="i"):
    """The leading fields of `domain.ledger.Intent`."""

    id: str
    at_us: int
    environment: str
    team: str
    app: str
    key_id: str
    route: str
    release: str
    revision: int
    operation: str
    dialect: str
    task: str
    data_class: str
    stream: bool
    accounts: tuple[str, ...]
    reserved_nano_usd: int
    reserved_tokens: int


class HeardIntent(MoneyRecord, frozen=True, tag="i"):
    """An intent of an owner that has said hello: what it reserved was asked here already, so nothing is read."""


class CheckpointMoney(MoneyRecord, frozen=True, tag="c"):
    """The fields of `domain.ledger.Checkpoint`."""

    id: str
    at_us: int
    attempt: int
    model: str
    provider: str
    usage: msgspec.Raw
    cost_nano_usd: int


class SettleMoney(MoneyRecord, frozen=True, tag="s"):
    """The leading fields of `domain.ledger.Settle`."""

    id: str
    at_us: int
    outcome: str
    status: int
    error_code: str
    model: str
    provider: str
    attempts: msgspec.Raw
    candidates: msgspec.Raw
    rules: msgspec.Raw
    usage: msgspec.Raw
    cost_nano_usd: int


class RefusalMoney(MoneyRecord, frozen=True, tag="r"):
    """Costs nothing."""


class HeartbeatMoney(MoneyRecord, frozen=True, tag="h"):
    """Costs nothing."""


class ReviewMoney(MoneyRecord, frozen=True, tag="v"):
    """Costs nothing."""


class MirroredMoney(MoneyRecord, frozen=True, tag="m"):
    """What a copy cost is in its own settle, on nobody's account."""


FreeMoney: TypeAlias = RefusalMoney | HeartbeatMoney | ReviewMoney | MirroredMoney
AnyMoney: TypeAlias = IntentMoney | CheckpointMoney | SettleMoney | FreeMoney
HeardMoney: TypeAlias = HeardIntent | CheckpointMoney | SettleMoney | FreeMoney

decode_money: Callable[[bytes | memoryview], AnyMoney] = msgspec.msgpack.Decoder(AnyMoney).decode
decode_heard: Callable[[bytes | memoryview], HeardMoney] = msgspec.msgpack.Decoder(HeardMoney).decode


class Fold:
    """Where reading stands, and reading on."""

    def __init__(self, directory: Path, books: Books, positions: dict[str, int]) -> None:
        """`positions` is the offset by segment file name that the books already stand for."""
        self._directory = directory
        self._books = books
        self.positions = dict(positions)
        self._ended: set[str] = set()
        self._skipped: dict[str, str] = {}
        self.damaged_records = 0

    @property
    def skipped(self) -> dict[str, str]:
        """Segments that this program cannot read, by file name, with the reason."""
        return dict(self._skipped)

    def step(self, at: Moment) -> int:
        """Reads what was added to each segment, at most one batch of each.

        Returns:
            How many records were read; 0 = all is read.
        """
        names = list_segments(self._directory)
        self._forget({name.path.name for name in names})
        return sum(self._read_on(name, at) for name in names if name.path.name not in self._ended)

    def catch_up(self, at: Moment) -> int:
        """Reads until nothing is left; the number of records."""
        total = 0
        while count := self.step(at):
            total += count
        return total

    def dead_sources(self) -> set[str]:
        """The owners whose process is gone and whose every segment was read to its end."""
        names = list_segments(self._directory)
        unread = {name.source for name in names if name.path.name not in self._ended}
        ended = {name.source for name in names} - unread
        return {source for source in ended if not any(segment_is_held(n.path) for n in names if n.source == source)}

    def live_sources(self) -> set[str]:
        """The owners whose process lives: they hold the lock of a segment."""
        names = list_segments(self._directory)
        return {name.source for name in names if segment_is_held(name.path)}

    def _read_on(self, name: SegmentName, at: Moment) -> int:
        file_name = name.path.name
        was_held = segment_is_held(name.path)
        decode = decode_heard if self._books.has_spoken(name.source) else decode_money
        try:
            batch = read_frames(name.path, decode, self.positions.get(file_name, 0))
        except FileNotFoundError:
            return 0
        except SegmentUnreadable as error:
            if len(self._skipped) < SKIPPED_NAMES_MAX:
                self._skipped[file_name] = str(error)
            self._ended.add(file_name)
            return 0
        self._enter(batch.records, name.source, at)
        self.positions[file_name] = batch.offset
        self.damaged_records += len(batch.damaged)
        if not batch.records and (batch.tail is Tail.SEALED or not was_held):
            self._ended.add(file_name)
        return len(batch.records)

    def _enter(self, records: Sequence[AnyMoney | HeardMoney], source: str, at: Moment) -> None:
        books = self._books
        settle = books.ledger_settle
        for record in records:
            if isinstance(record, SettleMoney):
                settle(record.id, record.cost_nano_usd, at)
            elif isinstance(record, IntentMoney):
                if record.accounts:
                    op = Reserve(record.id, record.accounts, record.reserved_tokens, record.reserved_nano_usd)
                    books.ledger_intent(op, source, record.at_us // 1_000_000, at)
            elif isinstance(record, CheckpointMoney):
                books.ledger_checkpoint(record.id, record.cost_nano_usd)

    def _forget(self, present: set[str]) -> None:
        for file_name in [name for name in self.positions if name not in present]:
            del self.positions[file_name]
        self._ended &= present
