"""The simulated engine through its own process: answers, faults, and what its documentation promises."""

import http.client
import json
import re
from pathlib import Path
from typing import Any

import pytest

from lineclear.domain.errors import CallerError, ErrorCode
from lineclear.domain.exchange import Failed, Finished, StopReason, Terminated, TextDelta, UsageReported
from lineclear.serving.simulate import DIRECTIVES, FaultKind, read_directives
from lineclear.testing.hosted import HostedModel
from lineclear.wire.anthropic_messages import ANTHROPIC_MESSAGES
from lineclear.wire.codec import Codec
from lineclear.wire.openai_chat import OPENAI_CHAT
from lineclear.wire.openai_completions import OPENAI_COMPLETIONS

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
COMPLETIONS = "/v1/completions"
DIALECTS = [(CHAT, OPENAI_CHAT), (MESSAGES, ANTHROPIC_MESSAGES), (COMPLETIONS, OPENAI_COMPLETIONS)]
DOCS = Path(__file__).parents[2] / "docs" / "simulated.md"


def body(text: str = "hello", **more: object) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": "simulated", "max_tokens": 1000, "messages": messages, "prompt": text, **more}


def simulate(directives: str) -> dict[str, str]:
    return {"x-lineclear-simulate": directives}


def stream_events(codec: Codec, data: bytes) -> list[Any]:
    reader = codec.stream_reader()
    return [event for frame in [*reader.feed(data), *reader.end()] for event in frame.events]


def text_of(events: Any) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize(("path", "codec"), DIALECTS)
def test_whole_and_streamed_answers_say_the_same(simulated: HostedModel, path: str, codec: Codec) -> None:
    whole = simulated.call(path, body())
    again = simulated.call(path, body())
    streamed = simulated.call(path, body(stream=True, stream_options={"include_usage": True}))

    assert whole.status == streamed.status == 200
    assert whole.body == again.body
    events = stream_events(codec, streamed.body)
    assert text_of(events) == text_of(codec.read_whole(whole.body))
    assert text_of(events).startswith("This answer is simulated:")
    assert isinstance(events[-1], Terminated)
    assert streamed.headers["content-type"] == "text/event-stream"
    whole_usage = [event.usage for event in codec.read_whole(whole.body) if isinstance(event, UsageReported)][-1]
    assert [event.usage for event in events if isinstance(event, UsageReported)][-1] == whole_usage
    assert whole_usage.output_tokens == sum(isinstance(event, TextDelta) for event in events)


def test_other_messages_get_another_answer(simulated: HostedModel) -> None:
    assert simulated.call(CHAT, body("one")).body != simulated.call(CHAT, body("two")).body


@pytest.mark.parametrize(("path", "codec"), DIALECTS)
def test_length_follows_directive_and_cap(simulated: HostedModel, path: str, codec: Codec) -> None:
    def end_of(answer: bytes) -> tuple[int, StopReason]:
        events = codec.read_whole(answer)
        usage = [event.usage for event in events if isinstance(event, UsageReported)][-1]
        return usage.output_tokens, next(event.reason for event in events if isinstance(event, Finished))

    assert end_of(simulated.call(path, body(), simulate("tokens=37")).body) == (37, StopReason.END)
    assert end_of(simulated.call(path, body(max_tokens=5), simulate("tokens=37")).body) == (5, StopReason.LENGTH)


def test_an_openai_stream_tells_usage_only_when_asked(simulated: HostedModel) -> None:
    events = stream_events(OPENAI_CHAT, simulated.call(CHAT, body(stream=True)).body)

    assert not any(isinstance(event, UsageReported) for event in events)
    assert isinstance(events[-1], Terminated)


@pytest.mark.parametrize(("path", "codec"), DIALECTS)
def test_usage_can_be_kept_back(simulated: HostedModel, path: str, codec: Codec) -> None:
    asked = body(stream=True, stream_options={"include_usage": True})
    answer = simulated.call(path, asked, simulate("usage=none, tokens=3"))

    counted = [
        event.usage.output_tokens for event in stream_events(codec, answer.body) if isinstance(event, UsageReported)
    ]
    assert sum(counted) == 0


@pytest.mark.parametrize(("path", "codec"), DIALECTS)
def test_an_error_answer_has_the_asked_status_in_the_dialect(simulated: HostedModel, path: str, codec: Codec) -> None:
    answer = simulated.call(path, body(), simulate("status=503,retry-after=2"))

    assert answer.status == 503
    assert answer.headers["retry-after"] == "2"
    assert "simulated" in codec.read_error(answer.body)[1]
    assert simulated.call(path, body(), simulate("status=418")).status == 418


@pytest.mark.parametrize(("path", "codec"), DIALECTS)
@pytest.mark.parametrize("fault", ["cut-after=5", "end-after=5", "error-after=5"])
def test_a_stream_fails_after_the_asked_pieces(simulated: HostedModel, path: str, codec: Codec, fault: str) -> None:
    connection = simulated.open(path, body(stream=True), simulate(fault))
    received = b""
    was_cut = False
    try:
        response = connection.getresponse()
        while part := response.read1():
            received += part
    except (http.client.IncompleteRead, ConnectionResetError):
        was_cut = True
    finally:
        connection.close()

    events = stream_events(codec, received)
    assert sum(isinstance(event, TextDelta) for event in events) == 5
    assert not any(isinstance(event, Terminated | Finished) for event in events)
    assert was_cut == fault.startswith("cut")
    assert any(isinstance(event, Failed) for event in events) == fault.startswith("error")


@pytest.mark.parametrize(("path", "codec"), DIALECTS)
def test_an_error_event_names_the_callers_request_and_whose_fault_it_is(
    simulated: HostedModel, path: str, codec: Codec
) -> None:
    exchange = "req_" + "0" * 27 + "1"
    answer = simulated.call(
        path, body(stream=True), {**simulate("tokens=3,error-after=1"), "x-request-id": f"{exchange}.1"}
    )
    event = answer.body.rpartition(b"data: ")[2]
    error = json.loads(event)["error"]
    assert (error["code"], error["request_id"]) == ("upstream_error", exchange)
    assert b"internal_error" not in answer.body
    assert f"{exchange}.1".encode() not in answer.body


def test_a_whole_answer_fails_too(simulated: HostedModel) -> None:
    assert simulated.call(CHAT, body(), simulate("error-after=1")).status == 500
    with pytest.raises(ValueError, match=r"."):
        OPENAI_CHAT.read_whole(simulated.call(CHAT, body(), simulate("end-after=1")).body)
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        simulated.call(CHAT, body(), simulate("cut-after=1"))


def test_a_fault_behind_the_end_never_comes(simulated: HostedModel) -> None:
    assert simulated.call(CHAT, body(), simulate("tokens=4,cut-after=5")).status == 200


def test_count_tokens(simulated: HostedModel) -> None:
    count = simulated.call("/v1/messages/count_tokens", body("hello there")).json["input_tokens"]

    whole = simulated.call(MESSAGES, body("hello there")).json
    assert count == whole["usage"]["input_tokens"] > 0


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "status=200",
        "status",
        "tokens=0",
        "tokens=99999",
        "hang=1",
        "usage=all",
        "tokens=-1",
        "tokens=1,tokens=2",
        "cut-after=1,end-after=2",
        "retry-after=1",
        "x" * 600,
        "tokens=¹",
    ],
)
def test_a_word_that_is_not_in_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(CallerError) as refused:
        read_directives(text)

    assert refused.value.code is ErrorCode.INVALID_HEADER


def test_refused_requests_are_told_in_the_dialect(simulated: HostedModel) -> None:
    bad_header = simulated.call(MESSAGES, body(), simulate("nonsense"))
    assert (bad_header.status, bad_header.json["type"]) == (400, "error")
    assert simulated.call(CHAT, b"{").status == 400
    assert simulated.call(CHAT, body(n=2)).json["error"]["param"] == "n"
    assert simulated.call(CHAT, method="GET").status == 405
    assert simulated.call("/v1/nothing").status == 404


def test_the_grammar_is_documented() -> None:
    documented = set(re.findall(r"^\| `([a-z-]+)(?:=[^`]*)?` \|", DOCS.read_text(), flags=re.MULTILINE))

    assert documented == set(DIRECTIVES)


def test_directives_are_read_whole() -> None:
    read = read_directives(" status=429 , retry-after=7,delay-ms=1,event-delay-ms=2,tokens=3,hang-after=4,usage=none")

    assert (read.status, read.retry_after, read.delay_ms, read.event_delay_ms, read.tokens) == (429, 7, 1, 2, 3)
    assert (read.fault, read.fault_after, read.usage, read.hang, read.stall) == (FaultKind.HANG, 4, False, False, False)
