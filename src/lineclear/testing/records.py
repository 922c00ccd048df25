"""Ledger records for tests, and a spool to write them to with the real writer.

In: numbers and changes. Out: records that are alike but for those. Every time is an argument.
"""

from pathlib import Path

import msgspec

from lineclear.domain.ledger import (
    AttemptRecord,
    CandidateRecord,
    Checkpoint,
    Heartbeat,
    Intent,
    Record,
    Refusal,
    Review,
    Settle,
)
from lineclear.domain.money import Usage
from lineclear.handover.segment import FRAME
from lineclear.handover.spool import SpoolLimits, SpoolWriter
from lineclear.testing.clock import START_UNIX_US, TestClock


def exchange_id(number: int, at_us: int = START_UNIX_US) -> str:
    return f"req_{at_us // 1000:012x}{0xABCDEF01:08x}{number:08x}"


def intent(number: int, at_us: int = START_UNIX_US, **changes: object) -> Intent:
    made = Intent(
        id=exchange_id(number, at_us),
        at_us=at_us,
        environment="live",
        team="support",
        app="shop",
        key_id="abcdefghijkl",
        route="support-chat",
        release="rel_0123456789abcdef",
        revision=7,
        operation="chat",
        dialect="openai",
        task="customer-support",
        data_class="internal",
        stream=False,
        accounts=("app:shop", "route:live/support-chat"),
        reserved_nano_usd=1_000_000,
        reserved_tokens=900,
        model="acme-small@2026-08",
        provider="acme",
        price_version="manifest",
        inbound_id="",
        traceparent="",
        user_hash="",
        tags="",
    )
    return msgspec.structs.replace(made, **changes)


def settle(number: int, at_us: int = START_UNIX_US, took_us: int = 250_000, **changes: object) -> Settle:
    made = Settle(
        id=exchange_id(number, at_us),
        at_us=at_us + took_us,
        outcome="ok",
        status=200,
        error_code="",
        model="acme-small@2026-08",
        provider="acme",
        attempts=(AttemptRecord(1, "acme-small@2026-08", "acme", "ok", 200, "", 900, took_us - 2000, "up-1", 24_150),),
        candidates=(
            CandidateRecord("acme-small@2026-08", 0.9, ""),
            CandidateRecord("acme-large@2026-08", 0.0, "weight is 0"),
        ),
        rules=(),
        usage=Usage(input_tokens=121, output_tokens=10),
        cost_nano_usd=24_150,
        cost_basis="priced",
        waste_nano_usd=0,
        price_version="manifest",
        stop_reason="end",
        model_echo="acme-small-2026-08-07",
        response_id="chatcmpl-1",
        duration_us=took_us,
        first_event_us=took_us // 2,
        steps_us=(10, 5, 12, 6, 4, 20, took_us - 100, 30, 13),
        request_bytes=420,
        response_bytes=900,
        malformed_events=0,
    )
    return msgspec.structs.replace(made, **changes)


def checkpoint(number: int, at_us: int = START_UNIX_US, attempt: int = 1, **changes: object) -> Checkpoint:
    made = Checkpoint(
        id=exchange_id(number, at_us),
        at_us=at_us + 100_000,
        attempt=attempt,
        model="acme-large@2026-08",
        provider="acme",
        usage=Usage(input_tokens=121, output_tokens=4),
        cost_nano_usd=9_000,
    )
    return msgspec.structs.replace(made, **changes)


def refusal(number: int, at_us: int = START_UNIX_US, **changes: object) -> Refusal:
    made = Refusal(
        id=exchange_id(number, at_us),
        at_us=at_us,
        environment="live",
        team="support",
        app="shop",
        key_id="abcdefghijkl",
        route="support-chat",
        release="rel_0123456789abcdef",
        revision=7,
        operation="chat",
        dialect="openai",
        status=429,
        error_code="rate_limited",
        rules=("limit:app:shop",),
        candidates=(),
        task="customer-support",
        duration_us=90,
        inbound_id="",
    )
    return msgspec.structs.replace(made, **changes)


def review(number: int, at_us: int = START_UNIX_US, about: int = 0, **changes: object) -> Review:
    made = Review(
        id=exchange_id(number, at_us),
        at_us=at_us,
        environment="live",
        app="shop",
        key_id="abcdefghijkl",
        request=exchange_id(about),
        outcome="approved",
        reason="",
        reviewer="",
    )
    return msgspec.structs.replace(made, **changes)


def heartbeat(at_us: int = START_UNIX_US, **counters: int) -> Heartbeat:
    return Heartbeat(at_us, dict(counters))


class Spool:
    """A spool directory with one living writer per source."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = TestClock()
        self._writers: dict[str, SpoolWriter] = {}

    def writer(self, source: str = "local-b00t-0-1", segment_bytes: int = 32 << 20) -> SpoolWriter:
        found = self._writers.get(source)
        if found is None:
            limits = SpoolLimits(segment_bytes=segment_bytes, ballast_bytes=0)
            found = self._writers[source] = SpoolWriter(self.directory, source, self.clock, limits=limits)
        return found

    def write(self, *records: Record, source: str = "local-b00t-0-1") -> None:
        writer = self.writer(source)
        for record in records:
            writer.append(record)
        writer.flush_now()

    def die(self, source: str = "local-b00t-0-1") -> None:
        """The writer's process is gone: its locks are free."""
        self._writers.pop(source).close()

    def close(self) -> None:
        for source in list(self._writers):
            self.die(source)

    def paths(self) -> list[Path]:
        return sorted(self.directory.glob("*.seg"))


def frames(path: Path) -> list[tuple[int, int]]:
    """(start, end) of each frame after the magic, the header's first."""
    data = path.read_bytes()
    found: list[tuple[int, int]] = []
    at = 8
    while at + FRAME.size <= len(data):
        length = FRAME.unpack_from(data, at)[0]
        if length > 1 << 20:
            break
        found.append((at, at + FRAME.size + length))
        at += FRAME.size + length
    return found
