"""The gate, walked as a whole: every endpoint and form by status, environment, use, data class and tier.

What each call must come to is written in `gate_table.md`, one row for each combination of reasons. Real sockets; every
refusal is told by status, code, rule and successor, and nothing was sent for it.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import assert_never

import pytest
from gateway_house import KEY, LAB_KEY, TEST_KEY, House, Plan, in_house, model, route

from lineclear.domain.catalogue import CostTier, DataClass, ModelStatus, RiskTier
from lineclear.domain.exchange import OPERATION_PATH, Operation
from lineclear.domain.snapshot import ModelVersionEntry, RouteSection
from lineclear.gateway.door import WALKS
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

TABLE = Path(__file__).with_name("gate_table.md")
TASK = "drafting"
USES = {
    "any": {},
    "approved": {"approved_uses": (TASK,)},
    "other": {"approved_uses": ("sorting",)},
    "prohibited": {"prohibited_uses": (TASK,)},
}
"""What the card says of the task that is called for."""
CEILINGS = {"any": (), "internal": (DataClass.PUBLIC, DataClass.INTERNAL), "restricted": tuple(DataClass)}
"""The most sensitive class that the card allows."""
ASKED = ("", "public", "confidential", "restricted")
"""What the caller says of its data; the routes are `internal`."""
ENVIRONMENTS = {"live": KEY, "test": TEST_KEY, "lab": LAB_KEY}
"""Each with its key; `lab` is of class test and takes data up to `internal`."""
TIERS = (CostTier.LOW, RiskTier.LOW), (CostTier.HIGH, RiskTier.HIGH)
COLUMNS = ("environment", "status", "use", "ceiling", "data class")


@dataclass(frozen=True)
class Expected:
    """What the table says."""

    status: int
    code: str
    rule: str
    successor: str


@dataclass(frozen=True)
class Case:
    """One call."""

    environment: str
    status: ModelStatus
    use: str
    ceiling: str
    asked: str
    tier: int
    form: str

    @property
    def route(self) -> str:
        return f"{self.status.value}-{self.use}-{self.ceiling}-{self.tier}"


def forms() -> dict[str, Operation]:
    """Every endpoint that takes the walk, and the streams of those that have them."""
    found = {operation.value: operation for operation in Operation}
    streamed = (Operation.CHAT, Operation.MESSAGES, Operation.COMPLETIONS)
    return {**found, **{f"{operation.value} stream": operation for operation in streamed}}


def call_of(case: Case) -> Call:
    key = ENVIRONMENTS[case.environment]
    is_stream = case.form.endswith("stream")
    name = case.route
    match forms()[case.form]:
        case Operation.CHAT:
            made = chat_call(key, name, "hi", stream=is_stream)
        case Operation.MESSAGES:
            made = messages_call(key, name, "hi", stream=is_stream)
        case Operation.COUNT_TOKENS:
            body = messages_call(key, name, "hi")
            made = Call(OPERATION_PATH[Operation.COUNT_TOKENS], body.headers, body.body)
        case Operation.COMPLETIONS:
            made = completions_call(key, name, "hi", stream=is_stream)
        case Operation.EMBEDDINGS:
            made = embeddings_call(key, name, "hi")
        case Operation.CLASSIFY:
            made = classify_call(key, name, "hi")
        case other:
            assert_never(other)
    headers = {**made.headers, **({"x-lineclear-data-class": case.asked} if case.asked else {})}
    return Call(made.path, headers, made.body)


def cases() -> Iterator[Case]:
    for row in product(ENVIRONMENTS, ModelStatus, USES, CEILINGS, ASKED, range(len(TIERS)), forms()):
        yield Case(*row)


def plan() -> Plan:
    models: list[ModelVersionEntry] = []
    routes: list[RouteSection] = []
    for status, use, ceiling, tier in product(ModelStatus, USES, CEILINGS, range(len(TIERS))):
        name = f"{status.value}-{use}-{ceiling}-{tier}"
        cost, risk = TIERS[tier]
        models.append(
            model(
                name, status=status, data_classes=CEILINGS[ceiling], cost_tier=cost, risk_tier=risk,
                successor="good@1", deprecated_at=1_780_272_000 if status is ModelStatus.DEPRECATED else None,
                **USES[use],
            )
        )  # fmt: skip
        routes += [route(name, name, environment=environment, tasks=(TASK,)) for environment in ENVIRONMENTS]
    return Plan(models=models, routes=routes)


def table() -> dict[tuple[str, ...], Expected]:
    """The committed table; a cell with several words stands for each of them, `*` for all."""
    every = (
        tuple(ENVIRONMENTS),
        tuple(ModelStatus),
        tuple(USES),
        tuple(CEILINGS),
        tuple(item or "none" for item in ASKED),
    )
    found: dict[tuple[str, ...], Expected] = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != len(COLUMNS) + 4 or not re.fullmatch(r"\d{3}", cells[len(COLUMNS)]):
            continue
        expected = Expected(int(cells[5]), cells[6].strip("-"), cells[7].strip("-"), cells[8].strip("-"))
        named = [words if cell == "*" else tuple(cell.split()) for cell, words in zip(cells, every, strict=False)]
        for row in product(*named):
            key = tuple(str(item) for item in row)
            assert key not in found, f"two rows say what {key} comes to"
            found[key] = expected
    return found


def came_to(answer: CallResult) -> Expected:
    if answer.status == 200:
        return Expected(200, "", answer.headers.get("x-lineclear-policy", ""), "")
    error = answer.json["error"]
    assert error["rules"] == [answer.headers["x-lineclear-policy"]]
    return Expected(answer.status, error["code"], error["rules"][0], error.get("successor", ""))


def test_every_endpoint_of_the_data_port_is_walked() -> None:
    assert {path.decode() for path in WALKS} == {OPERATION_PATH[operation] for operation in forms().values()}


def test_the_table_says_what_every_combination_comes_to() -> None:
    told = {(case.environment, case.status.value, case.use, case.ceiling, case.asked or "none") for case in cases()}
    assert told == table().keys()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_call_comes_to_what_the_table_says(tmp_path: Path, environment: str) -> None:
    expected = table()
    wanted = [case for case in cases() if case.environment == environment]

    async def play(house: House) -> None:
        wrong: list[str] = []
        answered: Counter[int] = Counter()
        waiting = iter(wanted)

        async def one_after_the_other() -> None:
            connection = LoadConnection(house.url)
            try:
                for case in waiting:
                    answer = await connection.call(call_of(case))
                    should = expected[case.environment, case.status.value, case.use, case.ceiling, case.asked or "none"]
                    found = came_to(answer)
                    answered[found.status] += 1
                    if found != should or (answer.status == 200 and answer.failure):
                        wrong.append(f"{case}: {found} {answer.failure}, not {should}")
                    is_told = "deprecation" in answer.headers
                    if is_told != (answer.status == 200 and case.status is ModelStatus.DEPRECATED):
                        wrong.append(f"{case}: deprecation told: {is_told}")
            finally:
                await connection.close()

        await asyncio.gather(*(one_after_the_other() for _ in range(4)))
        assert not wrong, "\n".join(wrong[:20])
        assert sum(answered.values()) == len(wanted)
        assert house.vendor.dispatches == answered[200]

    in_house(tmp_path, plan(), play)


def test_what_an_environment_does_not_take_is_told_with_a_way_out_and_put_on_record(tmp_path: Path) -> None:
    raised = {"x-lineclear-data-class": "confidential"}

    async def play(house: House) -> None:
        plain = chat_call(LAB_KEY, "lab-good", "hi")
        answer = await house.call(Call(plain.path, {**plain.headers, **raised}, plain.body))
        error = answer.json["error"]
        assert "environment 'lab' takes data up to internal, and this is confidential" in error["message"]
        assert (error["param"], error["rules"]) == ("x-lineclear-data-class", ["environment.data-class"])
        assert "a key of an environment that takes such data" in error["hint"]
        record = house.refusal_of(answer)
        assert (record.error_code, record.rules, record.data_class, record.candidates) == (
            "data_class_refused", ("environment.data-class",), "confidential", (),
        )  # fmt: skip
        tried = await house.call(chat_call(LAB_KEY, "lab-secret", "hi"))
        assert tried.json["error"]["rules"] == ["environment.data-class"], "the route's own class counts as well"
        assert (await house.call(plain)).status == 200

    routes = [
        route("lab-good", "good", environment="lab"),
        route("lab-secret", "good", environment="lab", data_class=DataClass.RESTRICTED),
    ]
    in_house(tmp_path, Plan(routes=routes), play)
