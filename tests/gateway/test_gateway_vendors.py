"""Vendors with habits of their own, played byte by byte: fields, errors in a 200's clothes, streams without content."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from gateway_house import KEY, House, Plan, in_house, model, route

from lineclear.domain.exchange import Dialect
from lineclear.domain.snapshot import ProviderEntry
from lineclear.gateway.attempt import PREAMBLE_BYTES_MAX
from lineclear.testing.load import CallResult, chat_call

ANSWER: dict[str, Any] = {
    "id": "a",
    "object": "chat.completion",
    "created": 0,
    "model": "odd",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
}
Play = Callable[[House], Awaitable[None]]


def head(status: int, media_type: str, length: int, fields: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} x", f"content-type: {media_type}", f"content-length: {length}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "connection: close", "", ""]).encode()


def whole(tree: object, status: int = 200, fields: Mapping[str, str] | None = None) -> bytes:
    body = json.dumps(tree).encode()
    return head(status, "application/json", len(body), fields or {}) + body


def stream(body: bytes) -> bytes:
    return head(200, "text/event-stream", len(body), {}) + body


def run(tmp_path: Path, answer: bytes, play: Play) -> None:
    """A house whose model `odd` answers every call with these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in request.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def with_vendor(house: House) -> None:
        server = await asyncio.start_server(serve, "127.0.0.1")
        port = server.sockets[0].getsockname()[1]
        provider = ProviderEntry("odd", (Dialect.OPENAI,), f"http://127.0.0.1:{port}/v1", private_network=True)
        house.publish(
            Plan(
                models=(model("odd", provider="odd"),),
                routes=(route("alone", "odd"), route("pair", "odd", fallback=("good@1",))),
                providers=(provider,),
            )
        )
        house.refresh()
        try:
            await play(house)
        finally:
            server.close()

    in_house(tmp_path, Plan(), with_vendor)


def code_of(answer: CallResult) -> str:
    return str(answer.json["error"]["code"])


@pytest.mark.parametrize("name", ["x-request-id", "request-id", "x-amzn-requestid", "apim-request-id"])
def test_the_vendors_own_id_is_on_record_whatever_it_calls_it(tmp_path: Path, name: str) -> None:
    async def play(house: House) -> None:
        answer = await house.call(chat_call(KEY, "alone", "x"))
        assert answer.status == 200
        assert house.settle_of(answer).attempts[0].upstream_id == "v" * 128
        assert answer.request_id != "v" * 200

    run(tmp_path, whole(ANSWER, fields={name: "v" * 200}), play)


def test_a_vendors_empty_id_is_none(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        answer = await house.call(chat_call(KEY, "alone", "x"))
        assert (answer.status, house.settle_of(answer).attempts[0].upstream_id) == (200, "")

    run(tmp_path, whole(ANSWER, fields={"x-request-id": ""}), play)


def test_a_vendors_rate_limits_are_not_taken_for_ours(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        answer = await house.call(chat_call(KEY, "alone", "x"))
        assert answer.status == 200
        assert answer.headers["x-lineclear-upstream-ratelimit-remaining-requests"] == "7"
        assert answer.headers["x-lineclear-upstream-anthropic-ratelimit-tokens-limit"] == "9"
        assert "x-ratelimit-remaining-requests" not in answer.headers
        assert "x-secret-of-the-vendor" not in answer.headers

    fields = {
        "x-ratelimit-remaining-requests": "7",
        "anthropic-ratelimit-tokens-limit": "9",
        "x-secret-of-the-vendor": "s",
    }
    run(tmp_path, whole(ANSWER, fields=fields), play)


def test_a_cost_that_the_vendor_states_is_the_cost(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        answer = await house.call(chat_call(KEY, "alone", "x"))
        assert answer.headers["x-lineclear-cost-usd"] == "0.001250000"
        assert answer.headers["x-lineclear-cost-basis"] == "reported"
        settle = house.settle_of(answer)
        assert (settle.cost_nano_usd, settle.cost_basis) == (1_250_000, "reported")

    run(tmp_path, whole({**ANSWER, "usage": {**ANSWER["usage"], "cost": 0.00125}}), play)


def test_an_error_in_the_clothes_of_a_200_is_an_error(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        failed = await house.call(chat_call(KEY, "alone", "x"))
        assert (failed.status, code_of(failed)) == (502, "upstream_error")
        settle = house.settle_of(failed)
        assert (settle.outcome, settle.cost_nano_usd) == ("failed", 0)
        rescued = await house.call(chat_call(KEY, "pair", "x"))
        assert (rescued.status, rescued.headers["x-lineclear-model"]) == (200, "good@1")

    run(tmp_path, whole({"error": {"message": "no capacity", "type": "server_error", "code": None}}), play)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b": waiting\n\n",
        b": waiting\n\n" * (PREAMBLE_BYTES_MAX // 10),
        b'data: {"error":{"message":"no capacity","type":"server_error"}}\n\n',
    ],
    ids=["empty", "comments", "comments-without-end", "error"],
)
def test_a_stream_without_content_is_a_failed_try_and_the_next_target_answers(tmp_path: Path, body: bytes) -> None:
    async def play(house: House) -> None:
        failed = await house.call(chat_call(KEY, "alone", "x", stream=True))
        assert failed.status == 502
        assert code_of(failed) in {"upstream_bad_response", "upstream_error"}
        rescued = await house.call(chat_call(KEY, "pair", "x", stream=True))
        assert rescued.failure == ""
        assert rescued.headers["x-lineclear-fallback"] == "true"
        assert b"waiting" not in rescued.body

    run(tmp_path, stream(body), play)


def test_a_whole_answer_to_a_call_for_a_stream_is_a_failed_try(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        failed = await house.call(chat_call(KEY, "alone", "x", stream=True))
        assert (failed.status, code_of(failed)) == (502, "upstream_bad_response")

    run(tmp_path, whole(ANSWER), play)


def test_a_refusal_of_any_length_is_told_and_does_not_fill_the_memory(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        refused = await house.call(chat_call(KEY, "alone", "x"))
        assert refused.status == 422
        assert len(refused.body) < 200_000
        assert house.settle_of(refused).outcome == "rejected"

    run(tmp_path, whole({"error": {"message": "m" * 1_000_000, "type": "invalid_request_error"}}, 422), play)


@pytest.mark.parametrize(
    ("status", "fields", "is_throttled"),
    [(429, {}, False), (429, {"retry-after": "7"}, True), (503, {"retry-after": "7"}, True), (503, {}, False)],
)
def test_a_target_is_left_alone_for_as_long_as_it_asked(
    tmp_path: Path, status: int, fields: dict[str, str], is_throttled: bool
) -> None:
    async def play(house: House) -> None:
        first = await house.call(chat_call(KEY, "pair", "x"))
        assert (first.status, first.headers["x-lineclear-model"]) == (200, "good@1")
        second = await house.call(chat_call(KEY, "pair", "x"))
        tried = [attempt.model for attempt in house.settle_of(second).attempts]
        assert ("odd@1" in tried) is not is_throttled

    run(tmp_path, whole({"error": {"message": "busy", "type": "overloaded"}}, status, fields), play)
