"""Canonical events written in both dialects: grammar, round trips, and no failure dressed as success."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineclear.domain.errors import UpstreamError
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
from lineclear.wire.anthropic_messages import ANTHROPIC_MESSAGES
from lineclear.wire.codec import Codec
from lineclear.wire.openai_chat import OPENAI_CHAT
from lineclear.wire.openai_completions import OPENAI_COMPLETIONS
from lineclear.wire.sse import fields

CODECS = [OPENAI_CHAT, ANTHROPIC_MESSAGES, OPENAI_COMPLETIONS]
STARTED = Started("r1", "m1")
USAGE = UsageReported(Usage(input_tokens=11, output_tokens=5))
FINISHED = Finished(StopReason.END, "end")
DONE = Terminated()


def written(codec: Codec, *events: Event) -> bytes:
    writer = codec.stream_writer("r1", "m1", 1_700_000_000)
    return b"".join(writer.encode(event) for event in events)


def read(codec: Codec, stream: bytes) -> list[Event]:
    reader = codec.stream_reader()
    return [event for frame in [*reader.feed(stream), *reader.end()] for event in frame.events]


def data_of(codec: Codec, stream: bytes) -> list[tuple[str, Any]]:
    """Name and data of each event of a written stream."""
    out: list[tuple[str, Any]] = []
    for frame in codec.stream_reader().feed(stream):
        name, data = fields(frame.raw)
        assert data is not None
        out.append((name.decode(), data.decode() if data == b"[DONE]" else json.loads(data)))
    return out


def check_openai(stream: bytes) -> None:
    """The grammar of research/protocols.md §3.3, OC."""
    items = [data for _, data in data_of(OPENAI_CHAT, stream)]
    assert items[-1] == "[DONE]"
    roles = finishes = usages = 0
    seen_tools: list[int] = []
    for item in items[:-1]:
        assert (item["object"], item["id"], item["model"], item["created"]) == (
            "chat.completion.chunk",
            "r1",
            "m1",
            1_700_000_000,
        )
        if not item["choices"]:
            usages += 1
            assert finishes == 1
            assert item["usage"]["total_tokens"] == item["usage"]["prompt_tokens"] + item["usage"]["completion_tokens"]
            continue
        assert usages == finishes == 0
        (choice,) = item["choices"]
        roles += "role" in choice["delta"]
        assert roles == 1
        finishes += choice["finish_reason"] is not None
        for call in choice["delta"].get("tool_calls", []):
            if "id" in call:
                seen_tools.append(call["index"])
            assert call["index"] in seen_tools
    assert finishes == 1
    assert seen_tools == list(range(len(seen_tools)))


def check_anthropic(stream: bytes) -> None:
    """The grammar of research/protocols.md §3.3, AM."""
    items = data_of(ANTHROPIC_MESSAGES, stream)
    assert all(name == data["type"] for name, data in items)
    names = [name for name, _ in items]
    assert names[0] == "message_start"
    assert names.count("message_start") == 1
    assert names[-2:] == ["message_delta", "message_stop"]
    assert items[0][1]["message"]["content"] == []
    open_kind, next_index = None, 0
    kinds = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "tool_use"}
    for name, data in items[1:-2]:
        if name == "content_block_start":
            assert open_kind is None
            assert data["index"] == next_index
            open_kind = data["content_block"]["type"]
        elif name == "content_block_delta":
            assert data["index"] == next_index
            assert kinds[data["delta"]["type"]] == open_kind
        else:
            assert name == "content_block_stop"
            assert data["index"] == next_index
            assert open_kind is not None
            open_kind, next_index = None, next_index + 1
    assert open_kind is None


def fold(events: list[Event] | tuple[Event, ...]) -> dict[str, Any]:
    """What an answer says, however it was cut and whatever its blocks are numbered."""
    tools: dict[int, list[str]] = {}
    out: dict[str, Any] = {"text": "", "reasoning": "", "refusal": "", "usage": None, "reason": None, "ended": False}
    for event in events:
        if isinstance(event, TextDelta):
            out["text"] += event.text
        elif isinstance(event, ReasoningDelta):
            out["reasoning"] += event.text
        elif isinstance(event, RefusalDelta):
            out["refusal"] += event.text
        elif isinstance(event, ToolCallStarted):
            tools[event.block] = [event.call_id, event.name, ""]
        elif isinstance(event, ToolArgumentsDelta):
            tools[event.block][2] += event.fragment
        elif isinstance(event, UsageReported):
            out["usage"] = event.usage
        elif isinstance(event, Finished):
            out["reason"] = event.reason
        elif isinstance(event, Terminated):
            out["ended"] = True
    out["tools"] = [[call_id, name, arguments or "{}"] for call_id, name, arguments in tools.values()]
    return out


TEXTS = st.text(min_size=1, max_size=12)
FRAGMENTS = st.sampled_from(['{"a"', ":1}", '{"b":"\u00e9"}', " "])
REASONS = {
    StopReason.END: "x",
    StopReason.LENGTH: "x",
    StopReason.TOOL_USE: "x",
    StopReason.REFUSAL: "x",
}


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """An answer as a vendor gives it: reasoning, then text, then tool calls that may interleave."""
    events: list[Event] = [STARTED]
    events += [ReasoningDelta(text, 0) for text in draw(st.lists(TEXTS, max_size=3))]
    events += [TextDelta(text, 1) for text in draw(st.lists(TEXTS, max_size=4))]
    calls = draw(st.integers(0, 3))
    fragments: list[Event] = []
    for call in range(calls):
        started = ToolCallStarted(2 + call, f"t{call}", f"f{call}")
        place = draw(st.integers(0, len(fragments)))
        first = max((at for at, event in enumerate(fragments) if isinstance(event, ToolCallStarted)), default=-1)
        fragments.insert(max(place, first + 1), started)
        for _ in range(draw(st.integers(0, 3))):
            after = fragments.index(started) + 1
            fragments.insert(draw(st.integers(after, len(fragments))), ToolArgumentsDelta(2 + call, draw(FRAGMENTS)))
    events += fragments
    events.append(Finished(draw(st.sampled_from(list(REASONS))), "native"))
    events.append(UsageReported(Usage(draw(st.integers(0, 99)), draw(st.integers(0, 99)), output_tokens=7)))
    events.append(DONE)
    return events


@given(answers())
@settings(max_examples=150, deadline=None)
def test_what_is_written_keeps_the_grammar_and_reads_back(events: list[Event]) -> None:
    said = fold(events)
    for codec, check in ((OPENAI_CHAT, check_openai), (ANTHROPIC_MESSAGES, check_anthropic)):
        stream = written(codec, *events)
        check(stream)
        assert fold(read(codec, stream)) == said
        whole = codec.write_whole(events, "r1", "m1", 1_700_000_000)
        if all(_is_json(arguments) for _, _, arguments in said["tools"]):
            assert _joined(fold(codec.read_whole(whole))) == _joined(said)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _joined(said: dict[str, Any]) -> dict[str, Any]:
    tools = [[call_id, name, json.loads(arguments)] for call_id, name, arguments in said["tools"]]
    return {**said, "tools": tools}


@pytest.mark.parametrize("codec", CODECS)
def test_the_usage_of_an_input_known_early_is_said_early_and_late(codec: Codec) -> None:
    early = UsageReported(Usage(input_tokens=11))
    stream = written(codec, STARTED, early, TextDelta("a"), FINISHED, USAGE, DONE)
    assert fold(read(codec, stream))["usage"] == USAGE.usage
    if codec is ANTHROPIC_MESSAGES:
        start = data_of(codec, stream)[0][1]
        assert start["message"]["usage"]["input_tokens"] == 11


def test_every_piece_of_text_goes_out_at_once() -> None:
    for codec in CODECS:
        writer = codec.stream_writer("r1", "m1", 0)
        writer.encode(STARTED)
        for text in ("a", "b", "c"):
            assert TextDelta(text) in [
                TextDelta(event.text)
                for event in read(codec, writer.encode(TextDelta(text)))
                if isinstance(event, TextDelta)
            ]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("reason", [StopReason.MODEL_ERROR, StopReason.UNKNOWN])
def test_a_reason_that_is_no_success_ends_in_an_error(codec: Codec, reason: StopReason) -> None:
    bad = Finished(reason, "odd")
    events = read(codec, written(codec, STARTED, TextDelta("a"), bad, USAGE, DONE))
    assert isinstance(events[-1], Failed)
    assert not [event for event in events if isinstance(event, Finished | Terminated)]
    body = codec.write_whole([STARTED, TextDelta("a"), bad, DONE], "r1", "m1", 0)
    assert isinstance(codec.read_whole(body)[0], Failed)


def test_an_end_without_a_reason_is_an_error_at_anthropic_and_in_every_whole_answer() -> None:
    events = read(ANTHROPIC_MESSAGES, written(ANTHROPIC_MESSAGES, STARTED, TextDelta("a"), DONE))
    assert isinstance(events[-1], Failed)
    for codec in CODECS:
        assert isinstance(
            codec.read_whole(codec.write_whole([STARTED, TextDelta("a"), DONE], "r1", "m1", 0))[0], Failed
        )


@pytest.mark.parametrize("codec", CODECS)
def test_a_failure_is_said_and_nothing_follows_it(codec: Codec) -> None:
    failed = Failed("boom", "overloaded_error")
    events = read(codec, written(codec, STARTED, TextDelta("a"), failed, TextDelta("b"), FINISHED, DONE))
    assert events[-1] == failed
    assert TextDelta("b") not in events
    body = codec.write_whole([STARTED, failed], "r1", "m1", 0)
    assert codec.read_whole(body) == (failed,)


@pytest.mark.parametrize("codec", CODECS)
def test_events_that_a_dialect_does_not_speak_are_silent(codec: Codec) -> None:
    assert written(codec, Malformed("x"), OpaqueContent(4)) == b""


def test_a_refusal_has_its_own_field_at_openai_and_is_text_at_anthropic() -> None:
    events = (STARTED, RefusalDelta("no"), Finished(StopReason.REFUSAL, "x"), DONE)
    assert fold(read(OPENAI_CHAT, written(OPENAI_CHAT, *events)))["refusal"] == "no"
    assert fold(read(ANTHROPIC_MESSAGES, written(ANTHROPIC_MESSAGES, *events)))["text"] == "no"
    assert fold(OPENAI_CHAT.read_whole(OPENAI_CHAT.write_whole(events, "r", "m", 0)))["refusal"] == "no"


def test_arguments_for_a_block_that_was_closed_are_an_upstreams_fault() -> None:
    writer = ANTHROPIC_MESSAGES.stream_writer("r1", "m1", 0)
    for event in (STARTED, ToolCallStarted(0, "t", "f"), TextDelta("a", 1)):
        writer.encode(event)
    with pytest.raises(UpstreamError):
        writer.encode(ToolArgumentsDelta(0, "{}"))


def test_arguments_held_back_have_a_limit() -> None:
    writer = ANTHROPIC_MESSAGES.stream_writer("r1", "m1", 0)
    for event in (STARTED, ToolCallStarted(0, "t", "f"), ToolCallStarted(1, "u", "g")):
        writer.encode(event)
    mebibyte = ToolArgumentsDelta(1, "x" * (1 << 20))
    for _ in range(16):
        assert writer.encode(mebibyte) == b""
    with pytest.raises(UpstreamError):
        writer.encode(mebibyte)
