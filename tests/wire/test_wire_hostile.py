"""Vendors that send anything at all: readers answer with frames or a named error, never with a crash."""

import collections
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineclear.domain.errors import UpstreamError
from lineclear.domain.exchange import Event, Failed, Finished, Malformed, Started, UsageReported
from lineclear.wire.anthropic_messages import ANTHROPIC_COUNT_TOKENS, ANTHROPIC_MESSAGES
from lineclear.wire.codec import Codec
from lineclear.wire.native_errors import CODE_CHARS_MAX, MESSAGE_CHARS_MAX, NAME_CHARS_MAX
from lineclear.wire.openai_chat import OPENAI_CHAT
from lineclear.wire.openai_classify import OPENAI_CLASSIFY
from lineclear.wire.openai_completions import OPENAI_COMPLETIONS
from lineclear.wire.openai_embeddings import OPENAI_EMBEDDINGS

STREAMED: list[Codec] = [OPENAI_CHAT, ANTHROPIC_MESSAGES, OPENAI_COMPLETIONS, ANTHROPIC_COUNT_TOKENS]
WHOLE_ONLY: list[Codec] = [OPENAI_EMBEDDINGS, OPENAI_CLASSIFY]

LEAVES = st.none() | st.booleans() | st.integers(-5, 10**18) | st.floats(allow_nan=False) | st.text(max_size=6)
KEYS = st.sampled_from(
    [
        "id",
        "model",
        "choices",
        "index",
        "delta",
        "message",
        "content",
        "text",
        "type",
        "role",
        "finish_reason",
        "stop_reason",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "refusal",
        "reasoning",
        "usage",
        "prompt_tokens",
        "completion_tokens",
        "input_tokens",
        "output_tokens",
        "error",
        "code",
        "content_block",
        "partial_json",
        "thinking",
        "input",
        "audio",
        "data",
        "annotations",
        "reasoning_details",
        "function_call",
        "x_groq",
        "prompt_tokens_details",
        "cached_tokens",
        "cost",
        "iterations",
        "cache_creation",
        "embedding",
        "label",
        "probs",
        "total_tokens",
    ]
)
TYPES = st.sampled_from(
    [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
        "error",
        "text_delta",
        "input_json_delta",
        "thinking_delta",
        "signature_delta",
        "text",
        "tool_use",
        "thinking",
        "message",
        "compaction",
    ]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    LEAVES | TYPES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


def events_of(codec: Codec, stream: bytes) -> list[Event]:
    reader = codec.stream_reader()
    frames = [*reader.feed(stream), *reader.end()]
    assert b"".join(frame.raw for frame in frames) == stream
    return [event for frame in frames for event in frame.events]


@pytest.mark.parametrize("codec", STREAMED[:3])
@given(values=st.lists(st.dictionaries(KEYS, VALUES, max_size=6), max_size=4), name=TYPES)
@settings(max_examples=100, deadline=None)
def test_any_json_in_a_stream_is_read_or_malformed(codec: Codec, values: list[dict[str, Any]], name: str) -> None:
    stream = b"".join(f"event: {name}\ndata: {json.dumps(value)}\n\n".encode() for value in values)
    for event in events_of(codec, stream):
        if isinstance(event, UsageReported):
            assert min(event.usage.total_input_tokens, event.usage.total_output_tokens) >= 0
            assert event.usage.total_input_tokens < 2**63


@pytest.mark.parametrize("codec", STREAMED + WHOLE_ONLY)
@given(value=st.dictionaries(KEYS, VALUES, max_size=8))
@settings(max_examples=100, deadline=None)
def test_any_json_as_an_answer_is_read_or_refused(codec: Codec, value: dict[str, Any]) -> None:
    body = json.dumps(value).encode()
    with contextlib.suppress(ValueError):
        assert codec.read_whole(body)
    codec.read_error(body)


@pytest.mark.parametrize("codec", STREAMED[:3])
@given(stream=st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_read_or_malformed(codec: Codec, stream: bytes) -> None:
    events_of(codec, stream)
    events_of(codec, b"data: " + stream.replace(b"\n", b" ") + b"\n\n")


def deep(field: str) -> bytes:
    return b'{"type":"message_delta","%s":' % field.encode() + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize("codec", STREAMED + WHOLE_ONLY)
@pytest.mark.parametrize("field", ["usage", "choices", "error", "anything", "content", "delta", "data"])
def test_nesting_without_end_is_malformed(codec: Codec, field: str) -> None:
    if codec in STREAMED:
        (event,) = events_of(codec, b"data: " + deep(field) + b"\n\n")
        assert isinstance(event, Malformed)
    with pytest.raises(ValueError, match="not a"):
        codec.read_whole(deep(field))
    assert codec.read_error(deep(field)) == ("", "")


def test_names_that_go_on_record_are_cut() -> None:
    long = "x" * 100_000
    chunk = {
        "id": long,
        "model": long,
        "choices": [{"index": 0, "finish_reason": long}],
        "error": {"message": long, "code": long},
    }
    started, finished, failed = events_of(OPENAI_CHAT, b"data: " + json.dumps(chunk).encode() + b"\n\n")
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    assert isinstance(failed, Failed)
    assert {len(started.response_id), len(started.model), len(finished.native)} == {NAME_CHARS_MAX}
    assert (len(failed.message), len(failed.native_type)) == (MESSAGE_CHARS_MAX, CODE_CHARS_MAX)


@pytest.mark.parametrize("codec", STREAMED)
def test_a_stream_without_any_event_is_cut_off(codec: Codec) -> None:
    with pytest.raises(UpstreamError):
        collections.deque(map(codec.stream_reader().feed, [b"x" * 65536] * 17), maxlen=0)
