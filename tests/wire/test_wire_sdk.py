"""The official SDKs as oracles: what they read over a socket is what our codecs read and write."""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import anthropic
import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState

from lineclear.domain.errors import ErrorCode, PlatformFault
from lineclear.domain.exchange import (
    Event,
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
from lineclear.wire.anthropic_messages import ANTHROPIC_MESSAGES
from lineclear.wire.openai_chat import OPENAI_CHAT

Serving: TypeAlias = Callable[[Sequence[bytes], str], Any]
"""A context manager that yields the address; it lives in conftest, which tests do not import."""
Recordings: TypeAlias = Callable[[str], list[dict[str, Any]]]

MESSAGES: Any = [{"role": "user", "content": "hi"}]
SSE = "text/event-stream"
JSON = "application/json"


def in_pieces(stream: bytes, piece_bytes: int = 97) -> list[bytes]:
    """Cut without regard to events, lines or characters."""
    return [stream[start : start + piece_bytes] for start in range(0, len(stream), piece_bytes)]


def openai_stream(serving: Serving, stream: bytes) -> Any:
    state = ChatCompletionStreamState()
    with (
        serving(in_pieces(stream), SSE) as url,
        openai.OpenAI(base_url=url, api_key="k", max_retries=0) as client,
        client.chat.completions.create(model="m", messages=MESSAGES, stream=True) as chunks,
    ):
        for chunk in chunks:
            state.handle_chunk(chunk)
    return state.current_completion_snapshot


def anthropic_stream(serving: Serving, stream: bytes) -> Any:
    with (
        serving(in_pieces(stream), SSE) as url,
        anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as client,
        client.messages.stream(model="m", max_tokens=9, messages=MESSAGES) as events,
    ):
        return events.get_final_message()


def ours(codec: Any, stream: bytes) -> list[Event]:
    reader = codec.stream_reader()
    return [event for frame in [*reader.feed(stream), *reader.end()] for event in frame.events]


def text_of(events: Sequence[Event], kind: type[TextDelta] | type[ReasoningDelta] | type[RefusalDelta]) -> str:
    return "".join(event.text for event in events if isinstance(event, kind))


def tools_of(events: Sequence[Event]) -> list[list[str]]:
    tools: dict[int, list[str]] = {}
    for event in events:
        if isinstance(event, ToolCallStarted):
            tools[event.block] = [event.call_id, event.name, ""]
        elif isinstance(event, ToolArgumentsDelta):
            tools[event.block][2] += event.fragment
    return list(tools.values())


def last_usage(events: Sequence[Event]) -> Usage:
    return [event.usage for event in events if isinstance(event, UsageReported)][-1]


def test_openai_sdk_and_our_reader_agree_on_recorded_streams(serving: Serving, recordings: Recordings) -> None:
    compared = 0
    for row in recordings("openai_chat"):
        # The SDK's accumulator itself fails on OpenRouter's citations, which carry no index.
        if row["response_kind"] != "text" or '"error"' in row["response"] or "url_citation" in row["response"]:
            continue
        stream = row["response"].encode()
        events = ours(OPENAI_CHAT, stream)
        snapshot = openai_stream(serving, stream)
        (choice,) = snapshot.choices
        assert (choice.message.content or "") == text_of(events, TextDelta), row["source"]
        assert (choice.message.refusal or "") == text_of(events, RefusalDelta)
        calls = [[call.id, call.function.name, call.function.arguments] for call in choice.message.tool_calls or []]
        assert calls == tools_of(events)
        assert (snapshot.id, snapshot.model) == next((e.response_id, e.model) for e in events if isinstance(e, Started))
        if snapshot.usage is not None:
            assert snapshot.usage.prompt_tokens == last_usage(events).total_input_tokens
        compared += 1
    assert compared >= 8


def test_anthropic_sdk_and_our_reader_agree_on_recorded_streams(serving: Serving, recordings: Recordings) -> None:
    compared = 0
    for row in recordings("anthropic_messages"):
        if row["response_kind"] != "text":
            continue
        stream = row["response"].encode()
        events = ours(ANTHROPIC_MESSAGES, stream)
        message = anthropic_stream(serving, stream)
        assert "".join(block.text for block in message.content if block.type == "text") == text_of(events, TextDelta)
        assert "".join(b.thinking for b in message.content if b.type == "thinking") == text_of(events, ReasoningDelta)
        calls = [[b.id, b.name, b.input] for b in message.content if b.type == "tool_use"]
        assert calls == [
            [call_id, name, json.loads(arguments or "{}")] for call_id, name, arguments in tools_of(events)
        ]
        (finished,) = [event for event in events if isinstance(event, Finished)]
        assert message.stop_reason == finished.native
        if "iterations" not in row["response"]:
            assert message.usage.output_tokens == last_usage(events).total_output_tokens
        compared += 1
    assert compared >= 5


ANSWER: list[Event] = [
    Started("r1", "m1"),
    ReasoningDelta("let me", 0),
    ReasoningDelta(" see", 0),
    TextDelta("Grüß ", 1),
    TextDelta("Gott \U0001f600\u2028 “x”", 1),
    ToolCallStarted(2, "t1", "weather"),
    ToolArgumentsDelta(2, '{"city":'),
    ToolCallStarted(3, "t2", "time"),
    ToolArgumentsDelta(2, '"Wien"}'),
    Finished(StopReason.TOOL_USE, "tool_use"),
    UsageReported(Usage(input_tokens=7, cache_read_tokens=4, output_tokens=20, reasoning_tokens=2)),
    Terminated(),
]
TEXT = "Grüß Gott \U0001f600\u2028 “x”"


def test_openai_sdk_reads_what_we_write(serving: Serving) -> None:
    writer = OPENAI_CHAT.stream_writer("r1", "m1", 1_700_000_000)
    stream = b"".join(writer.encode(event) for event in ANSWER)
    streamed = openai_stream(serving, stream)
    whole_body = OPENAI_CHAT.write_whole(ANSWER, "r1", "m1", 1_700_000_000)
    with serving([whole_body], JSON) as url, openai.OpenAI(base_url=url, api_key="k", max_retries=0) as client:
        whole = client.chat.completions.create(model="m", messages=MESSAGES)
    both: list[Any] = [streamed, whole]
    for answer in both:
        (choice,) = answer.choices
        assert (answer.id, answer.model, answer.created) == ("r1", "m1", 1_700_000_000)
        assert choice.message.role == "assistant"
        assert choice.message.content == TEXT
        assert choice.message.reasoning_content == "let me see"
        assert choice.finish_reason == "tool_calls"
        calls = [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls]
        assert calls == [("t1", "weather", '{"city":"Wien"}'), ("t2", "time", "{}")]
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (11, 22, 33)
        assert answer.usage.prompt_tokens_details.cached_tokens == 4
        assert answer.usage.completion_tokens_details.reasoning_tokens == 2


def test_anthropic_sdk_reads_what_we_write(serving: Serving) -> None:
    writer = ANTHROPIC_MESSAGES.stream_writer("r1", "m1", 0)
    stream = b"".join(writer.encode(event) for event in ANSWER)
    streamed = anthropic_stream(serving, stream)
    whole_body = ANTHROPIC_MESSAGES.write_whole(ANSWER, "r1", "m1", 0)
    with serving([whole_body], JSON) as url, anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as client:
        whole = client.messages.create(model="m", max_tokens=9, messages=MESSAGES)
    both: list[Any] = [streamed, whole]
    for answer in both:
        thinking, text, first, second = answer.content
        assert (thinking.type, thinking.thinking) == ("thinking", "let me see")
        assert (text.type, text.text) == ("text", TEXT)
        assert (first.id, first.name, first.input) == ("t1", "weather", {"city": "Wien"})
        assert (second.id, second.name, second.input) == ("t2", "time", {})
        assert (answer.id, answer.model, answer.role, answer.stop_reason) == ("r1", "m1", "assistant", "tool_use")
        assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens, answer.usage.output_tokens) == (
            7,
            4,
            22,
        )


FAULT = PlatformFault(ErrorCode.OVERLOADED, "The queue is full.", hint="wait")


def test_both_sdks_raise_our_error_frame_and_skip_our_comment(serving: Serving) -> None:
    comment = OPENAI_CHAT.cost_comment("0.000012345", "priced")
    writer = OPENAI_CHAT.stream_writer("r1", "m1", 0)
    stream = writer.encode(Started("r1", "m1")) + writer.encode(TextDelta("a")) + comment
    with pytest.raises(openai.APIError) as from_openai:
        openai_stream(serving, stream + OPENAI_CHAT.error_frame(FAULT, "req_1"))
    assert from_openai.value.message == "The queue is full."
    assert from_openai.value.code == "overloaded"
    started = ANTHROPIC_MESSAGES.stream_writer("r1", "m1", 0)
    stream = started.encode(Started("r1", "m1")) + started.encode(TextDelta("a")) + comment
    with pytest.raises(anthropic.APIStatusError) as from_anthropic:
        anthropic_stream(serving, stream + ANTHROPIC_MESSAGES.error_frame(FAULT, "req_1"))
    assert "The queue is full." in str(from_anthropic.value)
    assert "req_1" in str(from_anthropic.value)
