"""Canonical events → Anthropic messages, whole and streamed.

In: events of one answer, in order. Out: bytes in this dialect: one message_start, contiguous blocks that never
interleave, message_delta, message_stop. Must not: turn a failure into `end_turn`.
Source: research/protocols.md §3.1, §3.3.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from lineclear.domain.errors import AttemptClass, ErrorCode, Sent, UpstreamError
from lineclear.domain.exchange import (
    Event,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    StopReason,
    Terminated,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallStarted,
    UsageReported,
)
from lineclear.domain.money import NO_USAGE, Usage
from lineclear.wire.sse import event_frame
from lineclear.wire.usage import anthropic_counts

_ENCODE = msgspec.json.Encoder().encode

HELD_BYTES_MAX = 16 << 20
"""Arguments of parallel tool calls held back while an earlier call's block is open."""

STOP_REASONS = {
    StopReason.END: "end_turn",
    StopReason.STOP_SEQUENCE: "stop_sequence",
    StopReason.LENGTH: "max_tokens",
    StopReason.CONTEXT_FULL: "model_context_window_exceeded",
    StopReason.TOOL_USE: "tool_use",
    StopReason.REFUSAL: "refusal",
    StopReason.PAUSE: "pause_turn",
}
"""Reasons that this dialect can say; the others end an answer in an error."""


class MessagesStreamWriter:
    """Writes one stream. The stop reason waits for the end, so that usage can stand beside it."""

    __slots__ = ("_begun", "_failed", "_finish", "_held", "_held_bytes", "_id", "_index", "_model", "_open", "_usage")

    def __init__(self, response_id: str, model: str, created: int) -> None:
        del created  # this dialect does not say when
        self._id = response_id
        self._model = model
        self._begun = False
        self._failed = False
        self._finish: Finished | None = None
        self._index = -1
        self._open: tuple[str, int] | None = None
        """Kind and canonical block of the open content block."""
        self._held: dict[int, tuple[ToolCallStarted, list[str]]] = {}
        self._held_bytes = 0
        self._usage: Usage | None = None

    def encode(self, event: Event) -> bytes:
        """The bytes to send now; see `codec.StreamWriter`."""
        if self._failed:
            return b""
        if isinstance(event, TextDelta | RefusalDelta):
            return self._piece("text", event.block, b'{"type":"text_delta","text":' + _ENCODE(event.text) + b"}")
        if isinstance(event, ReasoningDelta):
            delta = b'{"type":"thinking_delta","thinking":' + _ENCODE(event.text) + b"}"
            return self._piece("thinking", event.block, delta)
        if isinstance(event, ToolCallStarted):
            return self._tool_start(event)
        if isinstance(event, ToolArgumentsDelta):
            return self._tool_fragment(event)
        return self._frame(event)

    def _frame(self, event: Event) -> bytes:
        if isinstance(event, UsageReported):
            self._usage = event.usage
        elif isinstance(event, Finished):
            self._finish = event
        elif isinstance(event, Failed):
            return self._fail(event.message, event.native_type)
        elif isinstance(event, Terminated):
            return self._end()
        # Started is said with the next event, which may bring the input's usage.
        return b""

    def _begin(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        message = _message(self._id, self._model, [], None, self._usage or NO_USAGE)
        return event_frame("message_start", _ENCODE({"type": "message_start", "message": message}))

    def _piece(self, kind: str, block: int, delta: bytes) -> bytes:
        if self._open == (kind, block):
            return self._delta(delta)
        start = (
            {"type": "text", "text": ""} if kind == "text" else {"type": "thinking", "thinking": "", "signature": ""}
        )
        return self._begin() + self._close() + self._start(kind, block, start) + self._delta(delta)

    def _start(self, kind: str, block: int, content_block: dict[str, Any]) -> bytes:
        self._index += 1
        self._open = (kind, block)
        data = {"type": "content_block_start", "index": self._index, "content_block": content_block}
        return event_frame("content_block_start", _ENCODE(data))

    def _delta(self, delta: bytes) -> bytes:
        return (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":' % self._index
            + delta
            + b"}\n\n"
        )

    def _close(self) -> bytes:
        """Close the open block; after a tool, the calls that were held back follow whole, in order."""
        if self._open is None:
            return b""
        self._open = None
        out = [self._stop()]
        held, self._held, self._held_bytes = self._held, {}, 0
        for started, fragments in held.values():
            out.append(self._tool_open(started))
            if fragments:
                out.append(self._arguments("".join(fragments)))
            out.append(self._stop())
            self._open = None
        return b"".join(out)

    def _stop(self) -> bytes:
        return event_frame("content_block_stop", b'{"type":"content_block_stop","index":%d}' % self._index)

    def _tool_open(self, event: ToolCallStarted) -> bytes:
        block = {"type": "tool_use", "id": event.call_id, "name": event.name, "input": {}}
        return self._start("tool_use", event.block, block)

    def _arguments(self, fragment: str) -> bytes:
        return self._delta(b'{"type":"input_json_delta","partial_json":' + _ENCODE(fragment) + b"}")

    def _tool_start(self, event: ToolCallStarted) -> bytes:
        if self._open is not None and self._open[0] == "tool_use":
            # Fragments of parallel calls may interleave, blocks may not.
            self._held[event.block] = (event, [])
            return b""
        return self._begin() + self._close() + self._tool_open(event)

    def _tool_fragment(self, event: ToolArgumentsDelta) -> bytes:
        if self._open == ("tool_use", event.block):
            return self._arguments(event.fragment)
        held = self._held.get(event.block)
        self._held_bytes += len(event.fragment)
        if held is None or self._held_bytes > HELD_BYTES_MAX:
            raise UpstreamError(
                ErrorCode.UPSTREAM_BAD_RESPONSE,
                "The model's tool calls came in an order or a size that cannot be passed on.",
                attempt_class=AttemptClass.PARTIAL,
                sent=Sent.YES,
                phase="between_events",
                hint="Ask without parallel tool calls, or use another route.",
            )
        held[1].append(event.fragment)
        return b""

    def _end(self) -> bytes:
        finish = self._finish
        reason = STOP_REASONS.get(finish.reason) if finish is not None else None
        if reason is None:
            native = finish.native if finish is not None else ""
            return self._fail(f"The model stopped with {native!r}.", "api_error")
        data = {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": None},
            "usage": anthropic_counts(self._usage or NO_USAGE),
        }
        return (
            self._begin()
            + self._close()
            + event_frame("message_delta", _ENCODE(data))
            + event_frame("message_stop", b'{"type":"message_stop"}')
        )

    def _fail(self, message: str, native_type: str) -> bytes:
        self._failed = True
        return event_frame("error", _error_body(message, native_type))


def write_message_answer(events: Iterable[Event], response_id: str, model: str) -> bytes:
    """The fold of an answer's events, or an Anthropic error body if they do not end well."""
    blocks: dict[tuple[str, int], _Block] = {}
    finish: Finished | None = None
    usage = NO_USAGE
    for event in events:
        if isinstance(event, Failed):
            return _error_body(event.message, event.native_type)
        if isinstance(event, Finished):
            finish = event
        elif isinstance(event, UsageReported):
            usage = event.usage
        else:
            _fold(blocks, event)
    reason = STOP_REASONS.get(finish.reason) if finish is not None else None
    if reason is None:
        return _error_body(f"The model stopped with {finish.native if finish is not None else ''!r}.", "api_error")
    content = [block.content() for block in blocks.values()]
    return _ENCODE(_message(response_id, model, content, reason, usage))


def write_token_count(events: Iterable[Event]) -> bytes:
    """`{"input_tokens": n}` from the reported input."""
    counted = 0
    for event in events:
        if isinstance(event, UsageReported):
            counted = event.usage.total_input_tokens
    return _ENCODE({"input_tokens": counted})


class _Block:
    """One content block being gathered."""

    def __init__(self, kind: str, started: ToolCallStarted | None = None) -> None:
        self.kind = kind
        self.started = started
        self.pieces: list[str] = []

    def content(self) -> dict[str, Any]:
        text = "".join(self.pieces)
        if self.started is not None:
            return {
                "type": "tool_use",
                "id": self.started.call_id,
                "name": self.started.name,
                "input": msgspec.Raw(text.encode() or b"{}"),
            }
        if self.kind == "thinking":
            return {"type": "thinking", "thinking": text, "signature": ""}
        return {"type": "text", "text": text}


def _fold(blocks: dict[tuple[str, int], _Block], event: Event) -> None:
    if isinstance(event, TextDelta | RefusalDelta):
        blocks.setdefault(("text", event.block), _Block("text")).pieces.append(event.text)
    elif isinstance(event, ReasoningDelta):
        blocks.setdefault(("thinking", event.block), _Block("thinking")).pieces.append(event.text)
    elif isinstance(event, ToolCallStarted):
        blocks["tool_use", event.block] = _Block("tool_use", event)
    elif isinstance(event, ToolArgumentsDelta):
        blocks["tool_use", event.block].pieces.append(event.fragment)


def _message(
    response_id: str, model: str, content: list[dict[str, Any]], stop_reason: str | None, usage: Usage
) -> dict[str, Any]:
    return {
        "id": response_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": anthropic_counts(usage),
    }


def _error_body(message: str, native_type: str) -> bytes:
    return _ENCODE({"type": "error", "error": {"type": native_type or "api_error", "message": message}})
