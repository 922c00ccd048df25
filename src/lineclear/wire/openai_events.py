"""OpenAI chat completions → canonical events, whole and streamed.

In: a vendor's bytes, of OpenAI or one of the many that speak like it. Out: events. Must not: change bytes,
or call an answer malformed for a field that we do not read.
Source: research/protocols.md §3; the recordings in tests/recordings.
"""

import re
from typing import Any, Final

import msgspec

from lineclear.domain.exchange import (
    Event,
    Failed,
    Finished,
    Malformed,
    OpaqueContent,
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
from lineclear.wire.delta_shape import Padding
from lineclear.wire.native_errors import UNREADABLE, failure, native_name
from lineclear.wire.sse import FrameReader, fields
from lineclear.wire.usage import openai_usage

TOOL_CALLS_MAX = 4096
"""Tool calls in one answer; a stream that starts more is malformed."""

DONE = b"[DONE]"
OBFUSCATION: Final = Padding(
    re.compile(rb'(?<="obfuscation":")[^"\\\x00-\x1f]*(?=")'), re.compile(rb'[^"\\\x00-\x1f]*'), b"Xy0"
)
"""A field of random length. Source: OpenAI API reference, `stream_options.include_obfuscation`."""
_TERMINATED = (Terminated(),)

STOP_REASONS = {
    "stop": StopReason.END,
    "eos": StopReason.END,  # Together
    "length": StopReason.LENGTH,
    "model_length": StopReason.CONTEXT_FULL,  # Mistral
    "tool_calls": StopReason.TOOL_USE,
    "function_call": StopReason.TOOL_USE,
    "content_filter": StopReason.REFUSAL,
    "error": StopReason.MODEL_ERROR,  # OpenRouter, Mistral
    "insufficient_system_resource": StopReason.MODEL_ERROR,  # DeepSeek
}
"""What is not here is `unknown`, never a success by default."""
UNKNOWN_REASON: Final = StopReason.UNKNOWN
"""Reading an enum member through its class costs ten times a module name on Python 3.11."""


# The structure is typed, the leaves are Any: vendors put null, lists and numbers where OpenAI has text, and
# none of that may cost an event its other parts.
class _Function(msgspec.Struct, gc=False):
    name: Any = None
    arguments: Any = None
    input: Any = None


class _ToolCall(msgspec.Struct, gc=False):
    index: Any = None
    id: Any = None
    function: _Function | None = None
    custom: _Function | None = None


class _Message(msgspec.Struct, gc=False):
    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None
    audio: Any = None
    images: Any = None
    annotations: Any = None
    reasoning_details: Any = None


class _Choice(msgspec.Struct, gc=False):
    index: Any = 0
    delta: _Message | None = None
    message: _Message | None = None
    finish_reason: Any = None


class _Answer(msgspec.Struct, gc=False):
    """A chunk or a whole answer."""

    id: Any = None
    model: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    x_groq: Any = None


_DECODE = msgspec.json.Decoder(_Answer).decode
_ENCODE = msgspec.json.Encoder().encode


class ChatStreamReader(FrameReader):
    """Reads one stream of chunks up to `[DONE]`."""

    __slots__ = ("_named", "_tools")

    padding = OBFUSCATION
    stops_unmarked = True

    def __init__(self) -> None:
        super().__init__()
        self._named = False
        self._tools: dict[tuple[int, int], None] = {}

    def _events(self, raw: bytes) -> tuple[Event, ...]:
        if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2 and b"\r" not in raw:
            data = raw[6:-2]
        else:
            name, joined = fields(raw)
            if joined is None:
                return ()
            if name == b"error":
                return (_named_error(joined),)
            data = joined
        if data == DONE:
            return _TERMINATED
        try:
            return self._chunk_events(_DECODE(data))
        except UNREADABLE as error:
            return _TERMINATED if data.strip() == DONE else (Malformed(f"not a chunk: {error}"[:200]),)

    def _chunk_events(self, chunk: _Answer) -> tuple[Event, ...]:
        """What a chunk says. Every field is looked at: hosts put usage, errors and finish reasons on any chunk."""
        events: list[Event] = []
        if not self._named and (chunk.id or chunk.model):
            self._named = True
            events.append(Started(native_name(chunk.id), native_name(chunk.model)))
        for choice in chunk.choices or ():
            if choice.delta is not None:
                _message_events(events, choice.delta, _block_of(choice), self._tools)
            if choice.finish_reason:
                events.append(_finished(choice.finish_reason))
        if chunk.usage is not None or chunk.x_groq is not None:
            usage = openai_usage(chunk.usage) or _groq_usage(chunk)
            if usage is not None:
                events.append(UsageReported(usage, only=not chunk.choices and chunk.error is None))
        if chunk.error:
            events.append(failure(chunk.error))
        return tuple(events)


def read_chat_answer(body: bytes) -> tuple[Event, ...]:
    """A whole answer as the events its stream would have had; see `codec.Codec.read_whole`."""
    try:
        return _answer_events(_DECODE(body))
    except UNREADABLE as error:
        raise ValueError(f"not a chat completion: {error}") from error


def _answer_events(answer: _Answer) -> tuple[Event, ...]:
    if answer.error:
        return (failure(answer.error),)
    if not answer.choices:
        raise ValueError("not a chat completion: it has no choices")
    events: list[Event] = [Started(native_name(answer.id), native_name(answer.model))]
    tools: dict[tuple[int, int], None] = {}
    for choice in answer.choices:
        if choice.message is None:
            raise ValueError("not a chat completion: a choice has no message")
        _message_events(events, choice.message, _block_of(choice), tools)
        if choice.finish_reason:
            events.append(_finished(choice.finish_reason))
    usage = openai_usage(answer.usage)
    if usage is not None:
        events.append(UsageReported(usage))
    events.append(_TERMINATED[0])
    return tuple(events)


def _named_error(data: bytes) -> Failed:
    """An event of the name `error`, whose data may be the error object itself or hold it."""
    try:
        value = msgspec.json.decode(data)
    except UNREADABLE:
        return Failed("error", "")
    if isinstance(value, dict) and value.get("error"):
        value = value["error"]
    return failure(value)


def _message_events(events: list[Event], message: _Message, block: int, tools: dict[tuple[int, int], None]) -> None:
    """What a delta or a message says, in the order in which a reader sees it."""
    reasoning = message.reasoning_content or message.reasoning
    if reasoning and type(reasoning) is str:
        events.append(ReasoningDelta(reasoning, block))
    content = message.content
    if content:
        if type(content) is str:
            events.append(TextDelta(content, block))
        else:
            _part_events(events, content, block)
    if message.refusal and type(message.refusal) is str:
        events.append(RefusalDelta(message.refusal, block))
    if message.tool_calls:
        for call in message.tool_calls:
            _tool_events(events, call, block, tools)
    if message.function_call is not None:
        _tool_events(events, _ToolCall(index=0, function=message.function_call), block, tools)
    if message.audio or message.images or message.annotations or message.reasoning_details:
        _opaque_events(events, message, reasoning)


def _block_of(choice: _Choice) -> int:
    return choice.index if type(choice.index) is int else 0


def _part_events(events: list[Event], parts: object, block: int) -> None:
    """Content as a list of parts: Mistral's `thinking` and `text`, others of any kind."""
    for part in parts if isinstance(parts, list) else [parts]:
        if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
            if part["text"]:
                events.append(TextDelta(part["text"], block))
        elif isinstance(part, dict) and part.get("type") == "thinking":
            text = _thinking_text(part.get("thinking"))
            if text:
                events.append(ReasoningDelta(text, block))
        else:
            events.append(OpaqueContent(len(_ENCODE(part))))


def _thinking_text(thinking: object) -> str:
    if isinstance(thinking, str):
        return thinking
    if not isinstance(thinking, list):
        return ""
    return "".join(_string(part.get("text")) for part in thinking if isinstance(part, dict))


def _tool_events(events: list[Event], call: _ToolCall, choice: int, tools: dict[tuple[int, int], None]) -> None:
    function = call.function or call.custom
    if function is None:
        return
    name, arguments = function.name, function.arguments or function.input
    # Hosts that send each call whole leave `index` out; the calls then count up by themselves.
    index = call.index if type(call.index) is int else (len(tools) if name else max(len(tools) - 1, 0))
    if name and (choice, index) not in tools:
        if len(tools) >= TOOL_CALLS_MAX:
            events.append(Malformed(f"more than {TOOL_CALLS_MAX} tool calls"))
            return
        tools[choice, index] = None
        events.append(ToolCallStarted(index, _string(call.id), _string(name)))
    if arguments:
        fragment = arguments if type(arguments) is str else _ENCODE(arguments).decode()
        events.append(ToolArgumentsDelta(index, fragment))


def _opaque_events(events: list[Event], message: _Message, reasoning: object) -> None:
    audio = message.audio
    if isinstance(audio, dict) and (audio.get("data") or audio.get("transcript")):
        events.append(OpaqueContent(len(_ENCODE(audio))))
    events.extend(OpaqueContent(len(_ENCODE(value))) for value in (message.images, message.annotations) if value)
    if message.reasoning_details and not reasoning:
        events.append(OpaqueContent(len(_ENCODE(message.reasoning_details))))


def _finished(native: object) -> Finished:
    text = native_name(native)
    return Finished(STOP_REASONS.get(text, UNKNOWN_REASON), text)


def _groq_usage(chunk: _Answer) -> Usage | None:
    return openai_usage(chunk.x_groq.get("usage")) if isinstance(chunk.x_groq, dict) else None


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
