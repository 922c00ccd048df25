"""Anthropic messages → canonical events, whole and streamed.

In: a vendor's bytes. Out: events. Must not: change bytes; event types and block types that we do not know
are forwarded and mean nothing or opaque content. Source: research/protocols.md §3; Anthropic API, "Streaming".
"""

import re
from typing import Any, Final

import msgspec

from lineclear.domain.exchange import (
    Event,
    Finished,
    Malformed,
    OpaqueContent,
    ReasoningDelta,
    Started,
    StopReason,
    Terminated,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallStarted,
    UsageReported,
)
from lineclear.domain.money import NO_USAGE
from lineclear.wire.delta_shape import Padding
from lineclear.wire.native_errors import UNREADABLE, failure, native_name
from lineclear.wire.sse import FrameReader, fields
from lineclear.wire.usage import anthropic_usage

STOP_REASONS = {
    "end_turn": StopReason.END,
    "stop_sequence": StopReason.STOP_SEQUENCE,
    "max_tokens": StopReason.LENGTH,
    "model_context_window_exceeded": StopReason.CONTEXT_FULL,
    "tool_use": StopReason.TOOL_USE,
    "refusal": StopReason.REFUSAL,
    "pause_turn": StopReason.PAUSE,
    "compaction": StopReason.PAUSE,
}
"""What is not here is `unknown`, never a success by default."""


# Structure typed, leaves Any: a surprising leaf must not cost an event its other parts.
class _Delta(msgspec.Struct, gc=False):
    type: Any = None
    text: Any = None
    partial_json: Any = None
    thinking: Any = None
    stop_reason: Any = None


class _Block(msgspec.Struct, gc=False):
    type: Any = None
    text: Any = None
    thinking: Any = None
    id: Any = None
    name: Any = None
    input: Any = None


class _Message(msgspec.Struct, gc=False):
    """A whole answer, or the `message` of message_start."""

    type: Any = None
    id: Any = None
    model: Any = None
    content: list[msgspec.Raw] | None = None
    stop_reason: Any = None
    usage: Any = None
    error: Any = None
    input_tokens: Any = None


class _StreamEvent(msgspec.Struct, gc=False):
    type: str
    index: int = 0
    delta: _Delta | None = None
    content_block: msgspec.Raw = msgspec.Raw(b"null")
    message: _Message | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


_DECODE_EVENT = msgspec.json.Decoder(_StreamEvent).decode
_DECODE_BLOCK = msgspec.json.Decoder(_Block).decode
_DECODE_MESSAGE = msgspec.json.Decoder(_Message).decode
_ENCODE = msgspec.json.Encoder().encode

SPACES: Final = Padding(re.compile(rb" *(?=\}\n\n\Z)"), re.compile(rb" *"), b"   ")
"""Anthropic puts a varying number of spaces before an event's last brace, as the recordings show."""

_DELTA_HEAD = b"event: content_block_delta\ndata: "
_TERMINATED = (Terminated(),)


class MessagesStreamReader(FrameReader):
    """Reads one stream of named events up to `message_stop`."""

    __slots__ = ("_tool_block", "_usage")

    padding = SPACES

    def __init__(self) -> None:
        super().__init__()
        self._tool_block = -1
        self._usage: dict[str, Any] = {}

    def _events(self, raw: bytes) -> tuple[Event, ...]:
        # Nearly every event of a stream is this one, written in exactly this way.
        if raw.startswith(_DELTA_HEAD) and raw.find(b"\n", len(_DELTA_HEAD)) == len(raw) - 2 and b"\r" not in raw:
            data: bytes | None = raw[len(_DELTA_HEAD) : -2]
        else:
            data = fields(raw)[1]
        if data is None:
            return ()
        try:
            event = _DECODE_EVENT(data)
        except UNREADABLE as error:
            return (Malformed(f"not an event: {error}"[:200]),)
        if event.type == "content_block_delta":
            return self._delta_events(event, len(data))
        return self._other_events(event)

    def _delta_events(self, event: _StreamEvent, event_bytes: int) -> tuple[Event, ...]:
        delta = event.delta
        if delta is None:
            return (Malformed("content_block_delta without a delta"),)
        kind = delta.type
        if kind == "text_delta":
            return (TextDelta(delta.text, event.index),) if _is_text(delta.text) else ()
        if kind == "thinking_delta":
            return (ReasoningDelta(delta.thinking, event.index),) if _is_text(delta.thinking) else ()
        if kind == "input_json_delta":
            if not _is_text(delta.partial_json):
                return ()
            if event.index == self._tool_block:
                return (ToolArgumentsDelta(event.index, delta.partial_json),)
            return (OpaqueContent(len(delta.partial_json)),)
        # Signatures, citations, and what comes after us: forwarded, not read. A signature is no output.
        return (OpaqueContent(0 if kind == "signature_delta" else event_bytes),)

    def _other_events(self, event: _StreamEvent) -> tuple[Event, ...]:
        if event.type == "content_block_start":
            return self._block_events(event)
        if event.type == "message_start":
            return self._start_events(event)
        if event.type == "message_delta":
            return self._end_events(event)
        if event.type == "message_stop":
            return _TERMINATED
        if event.type == "error":
            return (failure(event.error),)
        return ()

    def _start_events(self, event: _StreamEvent) -> tuple[Event, ...]:
        message = event.message
        if message is None:
            return (Malformed("message_start without a message"),)
        started = Started(native_name(message.id), native_name(message.model))
        return (started, *self._usage_events(message.usage))

    def _end_events(self, event: _StreamEvent) -> tuple[Event, ...]:
        events = self._usage_events(event.usage)
        if event.delta is not None and event.delta.stop_reason:
            return (*events, _finished(event.delta.stop_reason))
        return events

    def _usage_events(self, counts: object) -> tuple[Event, ...]:
        """Counts are cumulative and may be corrected later: each later value replaces the earlier one."""
        if not isinstance(counts, dict):
            return ()
        self._usage.update((name, value) for name, value in counts.items() if value is not None)
        usage = anthropic_usage(self._usage)
        return () if usage is None else (UsageReported(usage),)

    def _block_events(self, event: _StreamEvent) -> tuple[Event, ...]:
        events: list[Event] = []
        try:
            block = _block_events(events, event.content_block, event.index)
        except UNREADABLE as error:
            return (Malformed(f"not a content block: {error}"[:200]),)
        # Blocks never interleave, so one number says whether JSON fragments belong to the caller's tool.
        self._tool_block = event.index if block.type == "tool_use" else -1
        return tuple(events)


def read_message_answer(body: bytes) -> tuple[Event, ...]:
    """A whole answer as the events its stream would have had; see `codec.Codec.read_whole`."""
    message = _decoded(body)
    if message.error:
        return (failure(message.error),)
    if message.content is None or message.type != "message":
        raise ValueError("not a message: it has no content")
    events: list[Event] = [Started(native_name(message.id), native_name(message.model))]
    try:
        for index, raw in enumerate(message.content):
            _block_events(events, raw, index)
    except UNREADABLE as error:
        raise ValueError(f"not a message: {error}") from error
    usage = anthropic_usage(message.usage)
    if usage is not None:
        events.append(UsageReported(usage))
    if message.stop_reason:
        events.append(_finished(message.stop_reason))
    events.append(_TERMINATED[0])
    return tuple(events)


def read_token_count(body: bytes) -> tuple[Event, ...]:
    """The answer of count_tokens: it ends well, and its usage is known to be nothing rather than unknown."""
    message = _decoded(body)
    if message.error:
        return (failure(message.error),)
    if type(message.input_tokens) is not int:
        raise ValueError("not a token count: it has no input_tokens")
    return (UsageReported(NO_USAGE), *_TERMINATED)


def _decoded(body: bytes) -> _Message:
    try:
        return _DECODE_MESSAGE(body)
    except UNREADABLE as error:
        raise ValueError(f"not an Anthropic answer: {error}") from error


def _block_events(events: list[Event], raw: msgspec.Raw, index: int) -> _Block:
    """What a block says where it begins; in a whole answer that is all of it."""
    block = _DECODE_BLOCK(raw)
    kind = block.type
    if kind == "text":
        if _is_text(block.text):
            events.append(TextDelta(block.text, index))
    elif kind == "thinking":
        if _is_text(block.thinking):
            events.append(ReasoningDelta(block.thinking, index))
    elif kind == "tool_use":
        events.append(ToolCallStarted(index, _string(block.id), _string(block.name)))
        if block.input:
            events.append(ToolArgumentsDelta(index, _ENCODE(block.input).decode()))
    else:
        events.append(OpaqueContent(len(bytes(raw))))
    return block


def _finished(native: object) -> Finished:
    text = native_name(native)
    return Finished(STOP_REASONS.get(text, StopReason.UNKNOWN), text)


def _is_text(value: object) -> bool:
    return type(value) is str and value != ""


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
