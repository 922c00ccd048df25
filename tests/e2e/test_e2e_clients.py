"""The official SDKs against the running platform: whole and streamed, headers, and one cost everywhere."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import anthropic
import openai
import pytest

from lineclear.testing import manifests
from lineclear.testing.load import Call, chat_call, messages_call
from lineclear.testing.manifests import Document
from lineclear.testing.stage import Stage

EXPECTED_HEADERS = (
    "x-request-id",
    "request-id",
    "x-lineclear-route",
    "x-lineclear-release",
    "x-lineclear-revision",
    "x-lineclear-model",
    "x-lineclear-provider",
    "x-lineclear-environment",
    "x-lineclear-attempts",
    "x-lineclear-fallback",
    "x-lineclear-cache",
)


def documents(port: int) -> list[Document]:
    return [
        manifests.team(),
        manifests.provider("vendor", port, "openai", credential="${VENDOR_KEY}"),
        manifests.provider("claude", port, "anthropic", path="", credential="${VENDOR_KEY}"),
        manifests.model("chatty", "vendor"),
        manifests.model("talky", "claude"),
        manifests.route("chat", "chatty", environments=("test", "live")),
        manifests.route("talk", "talky", environments=("test", "live")),
        manifests.route("paid", "chatty", budget={"usd_per_month": "5", "mode": "strict"}),
    ]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    environment = {**child_environment, "VENDOR_KEY": "vendor-secret-1"}
    with Stage(tmp_path_factory.mktemp("clients"), documents, environment=environment) as stage:
        yield stage


@pytest.mark.parametrize("route", ["simulated", "chat"])
def test_openai_client_whole_and_streamed(stage: Stage, route: str) -> None:
    with openai.OpenAI(base_url=stage.platform.gateway_url + "/v1", api_key=stage.key, max_retries=0) as client:
        whole = client.chat.completions.create(model=route, messages=[{"role": "user", "content": "Say hello"}])
        assert whole.choices[0].message.content
        assert whole.choices[0].finish_reason in {"stop", "length"}
        assert whole.usage is not None
        assert whole.usage.completion_tokens > 0
        chunks = list(
            client.chat.completions.create(
                model=route, messages=[{"role": "user", "content": "Say hello"}], stream=True
            )
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == whole.choices[0].message.content
        assert all(chunk.choices for chunk in chunks), "a usage chunk that the caller did not ask for came through"
        with_usage = list(
            client.chat.completions.create(
                model=route,
                messages=[{"role": "user", "content": "Say hello"}],
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        assert with_usage[-1].usage is not None
        names = {entry.id for entry in client.models.list()}
        assert {"simulated", "chat", "talk"} <= names


@pytest.mark.parametrize("route", ["simulated", "talk"])
def test_anthropic_client_whole_and_streamed(stage: Stage, route: str) -> None:
    with anthropic.Anthropic(base_url=stage.platform.gateway_url, api_key=stage.key, max_retries=0) as client:
        asked: Any = {"model": route, "max_tokens": 64, "messages": [{"role": "user", "content": "Say hello"}]}
        whole = client.messages.create(**asked)
        assert whole.content[0].type == "text"
        assert whole.usage.output_tokens > 0
        with client.messages.stream(**asked) as stream:
            message = stream.get_final_message()
        assert message.content[0].type == "text"
        assert message.content[0].text == whole.content[0].text
        assert message.stop_reason == whole.stop_reason
        counted = client.messages.count_tokens(model=route, messages=asked["messages"])
        assert counted.input_tokens > 0


def test_same_dialect_streams_travel_byte_for_byte(stage: Stage) -> None:
    for call, model in (
        (chat_call(stage.key, "chat", "compare", stream=True, stream_options={"include_usage": True}), "chatty"),
        (messages_call(stage.key, "talk", "compare", stream=True), "talky"),
    ):
        tree = {**json.loads(call.body), "model": model}
        direct = stage.call_vendor(Call(call.path, {}, json.dumps(tree).encode()))
        through = stage.call(call)
        comments = [line for line in through.body.split(b"\n\n") if line.startswith(b": lineclear cost-usd=")]
        assert len(comments) == 1
        assert through.body.replace(comments[0] + b"\n\n", b"") == direct.body


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("make", "route"), [(chat_call, "chat"), (messages_call, "talk"), (chat_call, "simulated")])
def test_headers_of_the_contract(stage: Stage, make: Any, route: str, stream: bool) -> None:
    answer = stage.call(make(stage.key, route, "headers", stream=stream))
    assert answer.failure == ""
    missing = [name for name in EXPECTED_HEADERS if name not in answer.headers]
    assert missing == []
    assert answer.headers["x-request-id"] == answer.headers["request-id"]
    assert answer.headers["x-lineclear-route"] == route
    assert answer.headers["x-lineclear-attempts"] == "1"
    assert answer.headers["x-lineclear-fallback"] == "false"
    assert answer.headers["x-lineclear-environment"] == "live"
    assert answer.headers["x-lineclear-cache"] == "off"
    assert answer.headers["x-lineclear-release"].startswith("rel_")
    assert len(answer.headers["x-lineclear-release"]) == len("rel_") + 16
    assert "@" in answer.headers["x-lineclear-model"]
    assert ("x-lineclear-cost-usd" in answer.headers) is not stream


@pytest.mark.parametrize("stream", [False, True])
def test_one_cost_in_header_explain_usage_and_logs(stage: Stage, stream: bool) -> None:
    before = usage_row(stage, "paid")
    answer = stage.call(chat_call(stage.key, "paid", f"cost {stream} [[tokens=37]]", stream=stream, max_tokens=100))
    assert answer.failure == ""
    (dispatch,) = stage.dispatches_of(answer.request_id)
    usage = dispatch["usage"]
    expected = Decimal(usage["input_tokens"]) * Decimal(manifests.INPUT_PER_MTOK_USD) / 1_000_000
    expected += Decimal(usage["output_tokens"]) * Decimal(manifests.OUTPUT_PER_MTOK_USD) / 1_000_000
    told = stream_cost(answer.body) if stream else answer.headers["x-lineclear-cost-usd"]
    assert Decimal(told) == expected
    explained = stage.explain(answer.request_id)
    assert explained["cost_usd"] == told
    assert explained["cost_basis"] == "priced"
    after = usage_row(stage, "paid")
    assert after["requests"] - before["requests"] == 1
    assert Decimal(after["cost_usd"]) - Decimal(before["cost_usd"]) == expected
    lines = [json.loads(line) for line in stage.platform.cli("logs", "-o", "jsonl").stdout.splitlines()]
    (line,) = [line for line in lines if answer.request_id in line.values()]
    assert line["cost_usd"] == told


def test_a_vendors_credential_is_sent_and_ours_is_not(stage: Stage) -> None:
    answer = stage.call(chat_call(stage.key, "chat", "who"))
    (dispatch,) = stage.dispatches_of(answer.request_id)
    assert dispatch["key_sha256"] == hashed("Bearer vendor-secret-1")
    answer = stage.call(messages_call(stage.key, "talk", "who"))
    (dispatch,) = stage.dispatches_of(answer.request_id)
    assert dispatch["key_sha256"] == hashed("vendor-secret-1")
    assert "vendor-secret-1" not in stage.platform.log_tail()


def test_refusals_say_what_to_do(stage: Stage) -> None:
    unknown = stage.call(chat_call("lc_live_nobody_x", "chat", "x"))
    assert (unknown.status, unknown.json["error"]["code"]) == (401, "invalid_api_key")
    missing = stage.call(chat_call(stage.key, "no-such-route", "x"))
    assert (missing.status, missing.json["error"]["code"]) == (404, "model_not_found")
    assert "chat" in missing.body.decode()
    other = stage.call(messages_call(stage.platform.keys["test"], "paid", "x"))
    assert other.status == 404
    assert other.json["type"] == "error"
    for answer in (unknown, missing, other):
        assert answer.request_id


def usage_row(stage: Stage, route: str) -> dict[str, Any]:
    rows = stage.platform.cli_json("usage", "--by", "route")["rows"]
    return next((row for row in rows if row["route"] == route), {"requests": 0, "cost_usd": "0"})


def stream_cost(body: bytes) -> str:
    (comment,) = [line for line in body.decode().split("\n\n") if line.startswith(": lineclear cost-usd=")]
    return comment.removeprefix(": lineclear cost-usd=").partition(" ")[0]


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
