"""OpenAI text completions ↔ canonical events, whole and streamed.

In: a vendor's bytes, or the events of an answer. Out: events, or bytes. Must not: change bytes that travel, or
turn a failure into a success. A completion is text only: a refusal is text, reasoning and tools have no place in it.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from lineclear.domain.exchange import (
    Event,
    Failed,
    Finished,
    Malformed,
    RefusalDelta,
    Started,
    Terminated,
    TextDelta,
    UsageReported,
)
from lineclear.domain.money import Usage
from lineclear.wire.native_errors import UNREADABLE, failure, native_name
from lineclear.wire.openai_events import DONE, OBFUSCATION, STOP_REASONS, UNKNOWN_REASON
from lineclear.wire.openai_writer import FINISH_REASONS, said_error_body
from lineclear.wire.sse import FrameReader, fields
from lineclear.wire.usage import openai_counts, openai_usage

_TERMINATED = (Terminated(),)


# As in `openai_events`: the structure is typed, the leaves are Any.
class _Choice(msgspec.Struct, gc=False):
    index: Any = 0
    text: Any = None
    finish_reason: Any = None


class _Answer(msgspec.Struct, gc=False):
    """A chunk or a whole answer."""

    id: Any = None
    model: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


_DECODE = msgspec.json.Decoder(_Answer).decode
_ENCODE = msgspec.json.Encoder().encode


class CompletionStreamReader(FrameReader):
    """Reads one stream of chunks up to `[DONE]`."""

    __slots__ = ("_named",)

    padding = OBFUSCATION
    stops_unmarked = True

    def __init__(self) -> None:
        super().__init__()
        self._named = False

    def _events(self, raw: bytes) -> tuple[Event, ...]:
        name, data = fields(raw)
        if data is None:
            return ()
        if data.strip() == DONE:
            return _TERMINATED
        try:
            chunk = _DECODE(data)
        except UNREADABLE as error:
            return (Failed("error", ""),) if name == b"error" else (Malformed(f"not a chunk: {error}"[:200]),)
        if name == b"error":
            return (failure(chunk.error) if chunk.error else Failed("error", ""),)
        events: list[Event] = []
        if not self._named and (chunk.id or chunk.model):
            self._named = True
            events.append(Started(native_name(chunk.id), native_name(chunk.model)))
        for choice in chunk.choices or ():
            _choice_events(events, choice)
        usage = openai_usage(chunk.usage)
        if usage is not None:
            events.append(UsageReported(usage, only=not chunk.choices and chunk.error is None))
        if chunk.error:
            events.append(failure(chunk.error))
        return tuple(events)


def read_completion_answer(body: bytes) -> tuple[Event, ...]:
    """A whole answer as the events its stream would have had; see `codec.Codec.read_whole`."""
    try:
        answer = _DECODE(body)
    except UNREADABLE as error:
        raise ValueError(f"not a completion: {error}") from error
    if answer.error:
        return (failure(answer.error),)
    if not answer.choices or not all(isinstance(choice.text, str) for choice in answer.choices):
        raise ValueError("not a completion: it has no choices with a text")
    events: list[Event] = [Started(native_name(answer.id), native_name(answer.model))]
    for choice in answer.choices:
        _choice_events(events, choice)
    usage = openai_usage(answer.usage)
    if usage is not None:
        events.append(UsageReported(usage))
    events.append(_TERMINATED[0])
    return tuple(events)


def _choice_events(events: list[Event], choice: _Choice) -> None:
    if isinstance(choice.text, str) and choice.text:
        events.append(TextDelta(choice.text, choice.index if type(choice.index) is int else 0))
    if choice.finish_reason:
        native = native_name(choice.finish_reason)
        events.append(Finished(STOP_REASONS.get(native, UNKNOWN_REASON), native))


class CompletionStreamWriter:
    """Writes one stream: text, a finish reason, usage in a chunk of its own before `[DONE]`."""

    __slots__ = ("_failed", "_head", "_usage")

    def __init__(self, response_id: str, model: str, created: int) -> None:
        chunk = {"id": response_id, "object": "text_completion", "created": created, "model": model}
        self._head = b"data: " + _ENCODE(chunk)[:-1]
        self._failed = False
        self._usage: Usage | None = None

    def encode(self, event: Event) -> bytes:
        """The bytes to send now; see `codec.StreamWriter`."""
        if self._failed:
            return b""
        if isinstance(event, TextDelta | RefusalDelta):
            return self._choice(event.text, None)
        if isinstance(event, Finished):
            reason = FINISH_REASONS.get(event.reason)
            if reason is None:
                return self._fail(f"The model stopped with {event.native!r}.", "server_error")
            return self._choice("", reason)
        if isinstance(event, UsageReported):
            self._usage = event.usage  # held: only the last report counts, after the finish reason
        elif isinstance(event, Failed):
            return self._fail(event.message, event.native_type)
        elif isinstance(event, Terminated):
            return self._usage_chunk() + b"data: [DONE]\n\n"
        return b""

    def _choice(self, text: str, reason: str | None) -> bytes:
        choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": reason}
        return self._head + b',"choices":[' + _ENCODE(choice) + b"]}\n\n"

    def _usage_chunk(self) -> bytes:
        if self._usage is None:
            return b""
        return self._head + b',"choices":[],"usage":' + _ENCODE(openai_counts(self._usage)) + b"}\n\n"

    def _fail(self, message: str, native_type: str) -> bytes:
        self._failed = True
        return b"data: " + said_error_body(message, native_type) + b"\n\n"


def write_completion_answer(events: Iterable[Event], response_id: str, model: str, created: int) -> bytes:
    """The fold of an answer's events, or an OpenAI error body if they do not end well."""
    text: list[str] = []
    finish: Finished | None = None
    usage: Usage | None = None
    for event in events:
        if isinstance(event, TextDelta | RefusalDelta):
            text.append(event.text)
        elif isinstance(event, Finished):
            finish = event
        elif isinstance(event, UsageReported):
            usage = event.usage
        elif isinstance(event, Failed):
            return said_error_body(event.message, event.native_type)
    reason = FINISH_REASONS.get(finish.reason) if finish is not None else None
    if reason is None:
        native = finish.native if finish is not None else ""
        return said_error_body(f"The model stopped with {native!r}.", "server_error")
    answer: dict[str, Any] = {
        "id": response_id,
        "object": "text_completion",
        "created": created,
        "model": model,
        "choices": [{"text": "".join(text), "index": 0, "logprobs": None, "finish_reason": reason}],
    }
    if usage is not None:
        answer["usage"] = openai_counts(usage)
    return _ENCODE(answer)
