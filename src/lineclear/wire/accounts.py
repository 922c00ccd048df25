"""Frames between gateways and the accountant: length-prefixed msgpack over a Unix socket.

In: bytes as they arrive. Out: whole frames. A connection begins with the client's `Hello`; then `Ops` are answered
by `Replies` with the same sequence, in order. Must not know what an operation means.
"""

import struct
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from lineclear.domain.accounts import Op, Reply, Reserve

PROTOCOL_VERSION: Final = 1
FRAME_BYTES_MAX: Final = 16 << 20
OPS_PER_FRAME_MAX: Final = 4096
PREFIX: Final = struct.Struct("<I")


class WireFrame(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """Base: arrays on the wire."""


class Hello(WireFrame, frozen=True, tag="h"):
    """Who is speaking, and what it holds: every reservation it was granted and knows no acknowledged end of."""

    version: int
    source: str
    open: tuple[Reserve, ...]
    """With the amounts as extended. What the accountant does not know of these it takes up again, unasked."""


class Ops(WireFrame, frozen=True, tag="o"):
    """What one tick asked for, in order."""

    sequence: int
    ops: tuple[Op, ...]


class Replies(WireFrame, frozen=True, tag="a"):
    """One reply for each operation of the frame with this sequence; None acknowledges a settle or void."""

    sequence: int
    replies: tuple[Reply | None, ...]


ClientFrame: TypeAlias = Hello | Ops


class FrameError(Exception):
    """The other side speaks something else. The connection is of no more use."""


_encode = msgspec.msgpack.Encoder().encode
_decode_client: Callable[[bytes], ClientFrame] = msgspec.msgpack.Decoder(ClientFrame).decode
_decode_replies = msgspec.msgpack.Decoder(Replies).decode


def encode_frame(frame: Hello | Ops | Replies) -> bytes:
    """The frame with its length in front.

    Raises:
        FrameError: larger than 16 MiB.
    """
    payload = _encode(frame)
    if len(payload) > FRAME_BYTES_MAX:
        raise FrameError(f"a frame of {len(payload)} bytes is larger than {FRAME_BYTES_MAX}")
    return PREFIX.pack(len(payload)) + payload


def decode_client_frame(payload: bytes) -> Hello | Ops:
    """What a gateway sent.

    Raises:
        FrameError: it is no frame of this protocol.
    """
    try:
        return _decode_client(payload)
    except msgspec.MsgspecError as error:
        raise FrameError(f"not a frame of a gateway: {error}") from error


def decode_replies(payload: bytes) -> Replies:
    """What the accountant sent.

    Raises:
        FrameError: it is no frame of this protocol.
    """
    try:
        return _decode_replies(payload)
    except msgspec.MsgspecError as error:
        raise FrameError(f"not a frame of the accountant: {error}") from error


class FrameSplitter:
    """Cuts a stream of bytes into frames; keeps at most one unfinished frame."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that are complete now.

        Raises:
            FrameError: a length above 16 MiB.
        """
        if self._rest:
            data = self._rest + data
        frames: list[bytes] = []
        start = 0
        size = len(data)
        while size - start >= 4:
            (length,) = PREFIX.unpack_from(data, start)
            if length > FRAME_BYTES_MAX:
                raise FrameError(f"a frame of {length} bytes is announced; {FRAME_BYTES_MAX} is the most")
            end = start + 4 + length
            if end > size:
                break
            frames.append(data[start + 4 : end])
            start = end
        self._rest = data[start:] if start else data
        return frames
