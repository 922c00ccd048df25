"""The header fields of errors: those of answers (architecture §6), as far as they are known."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gateway_house import KEY, PRICE, TEST_KEY, House, Plan, in_house, model, route

from lineclear.domain.snapshot import AccountLimits, BudgetLimit
from lineclear.testing.load import Call, CallResult, chat_call, messages_call

Play = Callable[[House], Awaitable[None]]
BOTH = pytest.mark.parametrize("make", [chat_call, messages_call])
MAKE = Any  # one of the two makers of calls
FREE_INPUT = msgspec.structs.replace(PRICE, input_per_mtok=0)


def error_of(answer: CallResult) -> dict[str, Any]:
    found: dict[str, Any] = answer.json["error"]
    return found


@BOTH
def test_a_rate_that_refuses_says_what_is_left(tmp_path: Path, make: MAKE) -> None:
    async def play(house: House) -> None:
        first, second = [await house.call(make(KEY, "good", "x", max_tokens=16)) for _ in range(2)]
        assert (first.status, second.status) == (200, 429)
        names = [name for name in first.headers if "ratelimit" in name] + ["x-lineclear-budget-remaining-usd"]
        assert len(names) == 7
        assert set(names) <= second.headers.keys()
        remaining = "x-ratelimit-remaining-{}" if make is chat_call else "anthropic-ratelimit-{}-remaining"
        assert second.headers[remaining.format("requests")] == "0"
        assert 0 < int(second.headers[remaining.format("tokens")]) < 100_000
        name = "x-lineclear-budget-remaining-usd"
        assert second.headers[name] == first.headers[name]

    limits = AccountLimits(1, 100_000, 5, BudgetLimit(10**9, "UTC"))
    in_house(tmp_path, Plan(limits={"app:app": limits}), play)


@BOTH
def test_a_budget_that_refuses_says_what_is_left_what_was_needed_and_when_it_begins_anew(
    tmp_path: Path, make: MAKE
) -> None:
    async def play(house: House) -> None:
        answer = await house.call(make(KEY, "good", "x", max_tokens=16))
        assert answer.status == 402
        assert answer.headers["x-lineclear-budget-remaining-usd"] == "0.000020000"
        error = error_of(answer)
        # Both accounts refuse; the one with less left is told, as what is left is its.
        assert "the budget of app 'app'" in error["message"]
        assert "needs up to 0.000032000 USD: 0.000020000 USD are left of 0.000020000 USD this month" in error["message"]
        assert re.search(r"anew at \d{4}-\d\d-01T00:00:00Z;", error["hint"])
        assert "max_tokens" in error["hint"]

    plan = Plan(
        models=(model("good", price=FREE_INPUT),),
        limits={
            "team:team": AccountLimits(None, None, None, BudgetLimit(30_000, "UTC")),
            "app:app": AccountLimits(None, None, None, BudgetLimit(20_000, "UTC")),
        },
    )
    in_house(tmp_path, plan, play)


def test_a_spent_budget_is_told_as_nothing_and_never_as_less(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        # More than was reserved: a target that does not keep to the cap.
        house.vendor.set_script("good", always="tokens=50")
        assert (await house.call(chat_call(KEY, "good", "x", max_tokens=16))).status == 200
        answer = await house.call(chat_call(KEY, "good", "x", max_tokens=16))
        assert (answer.status, answer.headers["x-lineclear-budget-remaining-usd"]) == (402, "0.000000000")
        assert ": 0.000000000 USD are left of" in error_of(answer)["message"]
        assert "max_tokens" not in error_of(answer)["hint"]

    plan = Plan(
        models=(model("good", price=FREE_INPUT),),
        limits={"app:app": AccountLimits(None, None, None, BudgetLimit(40_000, "UTC"))},
    )
    in_house(tmp_path, plan, play)


@BOTH
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("asked", ["alone", "pair"])
@pytest.mark.parametrize(("fault", "status"), [("status=500", 502), ("status=429,retry-after=9", 429), ("hang", 504)])
def test_an_error_after_attempts_says_whether_a_fallback_was_tried(
    tmp_path: Path, make: MAKE, stream: bool, asked: str, fault: str, status: int
) -> None:
    async def play(house: House) -> None:
        for name in ("ill", "worse"):
            house.vendor.set_script(name, always=fault)
        call = make(KEY, asked, "x", stream=stream)
        answer = await house.call(Call(call.path, {**call.headers, "x-lineclear-timeout-ms": "400"}, call.body))
        attempts = house.settle_of(answer).attempts
        assert (answer.status, answer.headers["x-lineclear-attempts"]) == (status, str(len(attempts)))
        # Where a target hangs, the caller's time is over before another can be asked.
        has_fallback = asked == "pair" and fault != "hang"
        assert has_fallback == ("worse@1" in [attempt.model for attempt in attempts])
        assert answer.headers["x-lineclear-fallback"] == ("true" if has_fallback else "false")
        assert "x-lineclear-model" not in answer.headers

    plan = Plan(
        models=(model("ill"), model("worse")),
        routes=(route("alone", "ill"), route("pair", "ill", fallback=("worse@1",))),
    )
    in_house(tmp_path, plan, play)


def test_a_call_that_is_refused_before_any_attempt_names_no_fallback(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        await house.call(chat_call(KEY, "good", "x"))
        refused = await house.call(chat_call(KEY, "good", "x"))
        assert (refused.status, refused.headers["x-lineclear-attempts"]) == (429, "0")
        assert "x-lineclear-fallback" not in refused.headers

    in_house(tmp_path, Plan(limits={"app:app": AccountLimits(1, None, None, None)}), play)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models", 200),
        ("/v1/models/good", 200),
        ("/v1/models/absent", 404),
        ("/v1/model-versions/good@1", 200),
        ("/v1/model-versions/absent@1", 404),
        ("/v1/me", 200),
        ("/v1/routes/good/config", 200),
        ("/v1/routes/absent/config", 404),
        ("/v1/requests/absent", 404),
        ("/v1/requests/req_" + "0" * 28, 503),
        ("/v1/requests/req_" + "0" * 28 + "/review", 405),
        ("/v1/chat/completions", 405),
        ("/v1/nowhere", 404),
        ("/v2/health", 400),
    ],
)
def test_what_callers_ask_of_the_gateway_itself_names_environment_and_revision(
    tmp_path: Path, path: str, status: int
) -> None:
    told = ["x-lineclear-environment: test", "x-lineclear-revision: 1"]

    async def play(house: House) -> None:
        for dialect in ({}, {"anthropic_version": "2023-06-01"}):
            head, _ = await house.ask(path, x_api_key=TEST_KEY, **dialect)
            assert head.startswith(f"HTTP/1.1 {status} ")
            assert sorted(line for line in head.split("\r\n") if line in told) == told
            # Who is not known is told of neither.
            head, _ = await house.ask(path, x_api_key="lc_test_nobody", **dialect)
            assert "x-lineclear-environment" not in head
            assert "x-lineclear-revision" not in head

    in_house(tmp_path, Plan(routes=(route("good", "good", environment="test"),)), play)
