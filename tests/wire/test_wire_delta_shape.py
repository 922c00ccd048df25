"""Ordinary deltas are read by their shape, and never otherwise than the full reader would."""

import itertools
import json
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lineclear.domain.exchange import Event, ReasoningDelta, TextDelta
from lineclear.wire.anthropic_messages import ANTHROPIC_MESSAGES
from lineclear.wire.codec import Codec
from lineclear.wire.openai_chat import OPENAI_CHAT
from lineclear.wire.openai_completions import OPENAI_COMPLETIONS

TEXT = b"<text>"

CHAT = b'data: {"id":"c1","model":"m1","choices":[{"index":0,"delta":%b,"finish_reason":%b}]%b}\n\n'
CHAT_FORMS = (
    CHAT % (b'{"content":"<text>"}', b"null", b""),
    CHAT % (b'{"content":"<text>"}', b"null", b',"usage":null,"obfuscation":"<text>"'),
    CHAT % (b'{"content":"<text>"}', b"null", b',"obfuscation":"aX","usage":null'),
    CHAT % (b'{"reasoning_content":"<text>","content":null}', b"null", b""),
    CHAT % (b'{"content":"a","content":"<text>"}', b"null", b""),
    CHAT % (b'{"content":"same"}', b"null", b',"obfuscation":"<text>"'),
    CHAT % (b'{"content":"<text>"}', b'"stop"', b""),
    CHAT % (b"{}", b'"<text>"', b""),
    CHAT % (b'{"content":"<text>"}', b"null", b',"usage":{"prompt_tokens":1,"completion_tokens":2}'),
    CHAT % (b'{"content":"<text>"}', b"null", b',"error":{"message":"<text>"}'),
    CHAT % (b'{"tool_calls":[{"index":0,"id":"t","function":{"name":"f","arguments":"<text>"}}]}', b"null", b""),
    b"event: error\n" + CHAT % (b'{"content":"<text>"}', b"null", b""),
    b": <text>\n\n",
    b"data: <text>\n\n",
    b"data: [DONE]\n\n",
)
COMPLETION_FORMS = (
    b'data: {"id":"c1","choices":[{"index":0,"text":"<text>","finish_reason":null}]}\n\n',
    b'data: {"id":"c1","choices":[{"index":1,"text":"<text>","finish_reason":null}],"obfuscation":"<text>"}\n\n',
    b'data: {"id":"c1","choices":[{"index":0,"text":"<text>","finish_reason":"stop"}]}\n\n',
)
DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b%b}\n\n'
MESSAGE_FORMS = (
    DELTA % (0, b'{"type":"text_delta","text":"<text>"}', b""),
    DELTA % (0, b'{"type":"text_delta","text":"<text>"}', b"      "),
    DELTA % (1, b'{"type":"text_delta","text":"<text>"}', b" "),
    DELTA % (1, b'{"type":"thinking_delta","thinking":"<text>"}', b"  "),
    DELTA % (1, b'{"type":"<text>","text":"text_delta"}', b""),
    DELTA % (2, b'{"type":"input_json_delta","partial_json":"<text>"}', b""),
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"<text>"}}\n\n',
    b'event: <text>\ndata: {"type":"message_stop"}\n\n',
)
DIALECTS: tuple[tuple[Codec, Sequence[bytes]], ...] = (
    (OPENAI_CHAT, CHAT_FORMS),
    (OPENAI_COMPLETIONS, COMPLETION_FORMS),
    (ANTHROPIC_MESSAGES, MESSAGE_FORMS),
)

HOSTILE = [
    b"",
    b'"',
    b"\\",
    b'\\"',
    b'\\\\"',
    b"\\u0041",
    b"\\ud800",
    b"\\ud83d\\ude00",
    b"\\x",
    b"\x00",
    b"\x7f",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xc3\xa9",
    b"\t",
    b"\n",
    b"\n\n",
    b"c1",
    b"m1",
    b"same",
    b"a",
    b"text_delta",
    b'"},"finish_reason":"stop"}]}\n\ndata: {"x":"',
    b'"},"finish_reason":"stop","y":{"z":"',
    b'","error":{"message":"x"},"y":"',
    b'"}}\n\nevent: error\ndata: {"type":"error","error":{"message":"',
    b"[DONE]",
    b"~ probe \xc3\xa9 ~",
    b'"}',
]
PIECES = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=8).map(lambda text: json.dumps(text)[1:-1].encode()),
    st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), max_size=8).map(str.encode),
    st.binary(max_size=6).map(lambda data: data.replace(b"\r", b"")),
)


def events_of(codec: Codec, *reads: bytes) -> list[Event]:
    reader = codec.stream_reader()
    frames = [frame for data in reads for frame in reader.feed(data)] + reader.end()
    assert b"".join(frame.raw for frame in frames) == b"".join(reads)
    return [event for frame in frames for event in frame.events]


def fully_read(codec: Codec, stream: bytes) -> list[Event]:
    """What the full reader says: with other line ends no event has a shape, and the meaning is the same."""
    return events_of(codec, stream.replace(b"\n", b"\r\n"))


@pytest.mark.parametrize(("codec", "forms"), DIALECTS)
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_no_text_is_read_otherwise_than_in_full(codec: Codec, forms: Sequence[bytes], data: st.DataObject) -> None:
    favourite = data.draw(st.sampled_from(forms))
    form = st.one_of(st.just(favourite), st.just(favourite), st.sampled_from(forms))
    written = data.draw(st.lists(st.tuples(form, PIECES | st.just(b" plain")), min_size=1, max_size=10))
    stream = b"".join(part.replace(TEXT, text) for part, text in written)
    wanted = fully_read(codec, stream)
    assert events_of(codec, stream) == wanted
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
    edges = [0, *cuts, len(stream)]
    assert events_of(codec, *[stream[a:b] for a, b in itertools.pairwise(edges)]) == wanted
    by_event = [part.replace(TEXT, text) for part, text in written]
    assert events_of(codec, *by_event) == wanted


@pytest.mark.parametrize(("codec", "forms"), DIALECTS)
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_after_ordinary_ones(codec: Codec, forms: Sequence[bytes], text: bytes) -> None:
    for learned, form in itertools.product(forms, forms):
        before = b"".join(learned.replace(TEXT, word) for word in (b"one", b" two", b" three"))
        stream = before + form.replace(TEXT, text) + form.replace(TEXT, b" four")
        assert events_of(codec, stream) == fully_read(codec, stream)
        assert events_of(codec, before, stream[len(before) :]) == fully_read(codec, stream)


@pytest.mark.parametrize(("codec", "forms"), DIALECTS)
@example(text="")
@example(text='\u2028\U0001f600\x00"\\/')
@given(text=st.text(max_size=30))
@settings(max_examples=100, deadline=None)
def test_any_text_comes_out_as_it_went_in(codec: Codec, forms: Sequence[bytes], text: str) -> None:
    for ascii_only in (True, False):
        said = json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode("utf-8", "replace")
        stream = b"".join(forms[0].replace(TEXT, word) for word in (b"one", b"two", said, b"three"))
        texts = [event.text for event in events_of(codec, stream) if isinstance(event, TextDelta | ReasoningDelta)]
        heard = "".join(texts).removeprefix("onetwo").removesuffix("three")
        assert heard == said.decode() or json.loads(b'"' + said + b'"') == heard


def test_a_shape_that_the_full_reader_does_not_confirm_is_none() -> None:
    form = CHAT % (b'{"content":"\\u0073ame"}', b"null", b',"note":"<text>"')
    stream = b"".join(form.replace(TEXT, word) for word in (b"x", b"same", b"other", b"third"))
    texts = [event.text for event in events_of(OPENAI_CHAT, stream) if isinstance(event, TextDelta)]
    assert texts == ["same"] * 4
