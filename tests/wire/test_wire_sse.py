import collections
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineclear.domain.errors import ErrorCode, UpstreamError
from lineclear.wire.sse import EVENT_BYTES_MAX, LINE_BYTES_MAX, Splitter, event_frame, fields


def split(stream: bytes, *cuts: int) -> tuple[list[bytes], bytes]:
    splitter = Splitter()
    edges = [0, *cuts, len(stream)]
    pieces: list[bytes] = []
    for start, end in itertools.pairwise(edges):
        if start < end:
            pieces += splitter.feed(stream[start:end])
    return pieces, splitter.rest()


def meaning(pieces: list[bytes]) -> list[tuple[bytes, bytes | None]]:
    return [read for piece in pieces if (read := fields(piece)) != (b"", None)]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_is_understood(line_end: bytes) -> None:
    stream = line_end.join([b": hello", b"event: a", b"data: 1", b"data:2", b"", b"data", b"", b"id: 7", b"", b""])
    pieces, rest = split(stream)
    assert rest == b""
    assert b"".join(pieces) == stream
    assert [fields(piece) for piece in pieces] == [(b"a", b"1\n2"), (b"", b""), (b"", None)]


@pytest.mark.parametrize(
    "stream",
    [
        b"data: 1\n\ndata: 2\n\n",
        b"event: x\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n",
        b"data: 1\r\rdata: 2\r\r",
        b"data: 1\n\r\ndata: 2\r\n\ndata: 3\r\n\rdata: 4\n\n",
        b"\n\n\ndata: 1\n\n\n\ndata: 2\n\n: end\n\n",
        "data: h\u00e9llo \U0001f600\n\ndata: \u2028\n\n".encode(),
        b"data: 1\n\ndata: unfinished",
    ],
)
def test_no_cut_anywhere_changes_what_is_read(stream: bytes) -> None:
    whole, whole_rest = split(stream)
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            pieces, rest = split(stream, first, second)
            assert b"".join(pieces) + rest == stream
            assert meaning(pieces) == meaning(whole)
            assert rest == whole_rest or (rest.strip(b"\r\n") == b"" and whole_rest == b"")
    pieces, rest = split(stream, *range(1, len(stream)))
    assert b"".join(pieces) + rest == stream
    assert meaning(pieces) == meaning(whole)


def test_an_event_that_ends_in_a_carriage_return_does_not_wait() -> None:
    splitter = Splitter()
    assert splitter.feed(b"data: 1\r\n\r") == [b"data: 1\r\n\r"]
    assert splitter.feed(b"\ndata: 2\r\n\r\n") == [b"\ndata: 2\r\n\r\n"]
    assert fields(b"\ndata: 2\r\n\r\n") == (b"", b"2")


@given(
    st.lists(
        st.sampled_from([b"data: a", b"event: b", b":c", b"\n", b"\r", b"\r\n", b"data:", b"\xc3\xa9"]), max_size=30
    ),
    st.data(),
)
@settings(max_examples=300, deadline=None)
def test_random_streams_keep_their_bytes_and_their_meaning(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=6)))
    pieces, rest = split(stream, *cuts)
    whole, _ = split(stream)
    assert b"".join(pieces) + rest == stream
    assert meaning(pieces) == meaning(whole)


def refused(stream: list[bytes]) -> None:
    splitter = Splitter()
    with pytest.raises(UpstreamError) as caught:
        collections.deque(map(splitter.feed, stream), maxlen=0)
    assert caught.value.code is ErrorCode.UPSTREAM_BAD_RESPONSE


def test_a_line_has_a_limit_in_one_read_and_in_many() -> None:
    line = b"data: " + b"x" * (LINE_BYTES_MAX - 6)
    assert split(line + b"\n\n")[0] == [line + b"\n\n"]
    refused([line + b"x\n\n"])
    refused([b"data: ", *[b"x" * 65536] * 17])


def test_an_event_has_a_limit_though_each_line_is_short() -> None:
    line = b"data: " + b"x" * 65529 + b"\n"
    fits = EVENT_BYTES_MAX // len(line) - 1
    splitter = Splitter()
    for _ in range(fits):
        assert splitter.feed(line) == []
    assert len(splitter.feed(b"\n")) == 1
    refused([line] * (fits + 3))


def test_a_frame_that_we_write_reads_back() -> None:
    assert fields(event_frame("ping", b'{"a":1}')) == (b"ping", b'{"a":1}')
