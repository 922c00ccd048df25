"""Completions, embeddings and classification through the whole walk: answers, money, faults, and who cannot do what."""

import asyncio
import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gateway_house import KEY, PROMPT, House, Plan, in_house, model, route

from lineclear.domain.exchange import OPERATION_PATH, Operation
from lineclear.domain.ledger import Intent, Refusal
from lineclear.domain.snapshot import AccountLimits, BudgetLimit, CredentialEntry
from lineclear.testing.load import (
    Call,
    CallResult,
    LoadConnection,
    chat_call,
    classify_call,
    completions_call,
    embeddings_call,
    messages_call,
)

MAKERS: dict[Operation, Callable[..., Call]] = {
    Operation.COMPLETIONS: completions_call,
    Operation.EMBEDDINGS: embeddings_call,
    Operation.CLASSIFY: classify_call,
}
EACH = pytest.mark.parametrize("operation", list(MAKERS))
ITEMS = pytest.mark.parametrize("operation", [Operation.EMBEDDINGS, Operation.CLASSIFY])
ILL = Plan(models=(model("ill"),), routes=(route("alone", "ill"), route("pair", "ill", fallback=("good@1",))))
CHATTY = model("chatty", operations=(Operation.CHAT, Operation.COMPLETIONS))
CLAUDE = model("claude", provider="anthropic-only")
VECTORS = model("vectors", operations=(Operation.EMBEDDINGS,))


def error_of(answer: CallResult) -> dict[str, Any]:
    found: dict[str, Any] = answer.json["error"]
    return found


@EACH
def test_an_answer_travels_byte_for_byte_and_is_on_record_under_its_operation(
    tmp_path: Path, operation: Operation
) -> None:
    async def play(house: House) -> None:
        through = await house.call(MAKERS[operation](KEY, "good", "hello there"))
        vendor = LoadConnection(f"http://127.0.0.1:{house.vendor_port}")
        direct = await vendor.call(MAKERS[operation]("vendor-key", "good", "hello there"))
        await vendor.close()
        assert (through.status, through.body) == (200, direct.body)
        settle = house.settle_of(through)
        stated = through.json["usage"]
        output = stated.get("completion_tokens", 0)
        assert (settle.outcome, settle.cost_basis) == ("ok", "priced")
        assert (settle.usage.input_tokens, settle.usage.output_tokens) == (stated["prompt_tokens"], output)
        assert settle.cost_nano_usd == stated["prompt_tokens"] * 1_000 + output * 2_000
        assert through.headers["x-lineclear-cost-usd"] == f"{settle.cost_nano_usd / 1e9:.9f}"
        assert settle.model_echo == "good"
        (intent,) = [record for record in house.records() if isinstance(record, Intent)]
        assert (intent.operation, intent.dialect) == (operation.value, "openai")

    in_house(tmp_path, Plan(), play)


def test_a_completion_streams_like_a_chat(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        plain = await house.call(completions_call(KEY, "good", "hello", stream=True))
        asked = await house.call(
            completions_call(KEY, "good", "hello", stream=True, stream_options={"include_usage": True})
        )
        assert b'"usage":{' not in plain.body.replace(b" ", b"")
        assert b'"usage":{' in asked.body.replace(b" ", b"")
        settle = house.settle_of(plain)
        assert settle.usage == house.settle_of(asked).usage
        assert (settle.usage.output_tokens, settle.cost_basis, settle.stop_reason) == (16, "priced", "stop")
        comment, _, end = plain.body.rpartition(b"\n\n")[0].rpartition(b"\n\n")
        assert comment.split(b"\n\n")[-1].startswith(b": lineclear cost-usd=")
        assert end == b"data: [DONE]"

    in_house(tmp_path, Plan(), play)


@pytest.mark.parametrize("given", ["one text", ["first", "second"], [7, 8, 9], [[1, 2], [3]]])
def test_every_form_of_input_reaches_the_vendor_and_both_encodings_come_back(tmp_path: Path, given: object) -> None:
    async def play(house: House) -> None:
        numbers = await house.call(embeddings_call(KEY, "good", given, dimensions=5, user="u1"))
        packed = await house.call(embeddings_call(KEY, "good", given, dimensions=5, encoding_format="base64"))
        read = [list(struct.unpack("<5f", base64.b64decode(item["embedding"]))) for item in packed.json["data"]]
        assert read == [item["embedding"] for item in numbers.json["data"]]
        assert len(read) == (1 if given in ("one text", [7, 8, 9]) else 2)
        completed = await house.call(completions_call(KEY, "good", given))
        assert completed.status == 200

    in_house(tmp_path, Plan(), play)


def test_usage_that_no_vendor_stated_is_estimated_from_the_input_alone(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("good", always="no-usage")
        call = embeddings_call(KEY, "good", ["text"] * 50)
        settle = house.settle_of(await house.call(call))
        assert (settle.cost_basis, settle.usage.output_tokens) == ("estimated", 0)
        assert settle.usage.input_tokens == -(-len(call.body) // 4)

    in_house(tmp_path, Plan(), play)


@EACH
def test_a_vendors_verdict_is_passed_on_and_its_failure_goes_to_the_next(tmp_path: Path, operation: Operation) -> None:
    make = MAKERS[operation]

    async def play(house: House) -> None:
        house.vendor.set_script("ill", always="status=400,error-type=context_length_exceeded")
        verdict = await house.call(make(KEY, "pair", "x"))
        assert (verdict.status, error_of(verdict)["code"]) == (400, "context_length_exceeded")
        assert house.settle_of(verdict).outcome == "rejected"
        for script in ("status=500", "html", "cut-after=20", "status=429,retry-after=60"):
            house.vendor.set_script("ill", always=script)
            rescued = await house.call(make(KEY, "pair", "x"))
            assert (rescued.status, rescued.headers["x-lineclear-fallback"]) == (200, "true"), script

    in_house(tmp_path, ILL, play)


def test_a_vendor_that_forbids_an_operation_keeps_its_credential(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("ill", always="status=403")
        for _ in range(3):
            forbidden = await house.call(embeddings_call(KEY, "alone", "x"))
            assert (forbidden.status, error_of(forbidden)["code"]) == (502, "upstream_auth")
        house.vendor.set_script("ill")
        assert (await house.call(chat_call(KEY, "alone", "x"))).status == 200

    credentials: dict[str, tuple[CredentialEntry, ...]] = {"vendor/live": (CredentialEntry("a", "one", 1),)}
    in_house(tmp_path, Plan(models=ILL.models, routes=ILL.routes, credentials=credentials), play)


def test_a_completion_cut_in_its_stream_ends_in_an_error_and_is_billed_for_what_was_seen(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        for script in ("cut-after=3", "error-after=3", "end-after=3"):
            house.vendor.set_script("ill", always=script)
            answer = await house.call(completions_call(KEY, "alone", "x", stream=True))
            settle = house.settle_of(answer)
            assert b"data: [DONE]" not in answer.body, script
            assert (settle.outcome, settle.cost_basis) == ("truncated", "estimated"), script
            assert settle.usage.output_tokens > 0, script
        house.vendor.set_script("ill", always="malformed-after=2")
        assert house.settle_of(await house.call(completions_call(KEY, "alone", "x", stream=True))).malformed_events == 1

    in_house(tmp_path, ILL, play)


MALFORMED: dict[str, tuple[Operation, dict[str, Any], str]] = {
    "no prompt": (Operation.COMPLETIONS, {"prompt": None}, "prompt"),
    "empty prompts": (Operation.COMPLETIONS, {"prompt": []}, "prompt"),
    "n": (Operation.COMPLETIONS, {"prompt": "x", "n": 0}, "n"),
    "best_of": (Operation.COMPLETIONS, {"prompt": "x", "best_of": "2"}, "best_of"),
    "cap": (Operation.COMPLETIONS, {"prompt": "x", "max_tokens": -1}, "max_tokens"),
    "no input": (Operation.EMBEDDINGS, {}, "input"),
    "empty input": (Operation.EMBEDDINGS, {"input": []}, "input"),
    "object": (Operation.EMBEDDINGS, {"input": {"text": "x"}}, "input"),
    "no dimensions": (Operation.EMBEDDINGS, {"input": "x", "dimensions": 0}, "dimensions"),
    "streamed vectors": (Operation.EMBEDDINGS, {"input": "x", "stream": True}, "stream"),
    "named tensors": (Operation.CLASSIFY, {"inputs": [{"name": "x", "data": [1.0]}]}, "inputs"),
    "streamed classes": (Operation.CLASSIFY, {"input": "x", "stream": True}, "stream"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_no_request_of_the_operation_is_refused_with_the_field(tmp_path: Path, case: str) -> None:
    operation, fields, param = MALFORMED[case]

    async def play(house: House) -> None:
        body = json.dumps({"model": "good", **fields}).encode()
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        answer = await house.call(Call(OPERATION_PATH[operation], headers, body))
        assert answer.status == 400
        assert (error_of(answer)["code"], error_of(answer)["param"]) == ("invalid_request", param)
        assert error_of(answer)["hint"]
        (refusal,) = [record for record in house.records() if isinstance(record, Refusal)]
        assert refusal.operation == operation.value

    in_house(tmp_path, Plan(), play)


CANNOT: dict[str, tuple[str, Operation, str, str]] = {
    "chat model asked for vectors": (
        "chatty",
        Operation.EMBEDDINGS,
        "chatty@1 does chat, completions, not embeddings",
        "this route answers POST /v1/chat/completions, /v1/completions",
    ),
    "vectors asked to chat": (
        "vectors",
        Operation.CHAT,
        "vectors@1 does embeddings, not chat",
        "this route answers POST /v1/embeddings",
    ),
    "a dialect without the operation": (
        "claude",
        Operation.EMBEDDINGS,
        "claude@1 speaks anthropic, which has no embeddings",
        "this route answers POST /v1/messages, /v1/messages/count_tokens",
    ),
    "a prompt that has no place": (
        "prompted",
        Operation.EMBEDDINGS,
        "the route's prompt 'voice' has no place in embeddings",
        "this route answers POST /v1/chat/completions, /v1/messages, /v1/messages/count_tokens",
    ),
}


@pytest.mark.parametrize("case", CANNOT)
def test_a_route_that_cannot_do_it_says_why_and_what_it_can_do(tmp_path: Path, case: str) -> None:
    name, operation, reason, hint = CANNOT[case]
    make = {**MAKERS, Operation.CHAT: chat_call}[operation]

    async def play(house: House) -> None:
        answer = await house.call(make(KEY, name, "x"))
        told = error_of(answer)
        assert (answer.status, told["code"]) == (400, "operation_not_supported")
        assert reason in told["message"]
        assert told["hint"] == hint
        assert house.vendor.dispatches == 0

    prompted = route("prompted", "good", prompt=PROMPT)
    routes = (route("chatty", "chatty"), route("vectors", "vectors"), route("claude", "claude"), prompted)
    in_house(tmp_path, Plan(models=(CHATTY, VECTORS, CLAUDE), routes=routes), play)


def test_a_target_that_cannot_do_it_is_left_out_and_the_entry_says_so(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        vectors = house.settle_of(await house.call(embeddings_call(KEY, "mixed", "x")))
        assert (vectors.model, len(vectors.attempts)) == ("vectors@1", 1)
        assert {each.model: each.exclusion for each in vectors.candidates} == {
            "vectors@1": "",
            "chatty@1": "chatty@1 does chat, completions, not embeddings",
        }
        assert house.settle_of(await house.call(completions_call(KEY, "mixed", "x"))).model == "chatty@1"

    in_house(
        tmp_path, Plan(models=(CHATTY, VECTORS), routes=(route("mixed", "chatty", fallback=("vectors@1",)),)), play
    )


def test_the_model_list_says_what_each_route_can_do(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        _, listed = await house.get("/v1/models", authorization=f"Bearer {KEY}")
        assert {each["id"]: each["operations"] for each in listed["data"]} == {
            "good": [operation.value for operation in Operation],
            "vectors": ["embeddings"],
        }

    in_house(tmp_path, Plan(models=(VECTORS,), routes=(route("vectors", "vectors"),)), play)


def test_arrays_of_numbers_go_to_the_model_as_they_came(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        made = MAKERS[Operation.CLASSIFY](KEY, "good", "x")
        for given in ([0.5, 1], [[[0.5, 1e-3], [1, 2]]]):
            answer = await house.call(
                Call(made.path, made.headers, json.dumps({"model": "good", "input": given}).encode())
            )
            assert answer.status == 200
            assert json.loads(house.vendor.recent[-1][1])["input"] == given

    in_house(tmp_path, Plan(), play)


def test_named_tensors_are_refused_by_name(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        call = embeddings_call(KEY, "good", "x")
        answer = await house.call(Call("/v2/models/good/infer", call.headers, call.body))
        assert (answer.status, error_of(answer)["code"]) == (400, "not_yet_supported")
        assert "/v1/classify" in error_of(answer)["hint"]

    in_house(tmp_path, Plan(), play)


def test_a_vendor_is_not_sent_the_fields_of_another_dialect(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        for make in (*MAKERS.values(), chat_call):
            await house.call(make(KEY, "good", "x"))
        assert not any("anthropic-version" in fields for fields, _ in house.vendor.recent)
        await house.call(messages_call(KEY, "good", "x"))
        assert "anthropic-version" in house.vendor.recent[-1][0]

    in_house(tmp_path, Plan(), play)


def budget(cents: int) -> dict[str, AccountLimits]:
    limit = BudgetLimit(nano_usd_per_month=cents * 10_000_000, time_zone="UTC")
    return {"route:live/good": AccountLimits(None, None, None, limit)}


def test_a_budget_covers_input_alone_for_vectors_and_every_answer_of_a_completion(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        reserved = {}
        for call in (
            embeddings_call(KEY, "good", "x"),
            completions_call(KEY, "good", "x", max_tokens=10),
            completions_call(KEY, "good", ["x", "y"], max_tokens=10, n=2, best_of=3),
            completions_call(KEY, "good", "x"),
        ):
            answer = await house.call(call)
            assert answer.status == 200
            assert "x-lineclear-budget-remaining-usd" in answer.headers
            (intent,) = [each for each in house.records() if isinstance(each, Intent) and each.id == answer.request_id]
            reserved[answer.request_id] = (intent.reserved_nano_usd - len(call.body) * 1_000) // 2_000
        assert list(reserved.values()) == [0, 10, 10 * 2 * 3, 4_096]
        assert json.loads(house.vendor.recent[-1][1])["max_tokens"] == 4_096

    in_house(tmp_path, Plan(limits=budget(100)), play)


@EACH
def test_a_spent_budget_and_a_rate_refuse_each_operation(tmp_path: Path, operation: Operation) -> None:
    async def play(house: House) -> None:
        refused = await house.call(MAKERS[operation](KEY, "poor", "x" * 2_000))
        assert (refused.status, error_of(refused)["code"]) == (402, "budget_exceeded")
        first, second = [await house.call(MAKERS[operation](KEY, "good", "x")) for _ in range(2)]
        assert (first.status, second.status, error_of(second)["code"]) == (200, 429, "rate_limited")

    limits = {
        "route:live/poor": AccountLimits(None, None, None, BudgetLimit(1_000, "UTC")),
        "route:live/good": AccountLimits(1, None, None, None),
    }
    in_house(tmp_path, Plan(routes=(route("poor", "good"),), limits=limits), play)


def test_an_answer_too_long_to_hold_goes_out_as_it_comes_and_is_billed(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        answer = await house.call(embeddings_call(KEY, "good", ["x"] * 100, dimensions=2_000))
        assert len(answer.body) > 1024 * 1024
        assert len(answer.json["data"]) == 100
        settle = house.settle_of(answer)
        assert (settle.outcome, settle.cost_basis) == ("ok", "priced")
        assert settle.usage.input_tokens == answer.json["usage"]["prompt_tokens"]
        assert "x-lineclear-cost-usd" not in answer.headers

    in_house(tmp_path, Plan(), play)


def test_many_at_once_are_answered_each_with_its_own(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        texts = [f"text {number}" for number in range(30)]
        answers = await asyncio.gather(*(house.call(embeddings_call(KEY, "good", text)) for text in texts))
        again = [await house.call(embeddings_call(KEY, "good", text)) for text in texts]
        assert [each.body for each in answers] == [each.body for each in again]
        assert len({each.body for each in answers}) == len(texts)

    in_house(tmp_path, Plan(), play)
