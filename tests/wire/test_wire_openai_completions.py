"""The text completions dialect: what of a request is read and patched, what an answer says, whole and streamed."""

import json
from typing import Any

import pytest

from lineclear.domain.errors import CallerError, PlatformFault
from lineclear.domain.exchange import (
    Event,
    Failed,
    Finished,
    Malformed,
    Started,
    StopReason,
    Terminated,
    TextDelta,
    UsageReported,
)
from lineclear.domain.money import Usage
from lineclear.wire.codec import Patch
from lineclear.wire.json_guard import guard
from lineclear.wire.openai_completions import OPENAI_COMPLETIONS

BODY = b'{"model":"m","prompt": "Once  upon", "echo":true, "logprobs":2, "x":1.50}'


def view(**fields: Any) -> Any:
    body = json.dumps({"model": "m", "prompt": "x", **fields}).encode()
    return OPENAI_COMPLETIONS.view(guard(body), len(body))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"prompt": None}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"best_of": 0}, "best_of"),
        ({"stream": 1}, "stream"),
        ({"stream_options": []}, "stream_options"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(CallerError) as refused:
        view(**fields)
    assert refused.value.param == param
    assert refused.value.hint


@pytest.mark.parametrize(
    ("fields", "choices"),
    [
        ({}, 1),
        ({"prompt": [1, 2, 3]}, 1),
        ({"prompt": ["a", "b"]}, 2),
        ({"prompt": [[1, 2], [3]]}, 2),
        ({"n": 3}, 3),
        ({"n": 2, "best_of": 4}, 4),
        ({"prompt": ["a", "b"], "best_of": 4}, 8),
    ],
)
def test_every_answer_that_will_be_made_is_counted(fields: dict[str, Any], choices: int) -> None:
    assert view(**fields).choices == choices


def test_the_view_of_a_plain_and_of_a_full_request() -> None:
    plain = view()
    assert (plain.model, plain.stream, plain.max_output_tokens, plain.wants_stream_usage) == ("m", False, None, False)
    full = view(stream=True, max_tokens=9, stream_options={"include_usage": True})
    assert (full.stream, full.max_output_tokens, full.wants_stream_usage) == (True, 9, True)
    assert full.prompt_bytes > plain.prompt_bytes


def test_a_patch_leaves_every_other_value_as_it_was() -> None:
    patched = OPENAI_COMPLETIONS.patch(BODY, guard(BODY), Patch("up"))
    assert patched == b'{"model":"up","prompt":"Once  upon","echo":true,"logprobs":2,"x":1.50}'
    capped = json.loads(OPENAI_COMPLETIONS.patch(BODY, guard(BODY), Patch("up", include_usage=True, output_cap=5)))
    assert (capped["max_tokens"], capped["stream_options"]) == (5, {"include_usage": True})
    with pytest.raises(PlatformFault):
        OPENAI_COMPLETIONS.patch(BODY, guard(BODY), Patch("up", prompt_text="be kind"))


def chunk(text: str | None = None, reason: str | None = None, **fields: Any) -> bytes:
    choices = [] if text is None and reason is None else [{"index": 0, "text": text or "", "finish_reason": reason}]
    tree = {"id": "cmpl-1", "object": "text_completion", "model": "m1", "choices": choices, **fields}
    return b"data: " + json.dumps(tree).encode() + b"\n\n"


def read(*frames: bytes) -> list[Event]:
    reader = OPENAI_COMPLETIONS.stream_reader()
    return [event for frame in [*reader.feed(b"".join(frames)), *reader.end()] for event in frame.events]


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def test_a_stream_is_read_to_its_end() -> None:
    assert read(chunk("Once"), chunk(" more", "length"), b": ping\n\n", chunk(usage=USAGE), b"data: [DONE]\n\n") == [
        Started("cmpl-1", "m1"),
        TextDelta("Once"),
        TextDelta(" more"),
        Finished(StopReason.LENGTH, "length"),
        UsageReported(Usage(input_tokens=3, output_tokens=2), only=True),
        Terminated(),
    ]


def test_usage_beside_a_choice_is_not_a_frame_of_its_own() -> None:
    reported = [event for event in read(chunk("x", "stop", usage=USAGE)) if isinstance(event, UsageReported)]
    assert [event.only for event in reported] == [False]


@pytest.mark.parametrize("raw", [b"data: [DONE]\n\n", b"data:[DONE]\r\n\r\n", b"data: [DONE] \n\n"])
def test_every_spelling_of_the_end_is_read(raw: bytes) -> None:
    assert read(raw) == [Terminated()]


@pytest.mark.parametrize("raw", [b"data: {nonsense\n\n", b"data: 5\n\n", b'data: {"choices":[7]}\n\n'])
def test_what_is_no_chunk_is_malformed(raw: bytes) -> None:
    (event,) = read(raw)
    assert isinstance(event, Malformed)


@pytest.mark.parametrize(
    ("raw", "failed"),
    [
        (b'data: {"error":{"message":"boom","type":"server_error"}}\n\n', Failed("boom", "server_error")),
        (b'event: error\ndata: {"error":{"message":"boom","code":"c"}}\n\n', Failed("boom", "c")),
        (b"event: error\ndata: gone\n\n", Failed("error", "")),
        (b'event: error\ndata: {"message":"boom"}\n\n', Failed("error", "")),
    ],
)
def test_an_error_inside_a_stream_is_a_failure(raw: bytes, failed: Failed) -> None:
    assert read(raw) == [failed]


def test_a_whole_answer_says_what_its_stream_would() -> None:
    choices = [
        {"text": "Once", "index": 0, "logprobs": None, "finish_reason": "stop"},
        {"text": "Twice", "index": 1, "logprobs": None, "finish_reason": "content_filter"},
    ]
    body = json.dumps({"id": "cmpl-1", "model": "m1", "choices": choices, "usage": USAGE}).encode()
    assert OPENAI_COMPLETIONS.read_whole(body) == (
        Started("cmpl-1", "m1"),
        TextDelta("Once", 0),
        Finished(StopReason.END, "stop"),
        TextDelta("Twice", 1),
        Finished(StopReason.REFUSAL, "content_filter"),
        UsageReported(Usage(input_tokens=3, output_tokens=2)),
        Terminated(),
    )
    assert OPENAI_COMPLETIONS.read_whole(b'{"error":{"message":"no","code":"c"}}') == (Failed("no", "c"),)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"choices":[]}', b'{"choices":[{"message":{"content":"a chat"}}]}', b"<html>"]
)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="not a completion"):
        OPENAI_COMPLETIONS.read_whole(body)


def test_what_is_written_reads_back_whole_and_streamed() -> None:
    events: list[Event] = [
        Started("r1", "m1"),
        TextDelta("Once"),
        TextDelta(" more"),
        Finished(StopReason.LENGTH, "length"),
        UsageReported(Usage(input_tokens=3, output_tokens=2), only=True),
        Terminated(),
    ]
    writer = OPENAI_COMPLETIONS.stream_writer("r1", "m1", 5)
    assert read(*(writer.encode(event) for event in events)) == events
    whole = OPENAI_COMPLETIONS.write_whole(events, "r1", "m1", 5)
    tree = json.loads(whole)
    assert (tree["object"], tree["created"], tree["choices"][0]["text"]) == ("text_completion", 5, "Once more")
    assert TextDelta("Once more") in OPENAI_COMPLETIONS.read_whole(whole)
