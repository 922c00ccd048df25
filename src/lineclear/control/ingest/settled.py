"""A settle as ingest reads it: what only `explain` shows stays the bytes that the gateway wrote.

In: a record's bytes. Out: the record, with a `Settled` in the place of a `Settle`. Must name the fields of
`domain.ledger.Settle` in their order; what is kept as bytes goes into the entry's detail as it is.
"""

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from lineclear.domain.ledger import Checkpoint, Heartbeat, Intent, RecordBase, Refusal
from lineclear.domain.money import Usage


class Settled(RecordBase, frozen=True, tag="s"):
    """`domain.ledger.Settle` with its lists unread."""

    id: str
    at_us: int
    outcome: str
    status: int
    error_code: str
    model: str
    provider: str
    attempts: tuple[msgspec.Raw, ...]
    """Each an AttemptRecord: an entry counts them."""
    candidates: msgspec.Raw
    rules: msgspec.Raw
    usage: Usage
    cost_nano_usd: int
    cost_basis: str
    waste_nano_usd: int
    price_version: str
    stop_reason: str
    model_echo: str
    response_id: str
    duration_us: int
    first_event_us: int
    steps_us: msgspec.Raw
    request_bytes: int
    response_bytes: int
    malformed_events: int


ReadRecord: TypeAlias = Intent | Checkpoint | Settled | Refusal | Heartbeat

decode_record: Callable[[memoryview], ReadRecord] = msgspec.msgpack.Decoder(ReadRecord).decode
"""Raises msgspec.MsgspecError where the bytes are no record."""
