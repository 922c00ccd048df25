import json
from typing import Any

import pytest

from lineclear.domain.errors import CallerError, ErrorCode, PlatformFault
from lineclear.domain.exchange import (
    Dialect,
    Event,
    Failed,
    Finished,
    Malformed,
    OpaqueContent,
    Operation,
    ReasoningDelta,
    Started,
    StopReason,
    Terminated,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallStarted,
    UsageReported,
)
from lineclear.domain.money import Usage
from lineclear.wire.anthropic_messages import ANTHROPIC_COUNT_TOKENS, ANTHROPIC_MESSAGES
from lineclear.wire.codec import Patch
from lineclear.wire.codecs import CODECS
from lineclear.wire.json_guard import guard

TREE = {"model": "chat", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


def test_every_operation_has_its_codec() -> None:
    assert set(CODECS) == set(Operation)
    assert CODECS[Operation.CHAT].dialect is Dialect.OPENAI
    assert CODECS[Operation.MESSAGES] is ANTHROPIC_MESSAGES
    assert CODECS[Operation.COUNT_TOKENS] is ANTHROPIC_COUNT_TOKENS


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [7]}, "messages.0"),
        ({"stream": "no"}, "stream"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(CallerError) as caught:
        ANTHROPIC_MESSAGES.view({**TREE, **fields}, 10)
    assert (caught.value.code, caught.value.param) == (ErrorCode.INVALID_REQUEST, param)


def test_the_view_of_a_request_and_of_a_token_count() -> None:
    view = ANTHROPIC_MESSAGES.view({**TREE, "stream": True}, 77)
    assert (view.model, view.stream, view.max_output_tokens) == ("chat", True, 9)
    assert (view.wants_stream_usage, view.choices, view.prompt_bytes) == (True, 1, 77)
    count = ANTHROPIC_COUNT_TOKENS.view({"model": "chat", "messages": []}, 5)
    assert (count.stream, count.max_output_tokens) == (False, 0)
    with pytest.raises(CallerError) as caught:
        ANTHROPIC_COUNT_TOKENS.view({**TREE, "stream": True}, 5)
    assert caught.value.param == "stream"


def patched(body: bytes, **changes: Any) -> bytes:
    return ANTHROPIC_MESSAGES.patch(body, guard(body), Patch("up", **changes))


def test_a_patch_leaves_every_other_value_as_it_was() -> None:
    body = b'{"max_tokens":9, "model":"chat","temperature":0.70,"system":[ {"type":"text","text":"a"} ],"messages":[ ]}'
    assert patched(body) == (
        b'{"max_tokens":9,"model":"up","temperature":0.70,"system":[ {"type":"text","text":"a"} ],"messages":[ ]}'
    )
    assert guard(patched(body, output_cap=4, include_usage=True)) == {**guard(body), "model": "up", "max_tokens": 4}


@pytest.mark.parametrize(
    ("system", "mode", "expected"),
    [
        (None, "prepend", "P"),
        ("null", "prepend", "P"),
        ('""', "prepend", "P"),
        ('"own"', "prepend", "P\n\nown"),
        (
            '[{"type":"text","text":"own","cache_control":{"type":"ephemeral"}}]',
            "prepend",
            [{"type": "text", "text": "P"}, {"type": "text", "text": "own", "cache_control": {"type": "ephemeral"}}],
        ),
        ("[]", "prepend", [{"type": "text", "text": "P"}]),
        ('"own"', "replace", "P"),
        ('[{"type":"text","text":"own"}]', "replace", "P"),
    ],
)
def test_a_prompt_goes_before_the_callers_or_instead_of_it(system: str | None, mode: str, expected: object) -> None:
    own = f',"system":{system}' if system is not None else ""
    body = f'{{"model":"chat","messages":[{{"role":"user","content":"x"}}]{own}}}'.encode()
    out = guard(patched(body, prompt_text="P", prompt_mode=mode))
    assert out["system"] == expected
    assert out["messages"] == [{"role": "user", "content": "x"}]


def test_replacing_leaves_no_system_message_anywhere() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":1.0},{"role":"system","content":"own"}]}'
    out = patched(body, prompt_text="P", prompt_mode="replace")
    assert out == b'{"model":"up","messages":[{"role":"user","content":1.0}],"system":"P"}'


def test_a_token_count_gets_model_and_prompt_and_no_cap() -> None:
    body = b'{"model":"chat","messages":[]}'
    out = ANTHROPIC_COUNT_TOKENS.patch(body, guard(body), Patch("up", output_cap=4, prompt_text="P"))
    assert out == b'{"model":"up","messages":[],"system":"P"}'
    assert ANTHROPIC_COUNT_TOKENS.read_whole(b'{"input_tokens":12}') == (UsageReported(Usage()), Terminated())
    assert ANTHROPIC_COUNT_TOKENS.read_whole(b'{"type":"error","error":{"type":"t","message":"m"}}') == (
        Failed("m", "t"),
    )
    with pytest.raises(ValueError, match="not a token count"):
        ANTHROPIC_COUNT_TOKENS.read_whole(b'{"content":[]}')
    counted = ANTHROPIC_COUNT_TOKENS.write_whole([UsageReported(Usage(input_tokens=7, cache_read_tokens=2))], "", "", 0)
    assert counted == b'{"input_tokens":9}'


def frame(name: str, **fields: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()


def delta(index: int, kind: str, **fields: Any) -> bytes:
    return frame("content_block_delta", index=index, delta={"type": kind, **fields})


def data_bytes(raw: bytes) -> int:
    return len(raw.partition(b"\ndata: ")[2]) - 2


def block(index: int, **content_block: Any) -> bytes:
    return frame("content_block_start", index=index, content_block=content_block)


def read(*frames: bytes) -> list[tuple[Event, ...]]:
    reader = ANTHROPIC_MESSAGES.stream_reader()
    return [item.events for raw in frames for item in reader.feed(raw)]


def test_each_kind_of_event_is_read() -> None:
    events = read(
        frame(
            "message_start",
            message={"id": "m1", "model": "c", "content": [], "usage": {"input_tokens": 5, "output_tokens": 1}},
        ),
        frame("ping"),
        block(0, type="thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="hm"),
        delta(0, "signature_delta", signature="abcd"),
        frame("content_block_stop", index=0),
        block(1, type="text", text=""),
        delta(1, "text_delta", text="a"),
        delta(1, "text_delta", text=""),
        delta(1, "citations_delta", citation={}),
        block(2, type="tool_use", id="t", name="f", input={}),
        delta(2, "input_json_delta", partial_json=""),
        delta(2, "input_json_delta", partial_json='{"x"'),
        block(3, type="server_tool_use", id="s", name="web_search", input={}),
        delta(3, "input_json_delta", partial_json='{"q"'),
        delta(3, "tomorrows_delta", x=1),
        frame("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 7}),
        frame("message_stop"),
    )
    opaque = len(json.dumps({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}))
    assert events == [
        (Started("m1", "c"), UsageReported(Usage(input_tokens=5, output_tokens=1))),
        (),
        (),
        (ReasoningDelta("hm", 0),),
        (OpaqueContent(0),),
        (),
        (),
        (TextDelta("a", 1),),
        (),
        (OpaqueContent(data_bytes(delta(1, "citations_delta", citation={}))),),
        (ToolCallStarted(2, "t", "f"),),
        (),
        (ToolArgumentsDelta(2, '{"x"'),),
        (OpaqueContent(opaque),),
        (OpaqueContent(4),),
        (OpaqueContent(data_bytes(delta(3, "tomorrows_delta", x=1))),),
        (UsageReported(Usage(input_tokens=5, output_tokens=7)), Finished(StopReason.TOOL_USE, "tool_use")),
        (Terminated(),),
    ]


def test_usage_is_corrected_at_the_end_and_never_added() -> None:
    start = {"id": "m", "usage": {"input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 1}}
    end = {"input_tokens": 6, "cache_read_input_tokens": None, "output_tokens": 9}
    events = read(frame("message_start", message=start), frame("message_delta", delta={}, usage=end))
    assert events[1] == (UsageReported(Usage(input_tokens=6, cache_read_tokens=3, output_tokens=9)),)


def test_a_block_that_begins_with_content_says_it() -> None:
    assert read(block(0, type="text", text="a"), block(1, type="tool_use", id="t", name="f", input={"x": 1})) == [
        (TextDelta("a", 0),),
        (ToolCallStarted(1, "t", "f"), ToolArgumentsDelta(1, '{"x":1}')),
    ]


@pytest.mark.parametrize(
    "raw",
    [
        b"event: message_start\ndata: {\n\n",
        b"event: message_start\ndata: []\n\n",
        b'event: message_start\ndata: {"type":7}\n\n',
        b'event: message_start\ndata: {"type":"message_start"}\n\n',
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0}\n\n',
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":"0","delta":{}}\n\n',
        b'event: content_block_start\ndata: {"type":"content_block_start","index":0}\n\n',
        b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":7}\n\n',
        b'event: content_block_delta\ndata: {"delta":{"text":"x"}}\n\n',
    ],
)
def test_what_is_no_event_is_malformed_and_keeps_its_bytes(raw: bytes) -> None:
    (item,) = ANTHROPIC_MESSAGES.stream_reader().feed(raw)
    assert item.raw == raw
    assert [type(event) for event in item.events] == [Malformed]


@pytest.mark.parametrize(
    "raw", [b": comment\n\n", b"event: ping\n\n", frame("tomorrows_event", x=1), frame("content_block_stop", index=0)]
)
def test_what_we_need_not_read_says_nothing(raw: bytes) -> None:
    assert read(raw) == [()]


TEXT = b'"index":4,"delta":{"type":"text_delta","text":"x"}}'


@pytest.mark.parametrize(
    "raw",
    [
        b'data: {"type":"content_block_delta",' + TEXT + b"\n\n",
        b'event: content_block_delta\r\ndata: {"type":"content_block_delta",' + TEXT + b"\r\n\r\n",
        b'event:content_block_delta\ndata:{"type":"content_block_delta",\ndata:' + TEXT + b"\n\n",
        b'\xef\xbb\xbfevent: content_block_delta\rdata: {"type":"content_block_delta",' + TEXT + b"\r\r",
        b'event: content_block_delta\ndata: {"type":"content_block_delta",' + TEXT + b"    \n\n",
    ],
)
def test_every_legal_spelling_of_an_event_is_read(raw: bytes) -> None:
    assert read(raw) == [(TextDelta("x", 4),)]


def test_an_error_inside_a_stream_is_a_failure() -> None:
    assert read(frame("error", error={"type": "overloaded_error", "message": "m"})) == [
        (Failed("m", "overloaded_error"),)
    ]
    assert read(frame("error")) == [(Failed("error", ""),)]


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("end_turn", StopReason.END),
        ("stop_sequence", StopReason.STOP_SEQUENCE),
        ("max_tokens", StopReason.LENGTH),
        ("model_context_window_exceeded", StopReason.CONTEXT_FULL),
        ("tool_use", StopReason.TOOL_USE),
        ("refusal", StopReason.REFUSAL),
        ("pause_turn", StopReason.PAUSE),
        ("tomorrows_reason", StopReason.UNKNOWN),
    ],
)
def test_stop_reasons_are_mapped_and_unknown_ones_are_no_success(native: str, reason: StopReason) -> None:
    assert read(frame("message_delta", delta={"stop_reason": native})) == [(Finished(reason, native),)]


def test_a_whole_answer_says_what_its_stream_would() -> None:
    answer = {
        "type": "message",
        "id": "m1",
        "model": "c",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "a"},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
            {"type": "redacted_thinking", "data": "abc"},
        ],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 5, "output_tokens": 2},
    }
    assert ANTHROPIC_MESSAGES.read_whole(json.dumps(answer, separators=(",", ":")).encode()) == (
        Started("m1", "c"),
        ReasoningDelta("hm", 0),
        TextDelta("a", 1),
        ToolCallStarted(2, "t", "f"),
        ToolArgumentsDelta(2, '{"x":1}'),
        OpaqueContent(41),
        UsageReported(Usage(input_tokens=5, output_tokens=2)),
        Finished(StopReason.END, "end_turn"),
        Terminated(),
    )


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"type":"message"}', b'{"type":"message","content":[7]}']
)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"^not a"):
        ANTHROPIC_MESSAGES.read_whole(body)


def test_errors_in_both_directions() -> None:
    assert ANTHROPIC_MESSAGES.read_whole(b'{"type":"error","error":{"type":"t","message":"m"}}') == (Failed("m", "t"),)
    assert ANTHROPIC_MESSAGES.read_error(b'{"type":"error","error":{"type":"t","message":"m"}}') == ("t", "m")
    raw = ANTHROPIC_MESSAGES.error_frame(PlatformFault(ErrorCode.OVERLOADED, "full"), "req_1")
    assert raw.startswith(b"event: error\ndata: {")
    assert read(raw) == [(Failed("full", "overloaded"),)]
    assert read(ANTHROPIC_MESSAGES.cost_comment("0.000000001", "priced")) == [()]
