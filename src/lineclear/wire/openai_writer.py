"""Canonical events → OpenAI chat completions, whole and streamed.

In: events of one answer, in order. Out: bytes in this dialect. Must not: turn a failure into a success.
Source: research/protocols.md §3.1, §3.3.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from lineclear.domain.exchange import (
    Event,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    Started,
    StopReason,
    Terminated,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallStarted,
    UsageReported,
)
from lineclear.domain.money import Usage
from lineclear.wire.usage import openai_counts

_ENCODE = msgspec.json.Encoder().encode

FINISH_REASONS = {
    StopReason.END: "stop",
    StopReason.STOP_SEQUENCE: "stop",
    StopReason.LENGTH: "length",
    StopReason.CONTEXT_FULL: "length",
    StopReason.TOOL_USE: "tool_calls",
    StopReason.REFUSAL: "content_filter",
    StopReason.PAUSE: "length",
}
"""Reasons that this dialect can say; the others end an answer in an error."""


class ChatStreamWriter:
    """Writes one stream: role once, tools counted from 0, usage in a chunk of its own before `[DONE]`."""

    __slots__ = ("_failed", "_head", "_role_said", "_tools", "_usage", "_without_arguments")

    def __init__(self, response_id: str, model: str, created: int) -> None:
        chunk = {"id": response_id, "object": "chat.completion.chunk", "created": created, "model": model}
        self._head = b"data: " + _ENCODE(chunk)[:-1]
        self._role_said = False
        self._failed = False
        self._tools: dict[int, int] = {}
        self._without_arguments: dict[int, None] = {}
        self._usage: Usage | None = None

    def encode(self, event: Event) -> bytes:
        """The bytes to send now; see `codec.StreamWriter`."""
        if self._failed:
            return b""
        if isinstance(event, TextDelta):
            return self._delta(b'{"content":' + _ENCODE(event.text) + b"}")
        if isinstance(event, ReasoningDelta):
            return self._delta(b'{"reasoning_content":' + _ENCODE(event.text) + b"}")
        if isinstance(event, RefusalDelta):
            return self._delta(b'{"refusal":' + _ENCODE(event.text) + b"}")
        if isinstance(event, ToolCallStarted | ToolArgumentsDelta):
            return self._tool(event)
        return self._frame(event)

    def _frame(self, event: Event) -> bytes:
        if isinstance(event, Started):
            return self._role()
        if isinstance(event, Finished):
            return self._finish(event)
        if isinstance(event, UsageReported):
            # Held: only the last report counts, and its chunk stands after the finish reason.
            self._usage = event.usage
        elif isinstance(event, Failed):
            return self._fail(event.message, event.native_type)
        elif isinstance(event, Terminated):
            return self._usage_chunk() + b"data: [DONE]\n\n"
        return b""

    def _role(self) -> bytes:
        if self._role_said:
            return b""
        self._role_said = True
        return self._choice(b'{"role":"assistant","content":""}', b"null")

    def _delta(self, delta: bytes) -> bytes:
        return self._role() + self._choice(delta, b"null")

    def _choice(self, delta: bytes, finish_reason: bytes) -> bytes:
        return (
            self._head
            + b',"choices":[{"index":0,"delta":'
            + delta
            + b',"logprobs":null,"finish_reason":'
            + finish_reason
            + b"}]}\n\n"
        )

    def _tool(self, event: ToolCallStarted | ToolArgumentsDelta) -> bytes:
        if isinstance(event, ToolCallStarted):
            index = self._tools.setdefault(event.block, len(self._tools))
            self._without_arguments[index] = None
            call: dict[str, Any] = {
                "index": index,
                "id": event.call_id,
                "type": "function",
                "function": {"name": event.name, "arguments": ""},
            }
            return self._delta(_ENCODE({"tool_calls": [call]}))
        index = self._tools.setdefault(event.block, len(self._tools))
        self._without_arguments.pop(index, None)
        return self._delta(_ENCODE({"tool_calls": [{"index": index, "function": {"arguments": event.fragment}}]}))

    def _empty_arguments(self) -> bytes:
        """A tool called without arguments still has to carry JSON: `{}`. Known at the end, as calls may interleave."""
        calls = [{"index": index, "function": {"arguments": "{}"}} for index in self._without_arguments]
        self._without_arguments.clear()
        return self._delta(_ENCODE({"tool_calls": calls})) if calls else b""

    def _finish(self, event: Finished) -> bytes:
        reason = FINISH_REASONS.get(event.reason)
        if reason is None:
            return self._fail(f"The model stopped with {event.native!r}.", "server_error")
        return self._role() + self._empty_arguments() + self._choice(b"{}", _ENCODE(reason))

    def _usage_chunk(self) -> bytes:
        if self._usage is None:
            return b""
        return self._head + b',"choices":[],"usage":' + _ENCODE(openai_counts(self._usage)) + b"}\n\n"

    def _fail(self, message: str, native_type: str) -> bytes:
        self._failed = True
        return b"data: " + said_error_body(message, native_type) + b"\n\n"


class _Fold:
    """A whole answer being gathered."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.tools: dict[int, tuple[ToolCallStarted, list[str]]] = {}
        self.finish: Finished | None = None
        self.usage: Usage | None = None
        self.failed: Failed | None = None

    def add(self, event: Event) -> None:
        if isinstance(event, TextDelta):
            self.text.append(event.text)
        elif isinstance(event, ReasoningDelta):
            self.reasoning.append(event.text)
        elif isinstance(event, RefusalDelta):
            self.refusal.append(event.text)
        elif isinstance(event, ToolCallStarted):
            self.tools[event.block] = (event, [])
        elif isinstance(event, ToolArgumentsDelta):
            self.tools[event.block][1].append(event.fragment)
        elif isinstance(event, Finished):
            self.finish = event
        elif isinstance(event, UsageReported):
            self.usage = event.usage
        elif isinstance(event, Failed):
            self.failed = event

    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self.text) if self.text or not self.tools else None,
            "refusal": "".join(self.refusal) or None,
        }
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if self.tools:
            message["tool_calls"] = [
                {
                    "id": started.call_id,
                    "type": "function",
                    "function": {"name": started.name, "arguments": "".join(fragments) or "{}"},
                }
                for started, fragments in self.tools.values()
            ]
        return message


def write_chat_answer(events: Iterable[Event], response_id: str, model: str, created: int) -> bytes:
    """The fold of an answer's events, or an OpenAI error body if they do not end well."""
    fold = _Fold()
    for event in events:
        fold.add(event)
    if fold.failed is not None:
        return said_error_body(fold.failed.message, fold.failed.native_type)
    native = fold.finish.native if fold.finish is not None else ""
    reason = FINISH_REASONS.get(fold.finish.reason) if fold.finish is not None else None
    if reason is None:
        return said_error_body(f"The model stopped with {native!r}.", "server_error")
    answer: dict[str, Any] = {
        "id": response_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "message": fold.message(), "logprobs": None, "finish_reason": reason}],
    }
    if fold.usage is not None:
        answer["usage"] = openai_counts(fold.usage)
    return _ENCODE(answer)


def said_error_body(message: str, native_type: str) -> bytes:
    """What a target said went wrong, as an OpenAI error object."""
    return _ENCODE(
        {
            "error": {
                "message": message,
                "type": native_type or "server_error",
                "param": None,
                "code": native_type or None,
            }
        }
    )
