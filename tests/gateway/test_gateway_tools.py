"""A release's tools in real requests of every dialect, by mode, and in what an app fetches."""

import json
from pathlib import Path
from typing import Any

import pytest
from gateway_house import KEY, House, Plan, in_house, model, route

from lineclear.domain.catalogue import Capability
from lineclear.domain.exchange import Operation
from lineclear.domain.ledger import Intent
from lineclear.domain.snapshot import AccountLimits, BudgetLimit
from lineclear.domain.tools import WITH_TOOLS, ToolEntry, ToolsEntry, ToolsMode
from lineclear.testing.load import Call, chat_call, completions_call, embeddings_call, messages_call

SCHEMA = {"type": "object", "properties": {"number": {"type": "string"}}}
DEFINITIONS = (ToolEntry("find_order", "Finds an order.", SCHEMA), ToolEntry("now"))
NOTHING = {"type": "object", "properties": {}}
CHAT = [
    {"type": "function", "function": {"name": "find_order", "parameters": SCHEMA, "description": "Finds an order."}},
    {"type": "function", "function": {"name": "now", "parameters": NOTHING}},
]
MESSAGES = [
    {"name": "find_order", "input_schema": SCHEMA, "description": "Finds an order."},
    {"name": "now", "input_schema": NOTHING},
]
OWN_CHAT = [{"type": "function", "function": {"name": "mine", "parameters": NOTHING}}]
OWN_MESSAGES = [{"name": "mine", "input_schema": NOTHING}]


def plan(mode: ToolsMode, **facts: Any) -> Plan:
    tools = ToolsEntry("0" * 64, mode, DEFINITIONS)
    return Plan(
        models=[model("caller", capabilities=(Capability.TOOLS,)), model("reader", capabilities=(Capability.VISION,))],
        routes=[
            route("set", "good", tools=tools, **facts),
            route("cards", "reader", "caller", tools=tools, strategy="priority"),
            route("reads", "reader", tools=tools),
        ],
    )


def count_call() -> Call:
    asked = json.loads(messages_call(KEY, "set", "hi", tools=OWN_MESSAGES).body)
    del asked["max_tokens"]
    headers = messages_call(KEY, "set", "hi").headers
    return Call("/v1/messages/count_tokens", headers, json.dumps(asked).encode())


def sent(house: House) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(house.vendor.recent[-1][1])
    return tree


CASES = [
    (ToolsMode.DEFAULT, chat_call(KEY, "set", "hi"), CHAT),
    (ToolsMode.DEFAULT, chat_call(KEY, "set", "hi", stream=True, tools=None), CHAT),
    (ToolsMode.DEFAULT, chat_call(KEY, "set", "hi", tools=OWN_CHAT), OWN_CHAT),
    (ToolsMode.DEFAULT, chat_call(KEY, "set", "hi", tools=[]), []),
    (ToolsMode.DEFAULT, chat_call(KEY, "set", "hi", functions=[{"name": "old"}]), None),
    (ToolsMode.REPLACE, chat_call(KEY, "set", "hi", tools=OWN_CHAT, functions=[{"name": "old"}]), CHAT),
    (ToolsMode.CONFIG, chat_call(KEY, "set", "hi"), None),
    (ToolsMode.CONFIG, chat_call(KEY, "set", "hi", tools=OWN_CHAT), OWN_CHAT),
    (ToolsMode.DEFAULT, messages_call(KEY, "set", "hi"), MESSAGES),
    (ToolsMode.DEFAULT, messages_call(KEY, "set", "hi", tools=OWN_MESSAGES), OWN_MESSAGES),
    (ToolsMode.REPLACE, messages_call(KEY, "set", "hi", stream=True, tools=OWN_MESSAGES), MESSAGES),
    (ToolsMode.REPLACE, count_call(), MESSAGES),
]


@pytest.mark.parametrize(("mode", "call", "expected"), CASES)
def test_a_mode_says_whose_tools_are_sent(tmp_path: Path, mode: ToolsMode, call: Call, expected: object) -> None:
    async def play(house: House) -> None:
        answer = await house.call(call)
        assert answer.status == 200, answer.body
        assert sent(house).get("tools") == expected
        assert ("functions" in sent(house)) == (expected is None and mode is ToolsMode.DEFAULT)

    in_house(tmp_path, plan(mode), play)


def chosen(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def allowed(*names: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [chosen(name) for name in names]}}


CHOICES: list[tuple[Any, bool]] = [
    ("required", True),
    (chosen("now"), True),
    (chosen("mine"), False),
    ({"type": "custom", "custom": {"name": "now"}}, False),
    (allowed("now", "find_order"), True),
    (allowed("now", "mine"), False),
]


@pytest.mark.parametrize(("choice", "stays"), CHOICES)
def test_a_choice_of_a_tool_that_was_replaced_goes_with_it(tmp_path: Path, choice: object, stays: bool) -> None:
    async def play(house: House) -> None:
        call = chat_call(KEY, "set", "hi", tools=OWN_CHAT, tool_choice=choice, function_call={"name": "mine"})
        answer = await house.call(call)
        assert answer.status == 200, answer.body
        assert sent(house).get("tool_choice") == (choice if stays else None)
        assert "function_call" not in sent(house)
        house.publish(plan(ToolsMode.DEFAULT))
        house.refresh()
        assert (await house.call(call)).status == 200
        assert (sent(house)["tool_choice"], sent(house)["function_call"]) == (choice, {"name": "mine"})

    in_house(tmp_path, plan(ToolsMode.REPLACE), play)


@pytest.mark.parametrize(
    ("choice", "stays"),
    [({"type": "any"}, True), ({"type": "tool", "name": "now"}, True), ({"type": "tool", "name": "mine"}, False)],
)
def test_a_choice_in_messages_too(tmp_path: Path, choice: object, stays: bool) -> None:
    async def play(house: House) -> None:
        answer = await house.call(messages_call(KEY, "set", "hi", tools=OWN_MESSAGES, tool_choice=choice))
        assert answer.status == 200, answer.body
        assert sent(house).get("tool_choice") == (choice if stays else None)

    in_house(tmp_path, plan(ToolsMode.REPLACE), play)


@pytest.mark.parametrize("call", [completions_call(KEY, "set", "hi"), embeddings_call(KEY, "set", "hi")])
def test_an_operation_without_a_place_is_refused_unless_the_app_sends_them(tmp_path: Path, call: Call) -> None:
    async def play(house: House) -> None:
        answer = await house.call(call)
        assert (answer.status, answer.headers["x-lineclear-policy"]) == (400, "operation.no-tools")
        assert house.vendor.dispatches == 0
        house.publish(plan(ToolsMode.CONFIG))
        house.refresh()
        assert (await house.call(call)).status == 200

    in_house(tmp_path, plan(ToolsMode.DEFAULT), play)


def test_a_model_that_calls_none_by_its_card_is_left_out(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        answer = await house.call(chat_call(KEY, "cards", "hi"))
        assert (answer.status, answer.headers["x-lineclear-model"]) == (200, "caller@1")
        refused = await house.call(chat_call(KEY, "reads", "hi"))
        assert (refused.status, refused.headers["x-lineclear-policy"]) == (400, "operation.no-tools")
        assert "calls no tools, as its card says" in refused.json["error"]["message"]

    in_house(tmp_path, plan(ToolsMode.DEFAULT), play)


def test_tools_count_for_what_is_reserved(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        reserved = {}
        for name in ("bare", "set"):
            answer = await house.call(chat_call(KEY, name, "hi", max_tokens=1))
            (intent,) = [one for one in house.records() if isinstance(one, Intent) and one.id == answer.request_id]
            reserved[name] = intent.reserved_nano_usd
        # An input token of the house's model costs 1,000 nano-USD, and no token is shorter than a byte.
        assert reserved["set"] - reserved["bare"] == (len(json.dumps(CHAT, separators=(",", ":"))) - 1) * 1_000
        for own in ({"tools": OWN_CHAT}, {"functions": [{"name": "old"}]}):
            for name in ("bare", "set"):
                answer = await house.call(chat_call(KEY, name, "hi", max_tokens=1, **own))
                (intent,) = [one for one in house.records() if isinstance(one, Intent) and one.id == answer.request_id]
                reserved[name] = intent.reserved_nano_usd
            # Only the caller's own are sent, and they stand in the body: `set` is a byte shorter than `bare`.
            assert reserved["bare"] - reserved["set"] == 1_000

    made = plan(ToolsMode.DEFAULT)
    limit = AccountLimits(None, None, None, BudgetLimit(nano_usd_per_month=10**12, time_zone="UTC"))
    limits = {f"route:live/{name}": limit for name in ("set", "bare")}
    in_house(tmp_path, Plan(models=made.models, routes=[*made.routes, route("bare", "good")], limits=limits), play)


def test_tools_are_written_once_for_each_dialect(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        view = house.parts.current.snapshot().routes["live", "set"]
        fields: dict[Operation, set[int]] = {}
        for (operation, _, _), admission in view.admissions.items():
            fields.setdefault(operation, set()).add(id(admission.tools))
        assert [len(fields[operation]) for operation in WITH_TOOLS] == [1, 1, 1]
        assert fields[Operation.MESSAGES] == fields[Operation.COUNT_TOKENS] != fields[Operation.CHAT]

    in_house(tmp_path, plan(ToolsMode.DEFAULT, tasks=("one", "two")), play)
