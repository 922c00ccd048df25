"""Embeddings, completions and classification on the running platform: the official SDK, the ledger, who cannot."""

import asyncio
import base64
import json
import struct
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import openai
import pytest

from lineclear.testing import manifests
from lineclear.testing.load import chat_call, classify_call, completions_call, embeddings_call
from lineclear.testing.manifests import Document
from lineclear.testing.stage import Stage

ROUTES = pytest.mark.parametrize("route", ["simulated", "open"])


def documents(port: int) -> list[Document]:
    return [
        manifests.team(),
        manifests.provider("vendor", port, "openai"),
        manifests.provider("claude", port, "anthropic", path=""),
        manifests.model("able", "vendor"),
        manifests.model("talky", "claude"),
        manifests.model("vectors", "vendor", operations=["embeddings"]),
        manifests.route("index", "vectors"),
        manifests.route("either", "vectors", "able"),
        manifests.route("open", "able", environments=("test", "live")),
        manifests.route("talk", "talky"),
        manifests.route("paid", "able", budget={"usd_per_month": "5", "mode": "strict"}),
    ]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("operations"), documents, environment=child_environment) as stage:
        yield stage


@pytest.fixture(scope="module")
def client(stage: Stage) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=stage.platform.gateway_url + "/v1", api_key=stage.key, max_retries=0) as client:
        yield client


@ROUTES
@pytest.mark.parametrize("given", ["one text", ["first", "second"], [7, 8, 9], [[1, 2], [3]]])
def test_the_client_reads_the_same_vectors_from_base64_and_from_numbers(
    client: openai.OpenAI, route: str, given: Any
) -> None:
    asked: Any = {"model": route, "input": given, "dimensions": 16, "user": "u-1"}
    packed = client.embeddings.create(**asked)  # the client asks for base64 and unpacks it
    numbers = client.embeddings.create(**asked, encoding_format="float")
    raw = client.embeddings.create(**asked, encoding_format="base64")
    vectors = [item.embedding for item in packed.data]
    assert vectors == [item.embedding for item in numbers.data]
    unpacked = [list(struct.unpack("<16f", base64.b64decode(str(item.embedding)))) for item in raw.data]
    assert unpacked == vectors
    assert [item.index for item in packed.data] == list(range(len(vectors)))
    assert {len(vector) for vector in vectors} == {16}
    assert packed.usage.prompt_tokens == packed.usage.total_tokens == numbers.usage.prompt_tokens > 0


@ROUTES
def test_the_client_reads_completions_whole_and_streamed(client: openai.OpenAI, route: str) -> None:
    whole = client.completions.create(model=route, prompt="Once upon a time", max_tokens=64)
    assert whole.object == "text_completion"
    assert whole.choices[0].text
    assert whole.choices[0].finish_reason in {"stop", "length"}
    assert whole.usage is not None
    assert whole.usage.completion_tokens > 0
    chunks = list(client.completions.create(model=route, prompt="Once upon a time", max_tokens=64, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == whole.choices[0].text
    assert all(chunk.choices for chunk in chunks), "a usage chunk that the caller did not ask for came through"
    with_usage = list(
        client.completions.create(
            model=route,
            prompt="Once upon a time",
            max_tokens=64,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    counted = with_usage[-1].usage
    assert counted is not None
    assert (counted.prompt_tokens, counted.completion_tokens) == (
        whole.usage.prompt_tokens,
        whole.usage.completion_tokens,
    )


def test_the_async_client_reads_both(stage: Stage) -> None:
    async def ask() -> tuple[int, str]:
        url = stage.platform.gateway_url + "/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key=stage.key, max_retries=0) as client:
            vectors = await client.embeddings.create(model="simulated", input="x")
            stream = await client.completions.create(model="simulated", prompt="x", stream=True)
            text = [chunk.choices[0].text async for chunk in stream if chunk.choices]
            return len(vectors.data[0].embedding), "".join(text)

    length, text = asyncio.run(ask())
    assert length == 384
    assert text.startswith("This answer is simulated:")


@ROUTES
def test_classes_come_in_the_form_of_vllm(stage: Stage, route: str) -> None:
    answer = stage.call(classify_call(stage.key, route, ["good news", "bad news"]))
    assert answer.failure == ""
    assert answer.json["object"] == "list"
    for index, item in enumerate(answer.json["data"]):
        assert (item["index"], item["num_classes"]) == (index, len(item["probs"]))
        assert sum(item["probs"]) == pytest.approx(1)
        assert item["label"]


@pytest.mark.parametrize(
    ("operation", "make"),
    [("embeddings", embeddings_call), ("completions", completions_call), ("classify", classify_call)],
)
def test_explain_logs_and_usage_know_the_operation_and_its_cost(stage: Stage, operation: str, make: Any) -> None:
    before = _usage(stage, operation)
    answer = stage.call(make(stage.key, "paid", "what does it cost"))
    assert answer.failure == ""
    (dispatch,) = stage.dispatches_of(answer.request_id)
    used = dispatch["usage"]
    assert (used["output_tokens"] == 0) is (operation != "completions")
    expected = Decimal(used["input_tokens"]) * Decimal(manifests.INPUT_PER_MTOK_USD) / 1_000_000
    expected += Decimal(used["output_tokens"]) * Decimal(manifests.OUTPUT_PER_MTOK_USD) / 1_000_000
    assert Decimal(answer.headers["x-lineclear-cost-usd"]) == expected
    assert "x-lineclear-budget-remaining-usd" in answer.headers
    explained = stage.explain(answer.request_id)
    assert (explained["operation"], explained["dialect"]) == (operation, "openai")
    assert (Decimal(explained["cost_usd"]), explained["cost_basis"]) == (expected, "priced")
    lines = [json.loads(line) for line in stage.platform.cli("logs", "-o", "jsonl").stdout.splitlines()]
    (line,) = [line for line in lines if answer.request_id in line.values()]
    assert line["operation"] == operation
    after = _usage(stage, operation)
    assert after["requests"] - before["requests"] == 1
    assert after["input_tokens"] - before["input_tokens"] == used["input_tokens"]
    assert after["output_tokens"] - before["output_tokens"] == used["output_tokens"]
    assert Decimal(after["cost_usd"]) - Decimal(before["cost_usd"]) == expected


def _usage(stage: Stage, operation: str) -> dict[str, Any]:
    rows = stage.platform.cli_json("usage", "--by", "route,operation")["rows"]
    narrowed = stage.platform.cli_json("usage", "--by", "route,operation", "--operation", operation)["rows"]
    assert narrowed == [row for row in rows if row["operation"] == operation]
    rows = narrowed
    nothing = {"requests": 0, "cost_usd": "0", "input_tokens": 0, "output_tokens": 0}
    return next((row for row in rows if row["route"] == "paid"), nothing)


def test_a_refusal_names_what_the_route_can_do(stage: Stage, client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model="talk", input="x")
    assert refused.value.code == "operation_not_supported"
    body: Any = refused.value.body
    assert body["hint"] == "this route answers POST /v1/messages, /v1/messages/count_tokens"
    assert "speaks anthropic" in body["message"]
    explained = stage.explain(refused.value.request_id or "")
    assert (explained["operation"], explained["error_code"]) == ("embeddings", "operation_not_supported")
    listed = {model.id: model.model_extra for model in client.models.list()}
    assert "embeddings" in (listed["open"] or {})["operations"]
    assert (listed["talk"] or {})["operations"] == ["messages", "count_tokens"]


def test_a_vendors_model_does_what_its_version_says(stage: Stage) -> None:
    refused = stage.call(chat_call(stage.key, "index", "x"))
    assert (refused.status, refused.json["error"]["code"]) == (400, "operation_not_supported")
    assert "vectors@1 does embeddings, not chat" in refused.json["error"]["message"]
    assert stage.call(embeddings_call(stage.key, "index", "x")).failure == ""
    answers = [stage.call(chat_call(stage.key, "either", f"x{number}")) for number in range(4)]
    assert {answer.headers["x-lineclear-model"] for answer in answers} == {"able@1"}
    candidates = stage.explain(answers[0].request_id)["candidates"]
    exclusions = {each["model"]: each["exclusion"] for each in candidates}
    assert exclusions["vectors@1"] == "vectors@1 does embeddings, not chat"


def test_what_the_simulated_engine_is_told_happens_to_every_operation(stage: Stage) -> None:
    key = stage.platform.keys["test"]
    for make in (chat_call, completions_call, embeddings_call, classify_call):
        call = make(key, "simulated", "x")
        told = type(call)(call.path, {**call.headers, "x-lineclear-simulate": "status=400"}, call.body)
        answer = stage.call(told)
        assert answer.status == 400
        assert "simulated" in answer.json["error"]["message"]
