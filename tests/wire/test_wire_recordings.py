"""Both codecs over real vendor traffic: everything is read, no byte changes, no cut matters."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineclear.domain.exchange import (
    Event,
    Failed,
    Finished,
    Malformed,
    Operation,
    Started,
    StopReason,
    Terminated,
    UsageReported,
)
from lineclear.wire.codec import Codec, Patch
from lineclear.wire.codecs import CODECS
from lineclear.wire.json_guard import guard

Recordings: TypeAlias = Callable[[str], list[dict[str, Any]]]
NAMES = ["openai_chat", "anthropic_messages"]
FOLDER = Path(__file__).parent.parent / "recordings"


def codec_for(name: str, row: dict[str, Any]) -> Codec:
    if name == "openai_chat":
        return CODECS[Operation.CHAT]
    return CODECS[Operation.COUNT_TOKENS if "count_tokens" in row["uri"] else Operation.MESSAGES]


def events_of(name: str, row: dict[str, Any]) -> tuple[Event, ...]:
    codec = codec_for(name, row)
    if row["response_kind"] == "json":
        return codec.read_whole(json.dumps(row["response"]).encode())
    stream = row["response"].encode()
    reader = codec.stream_reader()
    frames = [*reader.feed(stream), *reader.end()]
    assert b"".join(frame.raw for frame in frames) == stream
    return tuple(event for frame in frames for event in frame.events)


def test_the_files_are_the_documented_ones() -> None:
    documented = dict(
        re.findall(r"^\| `(\S+\.jsonl)` \| `([0-9a-f]{64})`", (FOLDER / "README.md").read_text(), re.MULTILINE)
    )
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.glob("*.jsonl")}
    assert {name: digest for name, digest in found.items() if name in documented} == documented
    assert set(documented) >= {f"{name}.jsonl" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_is_read_to_its_end(name: str, all_recordings: Recordings) -> None:
    for row in all_recordings(name):
        if row["status"] != 200:
            continue
        events = events_of(name, row)
        assert not [event for event in events if isinstance(event, Malformed)], row["source"]
        if any(isinstance(event, Failed) for event in events):
            continue
        assert isinstance(events[-1], Terminated), row["source"]
        assert events.count(Terminated()) == 1
        if "count_tokens" in row["uri"]:
            continue
        assert [type(event) for event in events].count(Started) == 1
        assert any(isinstance(event, UsageReported) for event in events), row["source"]
        reasons = [event.reason for event in events if isinstance(event, Finished)]
        # One vendor in the collection leaves the reason empty; all others give one that we know.
        assert (reasons and StopReason.UNKNOWN not in reasons) or "snowflake" in row["host"], row["source"]


@pytest.mark.parametrize("name", NAMES)
def test_usage_adds_up_to_the_vendors_own_total(name: str, all_recordings: Recordings) -> None:
    checked = 0
    for row in all_recordings(name):
        if row["status"] != 200 or "count_tokens" in row["uri"]:
            continue
        reports = [event.usage for event in events_of(name, row) if isinstance(event, UsageReported)]
        stated = _stated_usage(row)
        if not stated or not reports:
            continue
        usage = reports[-1]
        if name == "openai_chat":
            assert usage.total_input_tokens + usage.total_output_tokens == stated["total_tokens"]
            assert usage.total_input_tokens == stated["prompt_tokens"]
        elif "iterations" not in stated:
            caches = (stated.get("cache_read_input_tokens") or 0) + (stated.get("cache_creation_input_tokens") or 0)
            assert usage.total_input_tokens == stated["input_tokens"] + caches
            assert usage.total_output_tokens == stated["output_tokens"]
        checked += 1
    assert checked > 10


def _stated_usage(row: dict[str, Any]) -> dict[str, Any]:
    if row["response_kind"] == "json":
        return dict(row["response"].get("usage") or {})
    stated: dict[str, Any] = {}
    for line in row["response"].splitlines():
        if line.startswith("data: {"):
            value = json.loads(line[6:])
            stated.update(value.get("usage") or (value.get("message") or {}).get("usage") or {})
    return stated


@pytest.mark.parametrize("name", NAMES)
def test_every_request_is_viewed_and_patched_without_loss(name: str, all_recordings: Recordings) -> None:
    for row in all_recordings(name):
        codec = codec_for(name, row)
        body = json.dumps(row["request"]).encode()
        tree = guard(body)
        view = codec.view(tree, len(body))
        assert (view.model, view.stream) == (row["request"]["model"], bool(row["request"].get("stream")))
        patched = guard(codec.patch(body, tree, Patch("upstream")))
        assert patched == {**row["request"], "model": "upstream"}
        prompted = guard(codec.patch(body, tree, Patch("upstream", prompt_text="P")))
        changed = "messages" if name == "openai_chat" else "system"
        prompted.pop(changed)
        assert prompted == {key: value for key, value in patched.items() if key != changed}


@pytest.mark.parametrize("name", NAMES)
def test_every_error_body_is_read(name: str, all_recordings: Recordings) -> None:
    rows = [row for row in all_recordings(name) if row["status"] != 200]
    assert rows
    for row in rows:
        native, message = codec_for(name, row).read_error(json.dumps(row["response"]).encode())
        assert message == row["response"]["error"]["message"]
        assert native or row["response"]["error"]["code"] == 429


@pytest.mark.parametrize("name", NAMES)
def test_streams_read_the_same_byte_by_byte(name: str, recordings: Recordings) -> None:
    for row in recordings(name):
        if row["response_kind"] != "text" or len(row["response"]) > 12_000:
            continue
        stream = row["response"].encode()
        reader = codec_for(name, row).stream_reader()
        frames = [frame for byte in range(len(stream)) for frame in reader.feed(stream[byte : byte + 1])]
        assert b"".join(frame.raw for frame in frames) == stream
        assert tuple(event for frame in frames for event in frame.events) == events_of(name, row)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_streams_read_the_same_however_they_are_cut(name: str, recordings: Recordings, data: st.DataObject) -> None:
    rows = [row for row in recordings(name) if row["response_kind"] == "text"]
    row = data.draw(st.sampled_from(rows))
    line_end = data.draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    stream = row["response"].encode().replace(b"\n", line_end)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=12)))
    reader = codec_for(name, row).stream_reader()
    frames = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        frames += reader.feed(stream[start:end])
    frames += reader.end()
    assert b"".join(frame.raw for frame in frames) == stream
    assert tuple(event for frame in frames for event in frame.events) == events_of(name, row)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_stream_cut_short_never_looks_complete(name: str, recordings: Recordings, data: st.DataObject) -> None:
    rows = [row for row in recordings(name) if row["response_kind"] == "text" and "event: error" not in row["response"]]
    row = data.draw(st.sampled_from(rows))
    stream = row["response"].encode()
    marker = b"data: [DONE]" if name == "openai_chat" else b"event: message_stop"
    if marker not in stream:
        return
    length = data.draw(st.integers(0, stream.index(marker)))
    reader = codec_for(name, row).stream_reader()
    frames = [*reader.feed(stream[:length]), *reader.end()]
    assert b"".join(frame.raw for frame in frames) == stream[:length]
    assert not [event for frame in frames for event in frame.events if isinstance(event, Terminated | Malformed)]
