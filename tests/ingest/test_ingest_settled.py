"""A settle read with its lists left as bytes is the settle that was written."""

import msgspec

from lineclear.control.ingest.entry_row import FacetNumbers, settled_row
from lineclear.control.ingest.settled import ReadRecord, Settled, decode_record
from lineclear.domain.entry import DETAIL_VERSION, EntryDetail
from lineclear.domain.ledger import CandidateRecord, Record, Settle
from lineclear.store.ledger_tables import ENTRY_COLUMNS
from lineclear.testing.records import checkpoint, heartbeat, intent, refusal, settle

_encode = msgspec.msgpack.Encoder().encode


def read(record: Record) -> ReadRecord:
    return decode_record(memoryview(_encode(record)))


def test_it_has_the_fields_of_a_settle_in_their_order() -> None:
    assert Settled.__struct_fields__ == Settle.__struct_fields__


def test_every_other_record_is_read_as_it_was_written() -> None:
    for record in (intent(1), checkpoint(1), refusal(1), heartbeat(requests=3)):
        assert read(record) == record


def test_the_detail_is_what_the_lists_themselves_would_make() -> None:
    many = tuple(CandidateRecord(f"model-{number}@1", 0.5, "") for number in range(20))
    opened, plain = intent(1), settle(1)
    for written in (plain, settle(1, attempts=plain.attempts * 17, candidates=many, rules=("one", "two"), steps_us=())):
        record = read(written)
        assert isinstance(record, Settled)
        row = dict(zip(ENTRY_COLUMNS, settled_row(opened, record, FacetNumbers())[0], strict=True))
        assert row["attempts"] == len(written.attempts)
        detail = EntryDetail(
            version=DETAIL_VERSION,
            asked="",
            inbound_id=opened.inbound_id,
            traceparent=opened.traceparent,
            user_hash=opened.user_hash,
            tags=opened.tags,
            accounts=opened.accounts,
            reserved_nano_usd=opened.reserved_nano_usd,
            reserved_tokens=opened.reserved_tokens,
            rules=written.rules,
            attempts=written.attempts,
            candidates=written.candidates,
            steps_us=written.steps_us,
            model_echo=written.model_echo,
            response_id=written.response_id,
            malformed_events=written.malformed_events,
        )
        assert row["detail"] == _encode(detail)
