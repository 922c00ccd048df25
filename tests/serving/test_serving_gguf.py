"""The gguf engine with a real language model: both dialects, whole and streamed, limits and cancellation."""

import base64
import hashlib
import json
import stat
import struct
import time
from collections.abc import Callable
from operator import mul
from pathlib import Path
from typing import Any

import pytest

from lineclear.domain.exchange import Finished, StopReason, Terminated, TextDelta, UsageReported
from lineclear.testing.hosted import HostedModel, smollm2_spec
from lineclear.wire.anthropic_messages import ANTHROPIC_MESSAGES
from lineclear.wire.codec import Codec
from lineclear.wire.openai_chat import OPENAI_CHAT
from lineclear.wire.openai_completions import OPENAI_COMPLETIONS

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
MESSAGES = "/v1/messages"
DIALECTS = [(CHAT, OPENAI_CHAT), (MESSAGES, ANTHROPIC_MESSAGES)]
LONG = {"max_tokens": 3500, "ignore_eos": True}


def body(text: str = "Say hello.", **more: object) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": "smollm2", "max_tokens": 8, "temperature": 0, "messages": messages, **more}


def stream_events(codec: Codec, data: bytes) -> list[Any]:
    reader = codec.stream_reader()
    return [event for frame in [*reader.feed(data), *reader.end()] for event in frame.events]


def text_of(events: Any) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def usage_of(events: Any) -> Any:
    return [event.usage for event in events if isinstance(event, UsageReported)][-1]


def test_the_model_is_verified_loaded_and_warmed(start: Callable[..., HostedModel]) -> None:
    runtime = start(smollm2_spec("states"))
    runtime.wait_for("ready")
    engine_dirs = [path for path in runtime.run_dir.glob("eng-*") if path.name.endswith(str(runtime.process.pid))]

    assert [stat.S_IMODE(path.stat().st_mode) for path in engine_dirs] == [0o700]
    assert runtime.drain() == 0
    runtime.wait_for("unloaded")
    states = ["waiting", "queued", "verifying", "loading", "warming", "ready", "draining", "unloaded"]
    assert runtime.names() == states
    assert not engine_dirs[0].exists()
    assert all(json.loads(line)["role"] == "runtime.states" for line in runtime.log_text().splitlines())


@pytest.mark.parametrize(("path", "codec"), DIALECTS)
def test_whole_and_streamed_answers(smollm2: HostedModel, path: str, codec: Codec) -> None:
    whole = smollm2.call(path, body())
    streamed = smollm2.call(path, body(stream=True, stream_options={"include_usage": True}))

    assert whole.status == streamed.status == 200
    whole_events, events = codec.read_whole(whole.body), stream_events(codec, streamed.body)
    assert text_of(whole_events) == text_of(events) != ""
    assert isinstance(events[-1], Terminated)
    assert next(event.reason for event in events if isinstance(event, Finished)) is StopReason.LENGTH
    # The engine's cache moves input tokens between buckets, never their sum.
    assert usage_of(whole_events).total_input_tokens == usage_of(events).total_input_tokens > 8
    assert usage_of(whole_events).output_tokens == usage_of(events).output_tokens == 8
    assert whole.json["model"] == "smollm2"


def test_the_file_path_never_leaves(smollm2: HostedModel) -> None:
    answers = [
        smollm2.call(CHAT, body(model="/etc/passwd")),
        smollm2.call(CHAT, body(n=2)),
        smollm2.call(CHAT, body(stream=True)),
        smollm2.call(MESSAGES, body()),
        smollm2.call(CHAT, body("word " * 3000)),
        smollm2.call("/readyz"),
    ]

    assert not [answer for answer in answers if b".gguf" in answer.body or b"/etc/" in answer.body]


@pytest.mark.parametrize("path", ["/v1/models", "/slots", "/props", "/metrics", "/"])
def test_the_engines_own_pages_are_not_reachable(smollm2: HostedModel, path: str) -> None:
    assert smollm2.call(path).status == 404


def test_log_probabilities_come_as_the_engine_gives_them(smollm2: HostedModel) -> None:
    assert smollm2.call(CHAT, body(logprobs=True, top_logprobs=2)).json["choices"][0]["logprobs"]["content"]


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (CHAT, {"n": 2}, "n"),
        (COMPLETIONS, {"n": 2}, "n"),
        (COMPLETIONS, {"prompt": ["a", "b"]}, "prompt"),
        (COMPLETIONS, {"best_of": 2}, "best_of"),
        (COMPLETIONS, {"echo": True}, "echo"),
        (COMPLETIONS, {"suffix": "end"}, "suffix"),
    ],
)
def test_what_the_engine_would_ignore_or_miscount_is_refused(
    smollm2: HostedModel, path: str, fields: dict[str, Any], param: str
) -> None:
    answer = smollm2.call(path, body(**{"prompt": "Once", **fields}))
    assert (answer.status, answer.json["error"]["param"]) == (400, param)
    assert answer.json["error"]["hint"]


@pytest.mark.parametrize("prompt", ["Once upon a time", ["Once upon a time"], [504, 3, 253, 655]])
def test_a_completion_goes_on_with_the_prompt(smollm2: HostedModel, prompt: object) -> None:
    asked: dict[str, Any] = {"model": "smollm2", "prompt": prompt, "max_tokens": 8, "temperature": 0}
    whole = smollm2.call(COMPLETIONS, asked)
    streamed = smollm2.call(COMPLETIONS, {**asked, "stream": True, "stream_options": {"include_usage": True}})

    assert whole.json["object"] == "text_completion"
    assert whole.json["model"] == "smollm2"
    whole_events = OPENAI_COMPLETIONS.read_whole(whole.body)
    events = stream_events(OPENAI_COMPLETIONS, streamed.body)
    assert text_of(whole_events) == text_of(events) != ""
    assert next(event.reason for event in events if isinstance(event, Finished)) is StopReason.LENGTH
    assert isinstance(events[-1], Terminated)
    assert usage_of(events).output_tokens == usage_of(whole_events).output_tokens == 8
    assert smollm2.call(COMPLETIONS, {**asked, "logprobs": 2}).json["choices"][0]["logprobs"]


def test_a_chat_model_is_not_asked_for_vectors(smollm2: HostedModel) -> None:
    answer = smollm2.call("/v1/embeddings", {"model": "smollm2", "input": "hello"})
    assert answer.status == 400
    assert "/v1/completions" in answer.json["error"]["hint"]


def test_loaded_for_embeddings_it_answers_nothing_else(start: Callable[..., HostedModel]) -> None:
    settings = {"task": "embeddings", "pooling": "mean", "context": 128}
    runtime = start({**smollm2_spec("vectors"), "settings": settings})
    runtime.wait_for("ready")
    assert "vector of 576 dimensions" in runtime.states[-1]["reason"]

    def ask(given: object, **more: object) -> Any:
        return runtime.call("/v1/embeddings", {"model": "m", "input": given, **more})

    numbers = ask(["The cat sleeps.", "A cat is asleep.", "Interest rates rose."]).json
    packed = ask(["The cat sleeps.", [1, 2, 3]], encoding_format="base64").json
    first, near, far = (item["embedding"] for item in numbers["data"])
    assert sum(map(mul, first, near)) > sum(map(mul, first, far))
    assert list(struct.unpack("<576f", base64.b64decode(packed["data"][0]["embedding"]))) == pytest.approx(first)
    assert numbers["usage"]["prompt_tokens"] == numbers["usage"]["total_tokens"] > 9
    assert numbers["model"] == "smollm2"
    short = ask("word " * 100)
    assert short.status == 200
    for given, more, param in (
        ("word " * 200, {}, "input"),
        (["x", "word " * 200], {}, "input.1"),
        ([1] * 200, {}, "input.0"),
        ("", {}, "input"),
        ("x", {"dimensions": 5}, "dimensions"),
    ):
        refused = ask(given, **more)
        assert (refused.status, refused.json["error"]["param"]) == (400, param)
    chat = runtime.call(CHAT, body())
    assert chat.status == 400
    assert "/v1/embeddings" in chat.json["error"]["hint"]


def test_count_tokens(smollm2: HostedModel) -> None:
    counted = smollm2.call("/v1/messages/count_tokens", body()).json["input_tokens"]

    assert counted == usage_of(ANTHROPIC_MESSAGES.read_whole(smollm2.call(MESSAGES, body()).body)).total_input_tokens


@pytest.mark.parametrize(("path", "codec"), DIALECTS)
@pytest.mark.parametrize("stream", [True, False])
def test_too_long_a_prompt_is_the_callers_error(smollm2: HostedModel, path: str, codec: Codec, stream: bool) -> None:
    answer = smollm2.call(path, body("word " * 3000, stream=stream))

    assert answer.status == 400
    assert "context" in codec.read_error(answer.body)[1]
    assert ("type" in answer.json) == (path == MESSAGES)


def test_a_request_without_a_cap_does_not_ramble_to_the_end_of_the_context(
    start: Callable[..., HostedModel],
) -> None:
    runtime = start(smollm2_spec("capped", output_tokens=12))
    runtime.wait_for("ready")
    asked = {**body("Tell a long story.", ignore_eos=True)}
    del asked["max_tokens"]
    answer = runtime.call(CHAT, asked)
    assert usage_of(OPENAI_CHAT.read_whole(answer.body)).output_tokens == 12
    runtime.drain()


@pytest.mark.parametrize(("path", "codec"), DIALECTS)
@pytest.mark.parametrize("stream", [True, False])
def test_no_name_of_the_engines_own_gets_past_the_cap(
    smollm2: HostedModel, path: str, codec: Codec, stream: bool
) -> None:
    own = {"n_predict": 40, "n_cmpl": 2, "num_predict": 40, "max_new_tokens": 40, "max_output_tokens": 40}
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    answer = smollm2.call(path, body("Tell a long story.", ignore_eos=True, **{"max_tokens": 3, **own}, **options))
    events = stream_events(codec, answer.body) if stream else codec.read_whole(answer.body)
    assert usage_of(events).output_tokens == 3
    assert sum(isinstance(event, Finished) for event in events) == 1


@pytest.mark.parametrize("cap", [{"max_completion_tokens": 3}, {"max_completion_tokens": 3, "max_tokens": 40}])
def test_either_name_of_the_dialects_cap_holds(smollm2: HostedModel, cap: dict[str, int]) -> None:
    asked = {**body("Tell a long story.", ignore_eos=True, n_predict=40)}
    del asked["max_tokens"]
    answer = smollm2.call(CHAT, {**asked, **cap})
    assert usage_of(OPENAI_CHAT.read_whole(answer.body)).output_tokens == 3


def test_a_real_model_obeys_no_simulation(smollm2: HostedModel) -> None:
    answer = smollm2.call(CHAT, body(), {"x-lineclear-simulate": "status=503"})

    assert (answer.status, answer.json["error"]["code"]) == (400, "simulate_forbidden")


def test_hanging_up_stops_the_engine(start: Callable[..., HostedModel]) -> None:
    # One slot, and answers of well over 20 s: the next caller is served soon only if the work before was stopped.
    runtime = start(smollm2_spec("cancel", slots=1, context=4096))
    runtime.wait_for("ready")
    for stream in (True, False):
        abandoned = runtime.open(CHAT, body("Tell a long story.", **{**LONG, "stream": stream}))
        while runtime.facts()["running"] != 1:
            time.sleep(0.01)
        abandoned.close()

        asked = time.monotonic()
        assert runtime.call(CHAT, body()).status == 200
        assert time.monotonic() - asked < 10


def test_a_busy_engine_that_steps_is_not_stalled(start: Callable[..., HostedModel]) -> None:
    runtime = start(smollm2_spec("steps", slots=1, context=1024, stall_s=1))
    runtime.wait_for("ready")

    answer = runtime.call(CHAT, body("Tell a long story.", max_tokens=200, ignore_eos=True))
    assert answer.json["usage"]["completion_tokens"] == 200
    assert runtime.process.poll() is None


def test_a_file_that_is_no_model_is_refused(start: Callable[..., HostedModel], tmp_path: Path) -> None:
    from_text, cut = tmp_path / "text.gguf", tmp_path / "cut.gguf"
    from_text.write_bytes(b"a" * 64)
    cut.write_bytes(Path(str(smollm2_spec("x")["artifact"])).read_bytes()[:1_000_000])

    for path, reason in ((from_text, "is no GGUF file"), (cut, "could not load")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        runtime = start({**smollm2_spec("bad"), "artifact": str(path), "sha256": digest})
        assert reason in runtime.wait_for("failed")["reason"]
        assert runtime.process.wait(20) == 1
