"""What callers ask about themselves: `/v1/me` from snapshot and accountant, `/v1/requests/{id}` relayed to control."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from gateway_house import KEY, TEST_KEY, House, Plan, in_house, key_entry, make_key, model, route

from lineclear.api.callers import CallersDoor, callers_listener
from lineclear.base.clock import SystemClock
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.accounts import Granted, Look
from lineclear.domain.catalogue import ModelStatus
from lineclear.domain.snapshot import AccountLimits, AppEntry, BudgetLimit
from lineclear.gateway import forward
from lineclear.gateway.looks import LOOKS_AT_ONCE
from lineclear.net.limits import ServerLimits
from lineclear.net.server import HTTPServer
from lineclear.testing.load import chat_call

REQUEST = "req_" + "0" * 27 + "1"
LIMITS = {
    "app:app": AccountLimits(60, None, None, BudgetLimit(2_000_000_000, "Europe/Berlin")),
    "route:live/good": AccountLimits(None, 9_000, 3, None),
}


def explain_own(app: str, environment: str, request: str) -> dict[str, Any]:
    """A desk that knows one request of one app in one environment."""
    if (app, environment, request) != ("app", "live", REQUEST):
        raise Refused(AdminCode.NOT_FOUND, "no such request")
    return {"id": request, "app": app}


def with_control(play: Callable[[House], Awaitable[None]]) -> Callable[[House], Awaitable[None]]:
    """The same with control's socket served."""

    async def played(house: House) -> None:
        door = CallersDoor(explain_own)
        server = HTTPServer(door, clock=SystemClock(), limits=ServerLimits(drain_grace_s=0.0), refuse=door.refuse)
        server.serve(callers_listener(house.directory / "control.sock"))
        try:
            await play(house)
        finally:
            await server.drain(0.0)
            door.close()

    return played


async def ask(house: House, path: str, key: str = KEY, **fields: str) -> tuple[int, Any]:
    return await house.get(path, authorization=f"Bearer {key}", **fields)


def test_me_says_who_the_key_is_and_what_it_may_call(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        status, body = await ask(house, "/v1/me", make_key("k3"))
        assert status == 200
        assert (body["app"], body["team"], body["environment"]) == ("narrow", "other", "live")
        assert body["key"] == {"id": "k3", "expires_at": "2100-01-01T00:00:00Z"}
        assert [item["name"] for item in body["routes"]] == ["two-tasks"]
        (only,) = body["routes"]
        assert (only["tasks"], only["task_required"], only["description"]) == (["a", "b"], True, "for letters")
        assert "/v1/chat/completions" in only["paths"]
        assert (body["budgets"], body["limits"]) == ([], [])
        status, body = await ask(house, "/v1/me", "lc_live_nobody")
        assert (status, body["error"]["code"]) == (401, "invalid_api_key")
        status, body = await house.get("/v1/me", anthropic_version="2023-06-01")
        assert (status, body["type"], body["error"]["type"]) == (401, "error", "authentication_error")

    plan = Plan(
        routes=[route("two-tasks", "good", tasks=("a", "b"), description="for letters"), route("hidden", "good")],
        apps=[AppEntry("narrow", "other", ("two-tasks",))],
        keys=[key_entry("k3", "narrow", "live", expires_at=4_102_444_800)],
    )
    in_house(tmp_path, plan, play)


def test_me_says_what_is_left_and_when_that_is_not_known(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        answer = await house.call(chat_call(KEY, "good", "hello"))
        assert answer.failure == ""
        status, body = await ask(house, "/v1/me")
        assert status == 200
        (budget,) = body["budgets"]
        spent = house.settle_of(answer).cost_nano_usd
        assert spent > 0
        assert (budget["account"], budget["usd_per_month"], budget["remaining"]) == ("app:app", "2.000000000", "known")
        assert budget["remaining_usd"] == f"1.{1_000_000_000 - spent:09d}"
        assert budget["time_zone"] == "Europe/Berlin"
        limits = {(row["account"], row["limit"]): row for row in body["limits"]}
        assert (
            limits["app:app", "requests_per_minute"]["value"],
            limits["app:app", "requests_per_minute"]["left"],
        ) == (60, 59)
        assert limits["route:live/good", "tokens_per_minute"]["remaining"] == "known"
        assert limits["route:live/good", "concurrency"]["value"] == 3
        # Asking takes nothing: the same is left afterwards.
        looked = await house.parts.accountant.look(Look("look", "app:app"))
        assert isinstance(looked, Granted)
        assert looked.budget_remaining_nano_usd == 2_000_000_000 - spent
        await house.stop_accountant()
        status, body = await ask(house, "/v1/me")
        assert status == 200
        assert (body["budgets"][0]["remaining"], body["budgets"][0]["remaining_usd"]) == ("unknown", None)
        assert house.parts.counters["looks_unanswered"] == 1

    in_house(tmp_path, Plan(limits=LIMITS), play)


def test_asking_without_end_costs_the_accountant_one_look_a_second(tmp_path: Path) -> None:
    limits = {f"route:live/r{number}": AccountLimits(None, 9_000, None, None) for number in range(100)}
    limits["app:app"] = AccountLimits(None, None, None, BudgetLimit(2_000_000_000, "UTC"))

    async def play(house: House) -> None:
        before = house.parts.accountant.counters["accountant_frames"]
        began = time.monotonic()
        for _ in range(5):
            answers = await asyncio.gather(*(ask(house, "/v1/me") for _ in range(20)))
            assert {len(body["limits"]) for _, body in answers} == {100}
            assert all(row["left"] == 9_000 for _, body in answers for row in body["limits"])
        seconds = int(time.monotonic() - began) + 1
        frames_each = -(-len(limits) // LOOKS_AT_ONCE)
        assert house.parts.accountant.counters["accountant_frames"] - before <= seconds * frames_each
        # What a call takes shows within the second.
        assert (await house.call(chat_call(KEY, "r7", "hello"))).failure == ""
        deadline = time.monotonic() + 10
        while (await ask(house, "/v1/me"))[1]["budgets"][0]["remaining_usd"] == "2.000000000":
            assert time.monotonic() < deadline

    in_house(tmp_path, Plan(limits=limits, routes=[route(f"r{number}", "good") for number in range(100)]), play)


def test_callers_do_not_wait_in_turn_for_an_accountant_that_is_away(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        await house.stop_accountant()
        began = time.monotonic()
        answers = await asyncio.gather(*(ask(house, "/v1/me") for _ in range(20)))
        assert time.monotonic() - began < 5
        assert {body["budgets"][0]["remaining"] for _, body in answers} == {"unknown"}

    in_house(tmp_path, Plan(limits=LIMITS), play)


def test_a_request_is_told_to_its_own_app_in_its_own_environment(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        for named in (REQUEST, f"{REQUEST}.1"):
            assert await ask(house, f"/v1/requests/{named}") == (200, {"id": REQUEST, "app": "app"})
        for path, key in (
            (f"/v1/requests/{REQUEST}", TEST_KEY),
            (f"/v1/requests/{REQUEST}", make_key("k3")),
            ("/v1/requests/" + REQUEST[:-1] + "2", KEY),
            ("/v1/requests/callers-own-id", KEY),
            (f"/v1/requests/{REQUEST}.", KEY),
            ("/v1/requests/", KEY),
        ):
            status, body = await ask(house, path, key, x_lineclear_app="app", x_lineclear_environment="live")
            assert (status, body["error"]["code"]) == (404, "not_found"), path
        status, body = await house.get(f"/v1/requests/{REQUEST}")
        assert (status, body["error"]["code"]) == (401, "invalid_api_key")
        status, body = await ask(house, f"/v1/requests/{REQUEST}/review", KEY)
        assert (status, body["error"]["code"]) == (405, "method_not_allowed")

    plan = Plan(apps=[AppEntry("other", "team", ("*",))], keys=[key_entry("k3", "other", "live")])
    in_house(tmp_path, plan, with_control(play))


def test_control_away_is_said_and_harms_no_call(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        status, body = await ask(house, f"/v1/requests/{REQUEST}")
        assert (status, body["error"]["code"]) == (503, "control_unavailable")
        status, body = await ask(house, f"/v1/requests/{REQUEST}", anthropic_version="2023-06-01")
        assert (status, body["type"], body["error"]["code"]) == (503, "error", "control_unavailable")
        assert house.parts.counters["forwards_unanswered"] == 2
        assert (await house.call(chat_call(KEY, "good", "hello"))).failure == ""

    in_house(tmp_path, Plan(), play)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\n{}",
        b"nothing like HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (forward.ANSWER_BYTES_MAX + 1),
    ],
    ids=["hangs-up", "fails", "garbage", "breaks-off", "too-long"],
)
def test_a_strange_control_is_control_away(tmp_path: Path, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async def play(house: House) -> None:
        server = await asyncio.start_unix_server(serve, house.directory / "control.sock")
        status, body = await ask(house, f"/v1/requests/{REQUEST}")
        assert (status, body["error"]["code"]) == (503, "control_unavailable")
        server.close()

    in_house(tmp_path, Plan(), play)


def test_a_control_that_hangs_is_waited_for_by_few_and_not_for_long(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        # It takes connections, as a stopped process does, and never says a word.
        with callers_listener(house.directory / "control.sock"):
            asked = [ask(house, f"/v1/requests/{REQUEST}") for _ in range(forward.FORWARDS_MAX + 5)]
            began = time.monotonic()
            answers = await asyncio.gather(*asked)
        assert time.monotonic() - began < forward.FORWARD_S + 2
        assert {status for status, _ in answers} == {503}
        assert house.parts.counters["forwards_refused"] == 5
        assert house.parts.counters["forwards_unanswered"] == forward.FORWARDS_MAX

    in_house(tmp_path, Plan(), play)


def test_only_reading_is_answered(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        for path in ("/v1/me", f"/v1/requests/{REQUEST}"):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(house.url.rsplit(":", 1)[1]))
            writer.write(f"DELETE {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
            assert head.startswith(b"HTTP/1.1 405")
            assert b"allow: GET, HEAD" in head
            assert json.loads(body)["error"]["code"] == "method_not_allowed"

    in_house(tmp_path, Plan(), play)


def test_a_refusal_keeps_why_each_target_was_left_out(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        answer = await house.call(chat_call(KEY, "closed", "hello"))
        refusal = house.refusal_of(answer)
        assert refusal.error_code == "model_blocked"
        assert {one.model: one.exclusion for one in refusal.candidates} == {
            "blocked@1": "blocked@1 is blocked",
            "retired@1": "retired@1 is retired",
        }

    plan = Plan(
        models=[model("blocked", status=ModelStatus.BLOCKED), model("retired", status=ModelStatus.RETIRED)],
        routes=[route("closed", "blocked", "retired")],
    )
    in_house(tmp_path, plan, play)
