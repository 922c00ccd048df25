"""One ledger entry: what is kept of an exchange after it ended, and how an alteration shows.

In: records of `domain.ledger`. Out: the part of an entry that only `explain` reads, its day and its check
number. Tables are `store`'s knowledge.
"""

import re
import zlib
from enum import IntEnum
from typing import Any

import msgspec

from lineclear.domain.ledger import AttemptRecord, CandidateRecord, RecordBase

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
DETAIL_VERSION = 1

_EXCHANGE_ID = re.compile(r"req_[0-9a-f]{28}")
_ATTEMPT_ID = re.compile(r"(req_[0-9a-f]{28})\.[0-9]{1,3}")
_ENCODER = msgspec.msgpack.Encoder()


class EntryKind(IntEnum):
    """How an entry came about."""

    EXCHANGE = 0
    """An intent and its settle."""
    REFUSAL = 1
    """Turned away before any intent."""
    ORPHAN = 2
    """An intent whose worker died; closed by control at its last checkpoint."""


class EntryDetail(RecordBase, frozen=True):
    """What `explain` shows beyond the entry's columns. Kept as one compact blob."""

    version: int
    """DETAIL_VERSION of the writer."""
    asked: str
    """The route as the caller wrote it, where the entry's own route is empty because there is none of that name."""
    inbound_id: str
    traceparent: str
    user_hash: str
    tags: str
    accounts: tuple[str, ...]
    reserved_nano_usd: int
    reserved_tokens: int
    rules: tuple[str, ...]
    attempts: tuple[AttemptRecord, ...]
    candidates: tuple[CandidateRecord, ...]
    steps_us: tuple[int, ...]
    """In the order of `domain.ledger.STEPS`; empty for a refusal or an orphan."""
    model_echo: str
    response_id: str
    malformed_events: int
    echo: str = ""
    """Release that the app said it was configured by; empty if it said nothing."""
    arm: str = ""
    """Of a rollout: `stable` or `candidate`. These four are not written for a request that had none."""
    rollout: str = ""
    weight_bp: int = 0
    unit_hash: str = ""


def day_of(at_us: int) -> int:
    """The UTC day of an instant, in days since 1970-01-01."""
    return at_us // DAY_US


def exchange_day(exchange: str) -> int | None:
    """The UTC day on which an exchange of ours began, from its id; None for what is no such id.

    Source: `base.ids.ExchangeIds`.
    """
    if not _EXCHANGE_ID.fullmatch(exchange):
        return None
    return day_of(int(exchange[4:16], 16) * 1000)


def is_exchange_id(text: str) -> bool:
    """Whether a text could be the id of an exchange."""
    return _EXCHANGE_ID.fullmatch(text) is not None


def exchange_of(request: str) -> str:
    """The exchange that an attempt's id names, as targets know it: `req_….2` is `req_…`. Any other text as it is."""
    attempt = _ATTEMPT_ID.fullmatch(request)
    return request if attempt is None else attempt[1]


def first_exchange_id(at_us: int) -> str:
    """Sorts before every exchange id made at an instant or later, and behind every earlier one's.

    Source: `base.ids.ExchangeIds`.
    """
    return f"req_{max(at_us, 0) // 1000:012x}"


def check_number(values: tuple[Any, ...]) -> int:
    """CRC-32 over an entry's column values: a changed row no longer has its own.

    It finds damage and careless edits; it is no proof against someone who recomputes it.
    """
    # Any: a row's values are int, str, bytes or None; msgpack frames each, so no two rows share bytes.
    return zlib.crc32(_ENCODER.encode(values))
