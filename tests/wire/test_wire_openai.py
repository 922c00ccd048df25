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
from lineclear.wire.codec import Patch
from lineclear.wire.json_guard import guard
from lineclear.wire.openai_chat import OPENAI_CHAT
from lineclear.wire.openai_events import TOOL_CALLS_MAX

MESSAGES = [{"role": "user", "content": "hi"}]


def refusal(**fields: Any) -> CallerError:
    tree = {"model": "chat", "messages": MESSAGES, **fields}
    with pytest.raises(CallerError) as caught:
        OPENAI_CHAT.view(tree, 100)
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    return caught.value


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 7}, "model"),
        ({"model": "x" * 513}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": [MESSAGES[0], "hi"]}, "messages.1"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": True}, "stream_options"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"max_completion_tokens": 2**31}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": 1.5}, "n"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(fields: dict[str, Any], param: str) -> None:
    assert refusal(**fields).param == param


def test_the_view_of_a_plain_and_of_a_full_request() -> None:
    plain = OPENAI_CHAT.view({"model": "chat", "messages": MESSAGES, "stream": None, "max_tokens": None}, 42)
    assert (plain.model, plain.stream, plain.max_output_tokens, plain.choices) == ("chat", False, None, 1)
    assert (plain.wants_stream_usage, plain.prompt_bytes) == (False, 42)
    full = OPENAI_CHAT.view(
        {
            "model": "chat",
            "messages": MESSAGES,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_completion_tokens": 9,
            "n": 3,
        },
        42,
    )
    assert (full.stream, full.max_output_tokens, full.choices) == (True, 9, 3)
    assert full.wants_stream_usage


BODY = (
    b'{ "model":"chat","temperature":0.70,"messages":[ {"role":"system","content":"a\\u00e9"} , '
    b'{"role":"user","content":"b"}],'
    b'"stream_options":{"include_obfuscation":false, "x":1.0},"max_tokens":5,"seed":12345678901234567890}'
)


def patched(body: bytes = BODY, **changes: Any) -> bytes:
    return OPENAI_CHAT.patch(body, guard(body), Patch("up", **changes))


def test_a_patch_of_the_model_leaves_every_other_value_as_it_was() -> None:
    assert patched() == (
        b'{"model":"up","temperature":0.70,"messages":[ {"role":"system","content":"a\\u00e9"} , '
        b'{"role":"user","content":"b"}],"stream_options":{"include_obfuscation":false, "x":1.0},'
        b'"max_tokens":5,"seed":12345678901234567890}'
    )


def test_usage_is_asked_for_beside_the_callers_own_options() -> None:
    assert b'"stream_options":{"include_obfuscation":false,"x":1.0,"include_usage":true}' in patched(include_usage=True)
    for body in (b'{"model":"m","messages":[]}', b'{"model":"m","messages":[],"stream_options":null}'):
        assert guard(patched(body, include_usage=True))["stream_options"] == {"include_usage": True}
    asked_against = b'{"model":"m","messages":[],"stream_options":{"include_usage":false}}'
    assert guard(patched(asked_against, include_usage=True))["stream_options"] == {"include_usage": True}


def test_the_cap_is_set_where_the_caller_has_it() -> None:
    assert guard(patched(output_cap=3))["max_tokens"] == 3
    modern = guard(patched(b'{"model":"m","messages":[],"max_completion_tokens":9}', output_cap=3))
    assert modern == {"model": "up", "messages": [], "max_completion_tokens": 3}
    assert guard(patched(b'{"model":"m","messages":[]}', output_cap=3))["max_tokens"] == 3
    both = guard(patched(b'{"model":"m","messages":[],"max_completion_tokens":9,"max_tokens":9}', output_cap=3))
    assert (both["max_tokens"], both["max_completion_tokens"]) == (3, 3)


def test_a_prompt_is_prepended_or_replaces_all_system_text() -> None:
    prepended = patched(prompt_text='say "hi"\n')
    assert (
        b'"messages":[{"role":"system","content":"say \\"hi\\"\\n"},{"role":"system","content":"a\\u00e9"}' in prepended
    )
    conversation = (
        b'{"model":"m","messages":[{"role":"developer","content":"x"},{"role":"user","content":"y"},{"role":"system"}]}'
    )
    replaced = guard(patched(conversation, prompt_text="p", prompt_mode="replace"))
    assert replaced["messages"] == [{"role": "system", "content": "p"}, {"role": "user", "content": "y"}]


def chunk(*deltas: dict[str, Any], **fields: Any) -> dict[str, Any]:
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    return {"id": "c1", "object": "chat.completion.chunk", "model": "m1", "choices": choices, **fields}


def stream(*chunks: dict[str, Any] | bytes, done: bool = True) -> list[tuple[Event, ...]]:
    reader = OPENAI_CHAT.stream_reader()
    frames = []
    for item in chunks:
        frames += reader.feed(item if isinstance(item, bytes) else b"data: " + json.dumps(item).encode() + b"\n\n")
    if done:
        frames += reader.feed(b"data: [DONE]\n\n")
    frames += reader.end()
    return [frame.events for frame in frames]


def test_each_kind_of_delta_is_its_own_event() -> None:
    events = stream(
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "hm"}),
        chunk({"reasoning": "hm"}),
        chunk({"content": "a"}),
        chunk({"refusal": "no"}),
        chunk({"tool_calls": [{"index": 0, "id": "t1", "function": {"name": "f", "arguments": ""}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"x"'}}]}),
        chunk({"tool_calls": [{"index": 1, "id": "t2", "type": "custom", "custom": {"name": "g", "input": "free"}}]}),
        chunk({"audio": {"data": "AAAA"}}),
        {"id": "c1", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}], "usage": None},
        chunk(usage={"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}),
    )
    assert events == [
        (Started("c1", "m1"),),
        (ReasoningDelta("hm"),),
        (ReasoningDelta("hm"),),
        (TextDelta("a"),),
        (RefusalDelta("no"),),
        (ToolCallStarted(0, "t1", "f"),),
        (ToolArgumentsDelta(0, '{"x"'),),
        (ToolCallStarted(1, "t2", "g"), ToolArgumentsDelta(1, "free")),
        (OpaqueContent(15),),
        (Finished(StopReason.TOOL_USE, "tool_calls"),),
        (UsageReported(Usage(input_tokens=9, output_tokens=4), only=True),),
        (Terminated(),),
    ]


def test_usage_beside_a_finish_reason_is_not_a_frame_of_its_own() -> None:
    last = chunk({"content": "x"}, usage={"prompt_tokens": 1, "completion_tokens": 1})
    assert stream(last, done=False) == [
        (Started("c1", "m1"), TextDelta("x"), UsageReported(Usage(input_tokens=1, output_tokens=1), only=False))
    ]


def test_tool_calls_without_an_index_count_up() -> None:
    events = stream(
        chunk({"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]}, id=None, model=None),
        chunk({"tool_calls": [{"id": "b", "function": {"name": "g", "arguments": "{}"}}]}, id=None, model=None),
        done=False,
    )
    assert events == [
        (ToolCallStarted(0, "a", "f"), ToolArgumentsDelta(0, "{}")),
        (ToolCallStarted(1, "b", "g"), ToolArgumentsDelta(1, "{}")),
    ]


def test_a_name_repeated_on_every_fragment_starts_one_call() -> None:
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "1"}}
    events = stream(chunk({"tool_calls": [call]}), chunk({"tool_calls": [call]}), done=False)
    assert [type(event) for frame in events for event in frame].count(ToolCallStarted) == 1


def test_tool_calls_have_a_limit() -> None:
    calls = [{"index": n, "id": "a", "function": {"name": "f"}} for n in range(TOOL_CALLS_MAX + 1)]
    events = stream(chunk({"tool_calls": calls}), done=False)[0]
    assert isinstance(events[-1], Malformed)
    assert len(events) == TOOL_CALLS_MAX + 2


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("stop", StopReason.END),
        ("length", StopReason.LENGTH),
        ("tool_calls", StopReason.TOOL_USE),
        ("function_call", StopReason.TOOL_USE),
        ("content_filter", StopReason.REFUSAL),
        ("model_length", StopReason.CONTEXT_FULL),
        ("error", StopReason.MODEL_ERROR),
        ("network_error", StopReason.UNKNOWN),
        (7, StopReason.UNKNOWN),
    ],
)
def test_stop_reasons_are_mapped_and_unknown_ones_are_no_success(native: object, reason: StopReason) -> None:
    item = {"choices": [{"index": 0, "delta": {}, "finish_reason": native}]}
    assert stream(item, done=False) == [(Finished(reason, str(native)),)]


@pytest.mark.parametrize(
    "raw",
    [
        b"data: {\n\n",
        b"data: [1]\n\n",
        b"data: <html>\n\n",
        b'data: {"choices":{}}\n\n',
        b'data: {"choices":[{"delta":[]}]}\n\n',
        b'data: {"id":"\xff"}\n\n',
        b"data: \n\n",
    ],
)
def test_what_is_no_chunk_is_malformed_and_keeps_its_bytes(raw: bytes) -> None:
    reader = OPENAI_CHAT.stream_reader()
    (frame,) = reader.feed(raw)
    assert frame.raw == raw
    assert [type(event) for event in frame.events] == [Malformed]
    assert reader.feed(b"data: [DONE]\n\n")[0].events == (Terminated(),)


@pytest.mark.parametrize(
    "raw",
    [
        b": OPENROUTER PROCESSING\n\n",
        b"\n\n",
        b"event: ping\n\n",
        b'data: {"type":"ping"}\n\n',
        b'data: {"choices":[],"prompt_filter_results":[{}],"id":"","model":""}\n\n',
    ],
)
def test_comments_pings_and_preambles_say_nothing(raw: bytes) -> None:
    (frame,) = OPENAI_CHAT.stream_reader().feed(raw)
    assert frame == type(frame)(raw, ())


@pytest.mark.parametrize(
    ("raw", "failed"),
    [
        (b'data: {"error":{"message":"m","type":"t","code":"c"}}\n\n', Failed("m", "c")),
        (b'data: {"error":{"message":"m","type":"t","code":429}}\n\n', Failed("m", "t")),
        (b'data: {"error":"overloaded"}\n\n', Failed("overloaded", "")),
        (b'event: error\ndata: {"message":"m","code":"c"}\n\n', Failed("m", "c")),
        (b'event: error\ndata: {"error":{"message":"m"}}\n\n', Failed("m", "")),
        (b"event: error\ndata: oops\n\n", Failed("error", "")),
    ],
)
def test_errors_inside_a_stream_are_failures(raw: bytes, failed: Failed) -> None:
    assert OPENAI_CHAT.stream_reader().feed(raw)[0].events == (failed,)


@pytest.mark.parametrize(
    "raw",
    [
        b'data:{"id":"a","model":"b","choices":[]}\n\n',
        b'data: {"id":"a",\ndata: "model":"b","choices":[]}\n\n',
        b'id: 1\r\ndata: {"id":"a","model":"b","choices":[]}\r\n\r\n',
        b'data: {"id":"a","model":"b","choices":[]}\r\r',
        b'\xef\xbb\xbfdata: {"id":"a","model":"b","choices":[]}\n\n',
        b'\xef\xbb\xbfdata: {"id":"a","model":"b","choices":[]}\r\n\r\n',
    ],
)
def test_every_legal_spelling_of_an_event_is_read(raw: bytes) -> None:
    (frame,) = OPENAI_CHAT.stream_reader().feed(raw)
    assert frame == type(frame)(raw, (Started("a", "b"),))


@pytest.mark.parametrize("raw", [b"data:[DONE]\n\n", b"data: [DONE] \n\n", b"data: [DONE]\r\n\r\n"])
def test_every_spelling_of_the_end_marker_is_read(raw: bytes) -> None:
    assert OPENAI_CHAT.stream_reader().feed(raw)[0].events == (Terminated(),)


def test_what_stands_unfinished_at_the_end_counts_only_as_an_end_marker() -> None:
    reader = OPENAI_CHAT.stream_reader()
    assert reader.feed(b'data: {"choices":[{"delta":{"content":"x"}}]}') == []
    assert [frame.events for frame in reader.end()] == [()]
    assert reader.feed(b"data: [DO") == []
    assert [frame.events for frame in reader.end()] == [()]
    for raw in (b"data: [DONE]", b"data: [DONE]\n"):
        assert reader.feed(raw) == []
        assert [(frame.raw, frame.events) for frame in reader.end()] == [(raw, (Terminated(),))]
    assert reader.end() == []


def whole(**message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return {"id": "c1", "model": "m1", "choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}


def test_a_whole_answer_says_what_its_stream_would() -> None:
    answer = whole(content="hi", tool_calls=[{"id": "t", "function": {"name": "f", "arguments": "{}"}}])
    assert OPENAI_CHAT.read_whole(json.dumps(answer).encode()) == (
        Started("c1", "m1"),
        TextDelta("hi"),
        ToolCallStarted(0, "t", "f"),
        ToolArgumentsDelta(0, "{}"),
        Finished(StopReason.END, "stop"),
        UsageReported(Usage(input_tokens=5, output_tokens=2)),
        Terminated(),
    )


def test_content_in_parts_is_read() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "4"},
        {"type": "image"},
    ]
    events = OPENAI_CHAT.read_whole(json.dumps(whole(content=parts)).encode())
    assert events[1:4] == (ReasoningDelta("hm"), TextDelta("4"), OpaqueContent(16))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"choices":[]}', b'{"choices":[{"index":0}]}', b'{"choices":[{"message":"x"}]}'],
)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="not a chat completion"):
        OPENAI_CHAT.read_whole(body)


def test_an_error_in_a_whole_answer_is_a_failure() -> None:
    assert OPENAI_CHAT.read_whole(b'{"error":{"message":"m","code":"c"}}') == (Failed("m", "c"),)


def test_the_dialects_own_small_frames() -> None:
    assert OPENAI_CHAT.dialect is Dialect.OPENAI
    comment = OPENAI_CHAT.cost_comment("0.000012345", "priced")
    assert comment == b": lineclear cost-usd=0.000012345 basis=priced\n\n"
    assert OPENAI_CHAT.stream_reader().feed(comment)[0].events == ()
    frame = OPENAI_CHAT.error_frame(PlatformFault(ErrorCode.OVERLOADED, "full", hint="wait"), "req_1")
    assert OPENAI_CHAT.stream_reader().feed(frame)[0].events == (Failed("full", "overloaded"),)


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (b'{"error":{"message":"m","type":"t","code":"c"}}', ("c", "m")),
        (b'{"error":{"message":"m","type":"t","code":null}}', ("t", "m")),
        (b'{"error":{"message":"m","code":429}}', ("", "m")),
        (b'{"object":"error","message":"m","type":"t"}', ("t", "m")),
        (b'[{"error":{"message":"m","status":"RESOURCE_EXHAUSTED","code":429}}]', ("RESOURCE_EXHAUSTED", "m")),
        (b'{"error":"m"}', ("", "m")),
        (b'{"detail":"m"}', ("", "m")),
        (b"<html>", ("", "")),
        (b"", ("", "")),
        (b"[[]]", ("", "")),
        (b"\xff", ("", "")),
        (b'{"error":{"message":["m"]}}', ("", "")),
        (b'{"message":"' + b"x" * 70_000 + b'"}', ("", "")),
        (b"[" * 60_000, ("", "")),
    ],
)
def test_vendors_error_bodies_are_read_in_every_shape(body: bytes, read: tuple[str, str]) -> None:
    assert OPENAI_CHAT.read_error(body) == read
