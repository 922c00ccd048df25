"""Output rules over what an answer says beside its text, in the bytes of both dialects: whole answers and streams."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from lineclear.checks.finding import Finding
from lineclear.domain.exchange import Operation
from lineclear.domain.guardrails import DENY, DETECT, GuardrailAction, GuardrailRule, GuardrailSide
from lineclear.gateway.attempt import fold_whole
from lineclear.gateway.guardrails import compile_guardrails
from lineclear.gateway.watch import Watch
from lineclear.gateway.withhold import CHANNELS_MAX, EVENT_TEXTS_MAX, Withheld
from lineclear.testing.corpora import with_crc
from lineclear.wire.codecs import CODECS

TOKEN = with_crc("gh" + "p_")
ON = (GuardrailSide.OUTPUT,)
BLOCK = GuardrailRule(f"{DETECT}:house/secrets", ON, GuardrailAction.BLOCK, detect=("secrets",))
REDACT = GuardrailRule(f"{DETECT}:house/secrets", ON, GuardrailAction.REDACT, detect=("secrets",))
FLAG = GuardrailRule(f"{DENY}:house/names", ON, GuardrailAction.FLAG, deny=("Müller",))
CHAT, MESSAGES = Operation.CHAT, Operation.MESSAGES
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def chat(**message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "fine", **message}, "finish_reason": "stop"}
    return {"id": "x", "model": "m", "choices": [choice]}


def message(*blocks: dict[str, Any]) -> dict[str, Any]:
    usage = {"input_tokens": 1, "output_tokens": 1}
    return {"type": "message", "id": "x", "model": "m", "content": [*blocks], "stop_reason": "end_turn", "usage": usage}


WHOLE = {
    "audio transcript": (CHAT, chat(audio={"data": "aa", "transcript": TOKEN})),
    "annotations": (CHAT, chat(annotations=[{"url_citation": {"title": TOKEN}}])),
    "reasoning details": (CHAT, chat(reasoning_details=[{"type": "reasoning.text", "text": TOKEN}])),
    "a second reasoning": (CHAT, chat(reasoning_content="fine", reasoning=TOKEN)),
    "a field that nobody knows": (CHAT, chat(afterthought={"deep": [TOKEN]})),
    "tool name": (CHAT, chat(tool_calls=[{**CALL, "function": {"name": TOKEN, "arguments": "{}"}}])),
    "refusal": (CHAT, chat(content=None, refusal=TOKEN)),
    "a delta": (CHAT, {**chat(), "choices": [{**chat()["choices"][0], "delta": {"content": TOKEN}}]}),
    "short data": (CHAT, chat(audio={"data": TOKEN, "transcript": "fine"})),
    "citation": (MESSAGES, message({"type": "text", "text": "fine", "citations": [{"cited_text": TOKEN}]})),
    "server tool": (MESSAGES, message({"type": "server_tool_use", "id": "1", "name": "b", "input": {"c": TOKEN}})),
    "search result": (MESSAGES, message({"type": "web_search_tool_result", "content": [{"title": TOKEN}]})),
}


def whole(operation: Operation, body: bytes, *rules: GuardrailRule) -> tuple[bytes, Withheld]:
    watch, guard = watching(operation, *rules)
    events = fold_whole(watch, CODECS[operation].read_whole, body, 200)
    return asyncio.run(guard.whole(body, events)), guard


def watching(operation: Operation, *rules: GuardrailRule) -> tuple[Watch, Withheld]:
    compiled = compile_guardrails(rules)
    assert compiled is not None
    assert compiled.output is not None
    guard = Withheld(compiled.output, CODECS[operation].dialect)
    return Watch(drop_usage_frame=False, guard=guard), guard


@pytest.mark.parametrize("rule", [BLOCK, REDACT], ids=["block", "redact"])
@pytest.mark.parametrize("where", WHOLE)
def test_a_whole_answer_is_blocked_wherever_it_stands(where: str, rule: GuardrailRule) -> None:
    operation, tree = WHOLE[where]
    out, guard = whole(operation, json.dumps(tree).encode(), rule)
    assert TOKEN.encode() not in out
    is_text = where == "refusal" and rule is REDACT
    assert (guard.blocked is None, b"removed]" in out) == (is_text, is_text)


def test_a_field_that_is_said_twice_is_not_let_out() -> None:
    body = json.dumps(chat()).replace('"content": "fine"', f'"content": "{TOKEN}", "content": "fine"').encode()
    out, guard = whole(CHAT, body, BLOCK)
    assert (out, guard.blocked is not None) == (b"", True)


def test_a_flag_beside_the_text_changes_nothing() -> None:
    body = json.dumps(chat(annotations=[{"title": "by Müller"}])).encode()
    out, guard = whole(CHAT, body, FLAG)
    assert (out, list(guard.flags)) == (body, [FLAG.id])


def test_images_sound_and_seals_are_no_text() -> None:
    sealed = "+4915112345678" + "A" * 300
    phone = GuardrailRule(f"{DETECT}:house/personal", ON, GuardrailAction.BLOCK, detect=("phone",))
    body = json.dumps(chat(audio={"data": sealed, "transcript": "fine"}, signature=sealed)).encode()
    out, guard = whole(CHAT, body, phone)
    assert (out, guard.blocked) == (body, None)


def chunk(delta: dict[str, Any], **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return b"data: " + json.dumps({"id": "x", "model": "m", "choices": [choice], **more}).encode() + b"\n\n"


def event(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()


START = event("message_start", message={"id": "1", "model": "m", "usage": {"input_tokens": 1}})
BASH = {"type": "server_tool_use", "id": "1", "name": "bash", "input": {}}
SERVER_TOOL = event("content_block_start", index=0, content_block=BASH)


def piece(text: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": text})


STREAMS = {
    "annotations": (CHAT, [chunk({"annotations": [{"t": TOKEN}]})]),
    "a whole message": (CHAT, [chunk({}).replace(b'"delta": {}', f'"message": {{"content": "{TOKEN}"}}'.encode())]),
    "text beside an error": (CHAT, [chunk({"content": TOKEN}, error={"message": "boom"})]),
    "the error": (CHAT, [chunk({"content": "fine"}), chunk({}, error={"message": TOKEN})]),
    "a comment": (CHAT, [f": {TOKEN}\n\n".encode(), chunk({"content": "fine"})]),
    "an event's name": (CHAT, [f"event: {TOKEN}\n".encode() + chunk({"content": "fine"})]),
    "a field said twice": (CHAT, [chunk({"content": "fine"}).replace(b'"con', f'"content":"{TOKEN}","con'.encode())]),
    "a transcript in pieces": (
        CHAT, [chunk({"audio": {"transcript": part}}) for part in ("so ", TOKEN[:9], TOKEN[9:20], TOKEN[20:])],
    ),
    "a server's tool": (MESSAGES, [START, SERVER_TOOL, piece(json.dumps({"c": TOKEN}))]),
    "a server's tool, escaped and in pieces": (
        MESSAGES, [START, SERVER_TOOL, piece('{"c": "\\u0067'), piece(TOKEN[1:20]), piece(TOKEN[20:] + '"}')],
    ),
    "the start": (
        MESSAGES, [START.replace(b'"model"', f'"content": [{{"type": "text", "text": "{TOKEN}"}}], "model"'.encode())],
    ),
}  # fmt: skip
ENDS = {CHAT: b"data: [DONE]\n\n", MESSAGES: event("message_stop")}


def passed(operation: Operation, frames: list[bytes], *rules: GuardrailRule) -> tuple[bytes, Withheld]:
    watch, guard = watching(operation, *rules)
    reader = CODECS[operation].stream_reader()
    out = b"".join(watch.take(reader.feed(frame)) for frame in frames)
    return out + (b"" if guard.blocked is not None else watch.tail), guard


@pytest.mark.parametrize("where", STREAMS)
def test_a_stream_is_cut_wherever_it_stands(where: str) -> None:
    operation, frames = STREAMS[where]
    for several in (frames, [b"".join(frames)]):
        out, guard = passed(operation, [*several, ENDS[operation]], BLOCK)
        assert guard.blocked is not None
        assert TOKEN.encode() not in out
        assert TOKEN[20:].encode() not in out


def test_text_beside_an_error_is_redacted_like_any() -> None:
    out, guard = passed(CHAT, [chunk({"content": f"it is {TOKEN} there"}, error={"message": "boom"})], REDACT)
    assert (guard.blocked, TOKEN.encode() in out, b"[github-token removed]" in out) == (None, False, True)


def test_what_repeats_in_each_event_holds_nothing_up() -> None:
    frames = [chunk({"content": text}, object="chat.completion.chunk", obfuscation=pad) for text, pad in
              (("so ", "aX"), ("it ", "b"), ('"is" ', "cY1"), ("so. ", "d"))]  # fmt: skip
    watch, guard = watching(CHAT, BLOCK, FLAG)
    reader = CODECS[CHAT].stream_reader()
    went = [watch.take(reader.feed(frame)) for frame in [*frames, ENDS[CHAT]]]
    assert (b"".join(went), guard.blocked, guard.flags) == (b"".join(frames), None, {})
    assert went[:2] != [b"", b""]


def test_a_block_in_the_same_read_as_what_follows_is_a_block() -> None:
    calls = chunk({"tool_calls": [{"index": 0, **CALL}]})
    out, guard = passed(CHAT, [chunk({"content": f"{TOKEN} there "}) + calls + ENDS[CHAT]], BLOCK)
    assert (out, guard.blocked is not None) == (b"", True)


PROTOCOL = (
    "Claude",
    "gpt",
    "assistant",
    "stop",
    "end_turn",
    "chat",
    "completion",
    "message",
    "function",
    "look",
    "OpenAI",
)
WORDS = GuardrailRule(f"{DENY}:house/words", ON, GuardrailAction.BLOCK, deny=PROTOCOL, whole_words=False)
OWN_WORDS = {
    "content": "fine", "refusal": None, "tool_calls": [CALL], "annotations": [{"type": "message", "title": "fine"}],
}  # fmt: skip


@pytest.mark.parametrize("action", [GuardrailAction.BLOCK, GuardrailAction.REDACT])
def test_words_of_the_protocol_are_nobodys(action: GuardrailAction) -> None:
    rule = GuardrailRule(WORDS.id, ON, action, deny=PROTOCOL, whole_words=False)
    about = {"model": "claude-gpt-1", "provider": "Azure OpenAI"}
    answer = {**chat(**OWN_WORDS), **about, "object": "chat.completion"}
    tool = {"type": "tool_use", "id": "message_1", "name": "look", "input": {}}
    for operation, tree in (
        (CHAT, answer),
        (MESSAGES, {**message({"type": "text", "text": "fine"}, tool), **about, "role": "assistant"}),
    ):
        body = json.dumps(tree).encode()
        out, guard = whole(operation, body, rule)
        assert (out, guard.blocked) == (body, None)
    for operation, frames in (
        (CHAT, [chunk({"role": "assistant", "content": "fine"}, object="chat.completion.chunk", **about)]),
        (MESSAGES, [START.replace(b'"m"', b'"claude-1"'), event("message_delta", delta={"stop_reason": "end_turn"})]),
    ):
        out, guard = passed(operation, [*frames, ENDS[operation]], rule)
        assert (out, guard.blocked) == (b"".join([*frames, ENDS[operation]]), None)


OWN = {
    "a title of one word": (CHAT, chat(annotations=[{"type": "url_citation", "title": "Claude"}])),
    "a field of an own object": (
        MESSAGES, message({"type": "server_tool_use", "id": "1", "name": "b", "input": {"type": "Claude"}}),
    ),
    "a sentence": (CHAT, chat(annotations=[{"type": "it is Claude indeed"}])),
}  # fmt: skip


@pytest.mark.parametrize("where", OWN)
def test_a_denied_word_beside_the_text_is_found_where_no_protocol_says_it(where: str) -> None:
    operation, tree = OWN[where]
    out, guard = whole(operation, json.dumps(tree).encode(), WORDS)
    assert (out, guard.blocked is not None) == (b"", True)


NUMBERS = GuardrailRule(f"{DETECT}:house/numbers", ON, GuardrailAction.BLOCK, detect=("uk-nhs-number", "nl-bsn"))


def test_a_counter_in_each_event_is_no_number() -> None:
    frames = [chunk({"content": "so "}, native=str(count)) for count in range(500)]
    out, guard = passed(CHAT, [*frames, ENDS[CHAT]], NUMBERS)
    assert (guard.blocked, len(out)) == (None, len(b"".join(frames)) + len(ENDS[CHAT]))


@pytest.mark.parametrize("pieces", [("943", "476", "5919"), ("is ", "943", "4765919")])
def test_a_number_that_is_said_in_pieces_is_found(pieces: tuple[str, ...]) -> None:
    _, guard = passed(CHAT, [*(chunk({"audio": {"transcript": said}}) for said in pieces), ENDS[CHAT]], NUMBERS)
    assert guard.blocked is not None


def test_many_small_texts_beside_the_text_let_others_through() -> None:
    turns = 0

    async def play() -> None:
        nonlocal turns
        watch, guard = watching(CHAT, BLOCK)
        body = json.dumps(chat(afterthought=["a"] * 1_000)).encode()
        checked = asyncio.ensure_future(guard.whole(body, fold_whole(watch, CODECS[CHAT].read_whole, body, 200)))
        while not checked.done():
            turns += 1
            await asyncio.sleep(0)
        assert checked.result() == body

    asyncio.run(play())
    assert turns > 20


class Counting:
    """A detector that finds nothing, and knows how often it was asked."""

    name = "counting"

    def __init__(self) -> None:
        self.looks = 0

    def find(self, text: str, start: int, stop: int) -> Iterator[Finding]:
        self.looks += 1
        return iter(())

    def open_at(self, text: str) -> int:
        return len(text)


def counted(frames: list[bytes]) -> tuple[bytes, Withheld, int]:
    """What goes out of a stream, and how often its texts were looked at."""
    compiled, counting = compile_guardrails([BLOCK]), Counting()
    assert compiled is not None
    assert compiled.output is not None
    checks = msgspec.structs.replace(compiled.output, detectors=(counting,), formats=(counting,))
    guard = Withheld(checks, CODECS[CHAT].dialect)
    watch, reader = Watch(drop_usage_frame=False, guard=guard), CODECS[CHAT].stream_reader()
    return b"".join(watch.take(reader.feed(frame)) for frame in frames), guard, counting.looks


MANY = 40_000
CHOICES = [{"index": at, "delta": {"content": "a"}} for at in range(MANY // 2)]
HOSTILE = {
    "a list": [chunk({"afterthought": ["a"] * MANY})],
    "fields": [chunk({"afterthought": {str(at): "a" for at in range(MANY)}})],
    "lists in lists": [chunk({"afterthought": [["a", "b"]] * (MANY // 2)})],
    "comments": [b": a\n" * MANY + chunk({"content": "fine"})],
    "choices of one event": [chunk({}, choices=CHOICES)],
    "choices of many events": [chunk({}, choices=[choice]) for choice in CHOICES[: 2 * CHANNELS_MAX]],
    "an error": [chunk({}, error={"message": "boom", "details": ["a"] * MANY})],
    "more than is held": [chunk({"afterthought": ["a" * 10_000] * 110}).replace(b", ", b",\ndata: ")],
}  # fmt: skip


@pytest.mark.parametrize("where", HOSTILE)
def test_an_event_of_very_many_texts_is_blocked_and_not_looked_through(where: str) -> None:
    out, guard, looks = counted([chunk({"content": "fine "}), *HOSTILE[where], ENDS[CHAT]])
    assert guard.blocked is not None
    assert "cannot be checked" in guard.blocked.message
    assert b"afterthought" not in out
    assert looks <= 4 * max(EVENT_TEXTS_MAX, CHANNELS_MAX), "each text is looked at a few times"


def test_an_event_of_many_texts_goes_on() -> None:
    frames = [chunk({"content": "fine", "afterthought": ["a"] * 900}), ENDS[CHAT]]
    out, guard, looks = counted(frames)
    assert (guard.blocked, frames[0] in out) == (None, True)
    assert looks >= 900
