"""The scripted upstream does what its scripts say, and its log holds every dispatch."""

import asyncio
import json
import time
from collections.abc import Iterator

import anthropic
import openai
import pytest

from lineclear.testing.blackhole import Blackhole, closed_port
from lineclear.testing.load import Call, CallResult, LoadConnection, chat_call, closed_loop, messages_call, open_loop
from lineclear.testing.script import parse_script
from lineclear.testing.upstream_process import UpstreamProcess


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpstreamProcess]:
    with UpstreamProcess(tmp_path_factory.mktemp("upstream") / "dispatches.jsonl") as process:
        yield process


def url_of(upstream: UpstreamProcess) -> str:
    return f"http://127.0.0.1:{upstream.port}"


def one(upstream: UpstreamProcess, call: Call, deadline_s: float = 10.0) -> CallResult:
    async def run() -> CallResult:
        connection = LoadConnection(url_of(upstream), deadline_s)
        try:
            return await connection.call(call)
        finally:
            await connection.close()

    return asyncio.run(run())


def test_official_clients_read_its_answers(upstream: UpstreamProcess) -> None:
    with openai.OpenAI(base_url=upstream.base_url, api_key="k") as client:
        whole = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello [[tokens=3]]"}])
        assert whole.choices[0].message.content == "w0 w1 w2 "
        assert whole.usage is not None
        assert whole.usage.completion_tokens == 3
        chunks = list(
            client.chat.completions.create(
                model="m",
                messages=[{"role": "user", "content": "hello [[tokens=3]]"}],
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "w0 w1 w2 "
        assert chunks[-1].usage is not None
    with anthropic.Anthropic(base_url=url_of(upstream), api_key="k") as anthropic_client:
        with anthropic_client.messages.stream(
            model="m", max_tokens=20, messages=[{"role": "user", "content": "hello [[tokens=4]]"}]
        ) as stream:
            message = stream.get_final_message()
        assert message.usage.output_tokens == 4
        assert message.stop_reason == "end_turn"
    lines = upstream.dispatches()
    assert [line["usage"]["output_tokens"] for line in lines[-3:]] == [3, 3, 4]


@pytest.mark.parametrize("make", [chat_call, messages_call])
@pytest.mark.parametrize("stream", [False, True])
def test_same_request_gives_same_bytes(upstream: UpstreamProcess, make, stream: bool) -> None:  # type: ignore[no-untyped-def]  # two call makers
    first, second = (one(upstream, make("k", "m", "the same", stream=stream)) for _ in range(2))
    assert first.failure == second.failure == ""
    assert first.body == second.body


@pytest.mark.parametrize(
    ("script", "stream", "failure"),
    [
        ("status=503,retry-after=2", False, "status 503 overloaded_error"),
        ("cut-after=5", True, "cut"),
        ("cut-after=5", False, "cut"),
        ("rst-after=5", True, "cut"),
        ("reset-head", False, "cut"),
        ("no-terminator", True, "unterminated"),
        ("end-after=3", True, "unterminated"),
        ("error-after=0", True, "unterminated"),
        ("error-after=2", True, "unterminated"),
        ("malformed-after=2", True, ""),
        ("html", False, ""),
        ("hang", False, "timeout"),
        ("hang-after=3", True, "timeout"),
        ("trickle-ms=1,tokens=1", True, ""),
    ],
)
def test_faults_happen_as_scripted(upstream: UpstreamProcess, script: str, stream: bool, failure: str) -> None:
    upstream.script("faulty", following=[script])
    deadline_s = 0.3 if failure == "timeout" else 10.0
    assert one(upstream, chat_call("k", "faulty", "x", stream=stream), deadline_s).failure == failure
    assert one(upstream, chat_call("k", "faulty", "x", stream=stream)).failure == ""


def test_a_hang_up_is_noticed(upstream: UpstreamProcess) -> None:
    call = chat_call("k", "m", "[[hang]]")
    before = len(upstream.facts()["hung_up"])
    assert one(upstream, Call(call.path, {**call.headers, "x-request-id": "req_1.1"}, call.body), 0.2).failure
    deadline = time.monotonic() + 5
    while len(upstream.facts()["hung_up"]) == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert upstream.facts()["hung_up"][-1]["x_request_id"] == "req_1.1"
    assert upstream.dispatches()[-1]["x_request_id"] == "req_1.1"


def test_unknown_words_are_refused(upstream: UpstreamProcess) -> None:
    with pytest.raises(ValueError, match="explode"):
        parse_script("explode")
    with pytest.raises(ValueError, match="takes no value"):
        parse_script("hang=1")


def test_load_counts_every_call(upstream: UpstreamProcess) -> None:
    before = len(upstream.dispatches())
    report = asyncio.run(
        closed_loop(
            url_of(upstream),
            lambda n: chat_call("k", "m", f"{n} [[{'status=500' if n % 10 == 0 else 'tokens=2'}]]", stream=n % 2 == 1),
            connections=16,
            count=200,
        )
    )
    assert len(report.results) == 200
    assert report.failures == {"status 500 server_error": 20}
    assert 0 < report.latency_us(0.5) <= report.latency_us(0.99)
    report = asyncio.run(open_loop(url_of(upstream), lambda n: chat_call("k", "m", str(n)), rate_per_s=500, count=50))
    assert len(report.ok) == 50
    assert len(upstream.dispatches()) == before + 250


def test_addresses_below_http() -> None:
    call = chat_call("k", "m", "x")
    refused = asyncio.run(LoadConnection(f"http://127.0.0.1:{closed_port()}").call(call))
    assert refused.failure == "connect"
    with Blackhole() as hole:
        silent = asyncio.run(LoadConnection(f"http://127.0.0.1:{hole.port}", 0.3).call(call))
    assert silent.failure == "timeout"
    assert silent.status == 0


def test_reused_connections_can_be_cut(upstream: UpstreamProcess) -> None:
    upstream.script("idle", always="close-reused")

    async def twice() -> list[str]:
        connection = LoadConnection(url_of(upstream))
        results = [await connection.call(chat_call("k", "idle", "x")) for _ in range(2)]
        await connection.close()
        return [result.failure for result in results]

    before = len(upstream.dispatches())
    assert asyncio.run(twice()) == ["", "cut"]
    assert len(upstream.dispatches()) == before + 1
    assert json.loads(upstream.log_path.read_text().splitlines()[-1])["model"] == "idle"
