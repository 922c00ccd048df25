"""Arguments of tool calls on their way through output rules, in the bytes of both dialects."""

import asyncio
import json
from typing import Any

import pytest

from lineclear.domain.exchange import Operation
from lineclear.domain.guardrails import DENY, DETECT, GuardrailAction, GuardrailRule, GuardrailSide
from lineclear.gateway.attempt import fold_whole
from lineclear.gateway.guardrails import compile_guardrails
from lineclear.gateway.watch import Watch
from lineclear.gateway.withhold import Withheld
from lineclear.testing.corpora import with_crc
from lineclear.wire.codecs import CODECS

TOKEN = with_crc("gh" + "p_")
BOTH = pytest.mark.parametrize("operation", [Operation.CHAT, Operation.MESSAGES])
ON = (GuardrailSide.OUTPUT,)
RULES = (
    GuardrailRule(f"{DETECT}:house/secrets", ON, GuardrailAction.BLOCK, detect=("secrets",)),
    GuardrailRule(f"{DENY}:house/names", ON, GuardrailAction.BLOCK, deny=("Müller", "red\nfox", 'say "so"')),
)
FORBIDDEN = (
    json.dumps({"name": "Müller"}),
    json.dumps({"note": "the red\nfox"}),
    json.dumps({"note": 'they say "so" here'}),
    json.dumps({"key": TOKEN}).replace("ghp_", "\\u0067hp_"),
    json.dumps({"key": "line\n" + TOKEN}),
)
HARMLESS = (
    json.dumps({"name": "Mühle", "path": "C:\\new", "face": "\U0001f600", "note": "a red\nfax"}),
    '{"half": "\\',
)


def watching(operation: Operation) -> tuple[Watch, Withheld]:
    compiled = compile_guardrails(RULES)
    assert compiled is not None
    assert compiled.output is not None
    guard = Withheld(compiled.output, CODECS[operation].dialect)
    return Watch(drop_usage_frame=False, guard=guard), guard


def event_bytes(event: dict[str, Any]) -> bytes:
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()


def stream(operation: Operation, pieces: list[str]) -> list[bytes]:
    """The frames of an answer that calls a tool with arguments in these pieces."""
    if operation is Operation.CHAT:
        start = {"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": ""}}
        calls = [start, *({"index": 0, "function": {"arguments": piece}} for piece in pieces)]
        choices: list[dict[str, Any]] = [{"index": 0, "delta": {"tool_calls": [one]}} for one in calls]
        choices.append({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
        frames = [event_bytes({"id": "x", "model": "m", "choices": [choice]}) for choice in choices]
        return [*frames, b"data: [DONE]\n\n"]
    block = {"type": "tool_use", "id": "c1", "name": "look", "input": {}}
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    message = {"id": "x", "type": "message", "role": "assistant", "model": "m", "usage": {"input_tokens": 1}}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_stop"},
    ]
    return [event_bytes(event) for event in events]


def passed(operation: Operation, pieces: list[str]) -> tuple[bytes, bool]:
    watch, guard = watching(operation)
    reader = CODECS[operation].stream_reader()
    out = b"".join(watch.take(reader.feed(frame)) for frame in stream(operation, pieces))
    return out + watch.tail, guard.blocked is not None


@BOTH
@pytest.mark.parametrize("arguments", FORBIDDEN)
def test_an_escape_hides_nothing_in_a_streamed_tool_call(operation: Operation, arguments: str) -> None:
    for cut in range(len(arguments)):
        assert passed(operation, [arguments[:cut], arguments[cut:]])[1], cut
    assert passed(operation, list(arguments))[1]


@BOTH
@pytest.mark.parametrize("arguments", HARMLESS)
def test_harmless_arguments_go_out_byte_for_byte(operation: Operation, arguments: str) -> None:
    for pieces in ([arguments], list(arguments), [arguments[:17], arguments[17:]]):
        assert passed(operation, pieces) == (b"".join(stream(operation, pieces)), False)


@BOTH
def test_a_piece_waits_only_until_its_escape_is_whole(operation: Operation) -> None:
    watch, _ = watching(operation)
    reader = CODECS[operation].stream_reader()
    frames = stream(operation, ['{"a": "x\\u00', "66 ", "y "])
    first = next(place for place, frame in enumerate(frames) if b"u00" in frame)
    went = [watch.take(reader.feed(frame)) for frame in frames[: first + 3]]
    assert (went[first], b"".join(went)) == (b"", b"".join(frames[: first + 3]))


@pytest.mark.parametrize("arguments", FORBIDDEN)
def test_an_escape_hides_nothing_in_a_whole_answer(arguments: str) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": arguments}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    tree = {"id": "x", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    body = json.dumps(tree).encode()
    watch, guard = watching(Operation.CHAT)
    events = fold_whole(watch, CODECS[Operation.CHAT].read_whole, body, 200)
    assert asyncio.run(guard.whole(body, events)) == b""
    assert guard.blocked is not None
