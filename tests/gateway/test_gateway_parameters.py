"""A release's parameters in real requests, and what an app fetches of its release."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from gateway_house import KEY, PROMPT, TEST_KEY, House, Plan, in_house, route

from lineclear.domain.ledger import Intent
from lineclear.testing.load import Call, chat_call, completions_call, embeddings_call, messages_call

SAMPLING: dict[str, Any] = {"temperature": 0.25, "top_p": 0.5, "stop": ("END",), "max_tokens": 77}
ALL: dict[str, Any] = {
    **SAMPLING, "seed": 7, "frequency_penalty": 0.5, "presence_penalty": -0.5, "reasoning_effort": "low",
}  # fmt: skip


def sent(house: House) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(house.vendor.recent[-1][1])
    return tree


def plan(**parts: Any) -> Plan:
    return Plan(routes=[route("set", "good", **parts)])


def test_parameters_are_set_where_the_caller_set_nothing(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        answer = await house.call(chat_call(KEY, "set", "hi"))
        assert answer.status == 200
        found = sent(house)
        assert {name: found[name] for name in ALL} == {**ALL, "stop": ["END"]}

    in_house(tmp_path, plan(parameters=ALL), play)


def test_a_callers_own_value_wins_and_null_is_none(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        await house.call(chat_call(KEY, "set", "hi", temperature=1.5, top_p=None, max_completion_tokens=5, stop="x"))
        found = sent(house)
        assert (found["temperature"], found["top_p"], found["stop"]) == (1.5, 0.5, "x")
        assert (found["max_completion_tokens"], "max_tokens" in found) == (5, False)

    in_house(tmp_path, plan(parameters=SAMPLING), play)


def test_messages_have_their_own_names_and_keep_the_callers_cap(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        answer = await house.call(messages_call(KEY, "set", "hi", stream=True, max_tokens=9))
        assert answer.status == 200
        found = sent(house)
        assert (found["temperature"], found["top_p"], found["stop_sequences"]) == (0.25, 0.5, ["END"])
        assert (found["max_tokens"], "stop" in found) == (9, False)

    in_house(tmp_path, plan(parameters=SAMPLING), play)


def test_completions_are_set_too(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        answer = await house.call(completions_call(KEY, "set", "hi"))
        assert answer.status == 200
        assert {name: sent(house)[name] for name in SAMPLING} == {**SAMPLING, "stop": ["END"]}

    in_house(tmp_path, plan(parameters=SAMPLING), play)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (messages_call(KEY, "set", "hi"), "seed and frequency_penalty and presence_penalty and reasoning_effort"),
        (completions_call(KEY, "set", "hi"), "reasoning_effort"),
        (embeddings_call(KEY, "set", "hi"), "temperature"),
    ],
)
def test_an_operation_without_a_place_for_one_is_refused_and_nothing_is_left_out(
    tmp_path: Path, call: Call, named: str
) -> None:
    async def play(house: House) -> None:
        answer = await house.call(call)
        assert answer.status == 400
        assert named in answer.json["error"]["message"]
        assert answer.headers["x-lineclear-policy"] == "operation.no-parameter"
        assert house.vendor.dispatches == 0

    in_house(tmp_path, plan(parameters=ALL), play)


def test_an_app_fetches_what_its_release_pins_and_is_told_when_nothing_changed(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        status, fields, body = await fetch(house, "set")
        assert status == 200
        assert json.loads(body) == {
            "route": "set", "environment": "live", "release": "rel_0123456789abcdef",
            "digest": json.loads(body)["digest"], "arm": "stable",
            "prompt": {"name": "voice", "digest": "0" * 64, "mode": "prepend", "text": "You serve {{ shop }}.",
                       "variables": ["shop"]},
            "parameters": {"temperature": 0.25, "top_p": 0.5, "stop": ["END"], "max_tokens": 77},
            "retrieval": {"index": "manuals", "rerank": {"floor": 0.25}},
            "tools": None,
        }  # fmt: skip
        assert fields["x-lineclear-release"] == "rel_0123456789abcdef"
        tag = fields["etag"]
        for held in (tag, f'"other", W/{tag}', "*"):
            status, again, body = await fetch(house, "set", f"if-none-match: {held}\r\n")
            assert (status, again["etag"], body) == (304, tag, b"")
        house.publish(plan(prompt=PROMPT, parameters=SAMPLING, retrieval={"index": "letters"}))
        house.refresh()
        status, again, body = await fetch(house, "set", f"if-none-match: {tag}\r\n")
        assert (status, json.loads(body)["retrieval"]) == (200, {"index": "letters"})
        assert again["etag"] != tag

    parts = {"index": "manuals", "rerank": {"floor": 0.25}}
    in_house(tmp_path, plan(prompt=PROMPT, parameters=SAMPLING, retrieval=parts), play)


def test_a_route_that_the_key_may_not_call_has_no_configuration(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        for name, key in (("set", TEST_KEY), ("nowhere", KEY), ("", KEY)):
            status, body = await house.get(f"/v1/routes/{name}/config", authorization=f"Bearer {key}")
            assert (status, body["error"]["code"]) == (404, "model_not_found")
        status, _ = await house.get("/v1/routes/set/config")
        assert status == 401
        status, _ = await house.get("/v1/routes/a%2Fset/config", authorization=f"Bearer {KEY}")
        assert status == 200

    in_house(tmp_path, Plan(routes=[route("set", "good"), route("a/set", "good")]), play)


def test_what_the_app_echoes_is_on_record_and_a_release_that_is_none_is_refused(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        plain = chat_call(KEY, "set", "hi")
        for value, status in (("rel_00000000000000ff", 200), ("latest", 400)):
            call = Call(plain.path, {**plain.headers, "x-lineclear-release": value}, plain.body)
            answer = await house.call(call)
            assert answer.status == status
        (intent,) = [record for record in house.records() if isinstance(record, Intent)]
        assert intent.echo == "rel_00000000000000ff"

    in_house(tmp_path, plan(), play)


async def fetch(house: House, name: str, more: str = "") -> tuple[int, dict[str, str], bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(house.url.rsplit(":", 1)[1]))
    head = f"GET /v1/routes/{name}/config HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {KEY}\r\n"
    writer.write(f"{head}{more}\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    lines, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = lines.decode().split("\r\n")
    pairs = (line.split(": ", 1) for line in fields)
    return int(status.split(" ")[1]), {name.lower(): value for name, value in pairs}, body
