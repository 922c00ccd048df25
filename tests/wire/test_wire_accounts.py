"""Frames between gateway and accountant survive any cut of the stream; strangers are refused."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineclear.domain.accounts import Denied, Extend, Granted, Reserve, SettleAccount, Void
from lineclear.wire.accounts import (
    PREFIX,
    FrameError,
    FrameSplitter,
    Hello,
    Ops,
    Replies,
    decode_client_frame,
    decode_replies,
    encode_frame,
)

FRAMES = (
    Hello(1, "local-b-0-1", (Reserve("r", ("app:a",), 1, 2),)),
    Ops(1, (Reserve("r", ("app:a", "team:t"), 1, 2**62), Extend("r", 3, 4), SettleAccount("r", 5, 6), Void("r"))),
    Ops(2, ()),
)
REPLIES = (
    Replies(1, (Granted("r", 1, 2, 3, 4, 5, 6, 7), Granted("r"), None, Denied("r", "app:a", "budget", 1, None, 2))),
    Replies(2, (Denied("r", "app:a", "tokens", 1, 7, 0, Granted("r", 1, 2, 3, 4, 5, 6, 7)),)),
    Replies(0, ()),
)


@given(cuts=st.lists(st.integers(0, 400), max_size=12))
def test_frames_come_out_whole_however_the_stream_is_cut(cuts: list[int]) -> None:
    stream = b"".join([encode_frame(frame) for frame in FRAMES])
    splitter = FrameSplitter()
    found: list[bytes] = []
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    for start, end in pairwise(edges):
        found += splitter.feed(stream[start:end])
    assert tuple(map(decode_client_frame, found)) == FRAMES


def test_replies_come_back_as_they_were() -> None:
    stream = b"".join([encode_frame(frame) for frame in REPLIES])
    assert tuple(map(decode_replies, FrameSplitter().feed(stream))) == REPLIES


@pytest.mark.parametrize("payload", [b"", b"\x91\xa1z", b"\x93\xa1o\x01\x90\x00", b"\x94\xa1o\x01\x90\x00", b"\xc1"])
def test_what_is_no_frame_is_refused(payload: bytes) -> None:
    with pytest.raises(FrameError):
        decode_client_frame(payload)
    with pytest.raises(FrameError):
        decode_replies(payload)


def test_a_frame_too_large_is_refused_before_it_is_read_or_sent() -> None:
    with pytest.raises(FrameError, match="announced"):
        FrameSplitter().feed(PREFIX.pack((16 << 20) + 1))
    with pytest.raises(FrameError, match="larger"):
        encode_frame(Hello(1, "x" * (16 << 20), ()))
