"""Overrides that end open answers too: which of them, what their callers are told, and what is on record."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from gateway_house import KEY, House, Plan, in_house, key_entry, make_key, model, route

from lineclear.base.clock import SystemClock
from lineclear.domain.guardrails import GuardrailAction, GuardrailRule, GuardrailSide
from lineclear.domain.ledger import Intent, Settle
from lineclear.domain.overrides import Block, Override, Revoke, Start, Stop
from lineclear.domain.snapshot import AppEntry
from lineclear.handover.overrides import append_override, journal_path
from lineclear.testing.load import Call, CallResult, chat_call, messages_call

SHOP_KEY = make_key("k3")
SLOW = "tokens=400,event-delay-ms=10"
CARDS = GuardrailRule(
    "guardrail.detect:house/cards", (GuardrailSide.OUTPUT,), GuardrailAction.BLOCK, detect=("payment-card",)
)
PLAN = Plan(
    models=[model("slow"), model("apart", provider="openai-only"), model("mute")],
    routes=[
        route("slow", "slow"),
        route("apart", "apart"),
        route("mute", "mute", fallback=("good@1",)),
        route("rescued", "good", fallback=("slow@1",)),
        route("read", "good", guardrails=(CARDS,)),
    ],
    apps=[AppEntry("shop", "team", ("*",))],
    keys=[key_entry("k3", "shop", "live")],
)
Play = Callable[[House], Awaitable[None]]


def play_with(directory: Path, play: Play) -> None:
    async def scripted(house: House) -> None:
        for name in ("slow", "apart"):
            house.vendor.set_script(name, always=SLOW)
        house.vendor.set_script("mute", always="hang")
        await play(house)
        assert len(house.parts.current.exchanges) == 0

    in_house(directory, PLAN, scripted)


def write(house: House, fact: Override) -> None:
    append_override(journal_path(house.directory), fact, "ops", "it burns", SystemClock())


def override(house: House, fact: Override) -> None:
    write(house, fact)
    house.refresh()


async def until(is_so: Callable[[], object], within_s: float = 1.0) -> None:
    for _ in range(int(within_s * 100)):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to be so in time")


async def dispatched(house: House, number: int = 1) -> None:
    """So many requests are at the vendor, and what it says of them has had time to come back."""
    await until(lambda: house.vendor.dispatches >= number, 5)
    await asyncio.sleep(0.1)


def settles(house: House) -> list[Settle]:
    return [record for record in house.records() if isinstance(record, Settle)]


async def ended(calls: list["asyncio.Task[CallResult]"]) -> list[CallResult]:
    """The answers, which must not come by themselves: the vendor would take four seconds for one."""
    async with asyncio.timeout(1.5):
        return list(await asyncio.gather(*calls))


def begin(house: House, *calls: Call) -> list["asyncio.Task[CallResult]"]:
    return [asyncio.get_running_loop().create_task(house.call(call)) for call in calls]


def chat(name: str = "slow", key: str = KEY) -> Call:
    return chat_call(key, name, "hello", stream=True)


def frames(answer: CallResult) -> list[dict[str, object]]:
    return [json.loads(line[6:]) for line in answer.body.splitlines() if line.startswith(b"data: {")]


def test_a_stream_ends_with_an_error_in_its_callers_dialect(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        openai = chat(key=SHOP_KEY)
        anthropic = messages_call(SHOP_KEY, "slow", "hello", stream=True)
        whole = chat_call(SHOP_KEY, "mute", "hello")
        calls = begin(house, openai, anthropic, whole)
        others = begin(house, chat())
        await dispatched(house, 4)
        override(house, Revoke("k3", cut_streams=True))
        first, second, third = await ended(calls)
        for answer in (first, second):
            assert answer.status == 200
            error = frames(answer)[-1]["error"]
            assert isinstance(error, dict)
            assert error["code"] == "invalid_api_key"
            assert error["hint"] == "`lineclear keys create` makes another one"
            assert error["request_id"] == answer.request_id
            settle = house.settle_of(answer)
            assert (settle.outcome, settle.error_code) == ("truncated", "invalid_api_key")
            assert settle.rules == ("key.revoked",)
            assert settle.cost_basis == "estimated"
            # What went out is billed: some of it, and never all that would have come.
            assert 0 < settle.usage.output_tokens < 400
            assert settle.cost_nano_usd > 0
        assert b"[DONE]" not in first.body
        assert frames(second)[-1]["type"] == "error"
        assert third.status == 401
        assert third.json["error"]["code"] == "invalid_api_key"
        settle = house.settle_of(third)
        assert (settle.outcome, settle.error_code, settle.cost_nano_usd) == ("refused", "invalid_api_key", 0)
        assert [(one.attempt_class, one.error_code) for one in settle.attempts] == [("ambiguous", "invalid_api_key")]
        assert settle.waste_nano_usd > 0
        # The vendor was left at once, and nobody else's answer was.
        await until(lambda: len(house.vendor.hung_up) >= 3)
        assert not others[0].done()
        (other,) = await asyncio.gather(*others)
        assert house.settle_of(other).outcome == "ok"
        assert house.parts.current.exchanges.ended == 3

    play_with(tmp_path, play)


def test_without_it_open_answers_run_to_their_end(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        calls = begin(house, chat(key=SHOP_KEY))
        await dispatched(house)
        override(house, Revoke("k3"))
        override(house, Block("slow@1"))
        override(house, Stop("all"))
        (answer,) = await asyncio.gather(*calls)
        assert house.settle_of(answer).outcome == "ok"
        assert answer.body.rstrip().endswith(b"[DONE]")
        assert house.parts.current.exchanges.ended == 0

    play_with(tmp_path, play)


@pytest.mark.parametrize(
    ("fact", "is_cut", "code"),
    [
        (Stop("all", cut_streams=True), (True, True, True), "stopped"),
        (Stop("app:shop", cut_streams=True), (False, True, False), "stopped"),
        (Stop("route:live/apart", cut_streams=True), (False, False, True), "stopped"),
        (Stop("provider:openai-only", cut_streams=True), (False, False, True), "stopped"),
        (Block("slow@1", cut_streams=True), (True, True, False), "model_blocked"),
    ],
)
def test_it_ends_what_it_is_about_and_nothing_else(
    tmp_path: Path, fact: Override, is_cut: tuple[bool, ...], code: str
) -> None:
    async def play(house: House) -> None:
        calls = begin(house, chat(), chat(key=SHOP_KEY), chat("apart"))
        await dispatched(house, 3)
        override(house, fact)
        await ended([call for call, cut in zip(calls, is_cut, strict=True) if cut])
        assert [call.done() for call in calls] == list(is_cut)
        for call, cut in zip(calls, is_cut, strict=True):
            answer = await call
            assert house.settle_of(answer).error_code == (code if cut else "")
            if code == "stopped" and cut:
                assert b"by ops: it burns" in answer.body

    play_with(tmp_path, play)


def test_a_closed_target_is_not_turned_to_by_what_was_planned_before(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("good", following=["delay-ms=400,status=503"])
        calls = begin(house, chat("rescued"))
        await dispatched(house)
        override(house, Block("slow@1", cut_streams=True))
        (answer,) = await asyncio.gather(*calls)
        assert (answer.status, answer.json["error"]["code"]) == (403, "model_blocked")
        settle = house.settle_of(answer)
        assert (settle.outcome, [one.model for one in settle.attempts]) == ("refused", ["good@1"])
        assert house.vendor.dispatches == 1

    play_with(tmp_path, play)


def test_a_wait_between_attempts_ends_and_nothing_is_sent_after_it(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("slow", always="status=429,retry-after=2")
        calls = begin(house, chat(key=SHOP_KEY))
        await dispatched(house)
        override(house, Stop("app:shop", cut_streams=True))
        (answer,) = await ended(calls)
        assert (answer.status, answer.json["error"]["code"]) == (503, "stopped")
        assert answer.headers["x-should-retry"] == "false"
        assert house.settle_of(answer).outcome == "refused"
        assert house.vendor.dispatches == 1

    play_with(tmp_path, play)


def test_a_call_whose_body_was_still_on_its_way_is_not_sent(tmp_path: Path) -> None:
    """It was admitted by the snapshot of before, and would go to the vendor after the key was revoked."""

    async def play(house: House) -> None:
        call = chat(key=SHOP_KEY)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(house.url.rsplit(":", 1)[1]))
        fields = "".join(f"{name}: {value}\r\n" for name, value in call.headers.items())
        length = f"content-length: {len(call.body)}\r\nconnection: close\r\n\r\n"
        writer.write(f"POST {call.path} HTTP/1.1\r\nhost: x\r\n{fields}{length}".encode() + call.body[:10])
        await asyncio.sleep(0.1)
        override(house, Revoke("k3", cut_streams=True))
        writer.write(call.body[10:])
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"its open answers were ended" in answer
        assert house.vendor.dispatches == 0
        intents = [record for record in house.records() if isinstance(record, Intent)]
        assert [record.id for record in intents] == [record.id for record in settles(house)]

    play_with(tmp_path, play)


def test_a_caller_who_does_not_read_keeps_nothing_open(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("slow", always="tokens=400,token-bytes=65536")
        call = chat(key=SHOP_KEY)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(house.url.rsplit(":", 1)[1]))
        fields = "".join(f"{name}: {value}\r\n" for name, value in call.headers.items())
        head = f"POST {call.path} HTTP/1.1\r\nhost: x\r\n{fields}content-length: {len(call.body)}\r\n"
        writer.write(f"{head}connection: close\r\n\r\n".encode() + call.body)
        await dispatched(house)
        await asyncio.sleep(0.3)
        assert not settles(house)
        override(house, Revoke("k3", cut_streams=True))
        await until(lambda: settles(house))
        (settle,) = settles(house)
        assert (settle.outcome, settle.error_code) == ("truncated", "invalid_api_key")
        answer = await reader.read()
        writer.close()
        assert b'"code":"invalid_api_key"' in answer.replace(b": ", b":")[-2000:]
        assert answer.endswith(b"0\r\n\r\n")

    play_with(tmp_path, play)


def test_what_control_took_over_before_a_gateway_read_it_still_ends_answers(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        calls = begin(house, chat(key=SHOP_KEY))
        await dispatched(house)
        write(house, Revoke("k3", cut_streams=True))
        house.publish(PLAN, overrides_folded=1)
        house.refresh()
        (answer,) = await ended(calls)
        assert house.settle_of(answer).error_code == "invalid_api_key"
        # Once: what comes later is not held against it again.
        house.publish(PLAN, overrides_folded=1)
        house.refresh()
        assert (await house.call(chat_call(SHOP_KEY, "good", "x"))).status == 200

    play_with(tmp_path, play)


def test_a_lifted_stop_leaves_what_begins_after_it_alone(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        calls = begin(house, chat())
        await dispatched(house)
        write(house, Stop("all", cut_streams=True))
        override(house, Start("all"))
        (answer,) = await ended(calls)
        assert house.settle_of(answer).error_code == "stopped"
        assert (await house.call(chat_call(KEY, "good", "x"))).status == 200

    play_with(tmp_path, play)


def test_an_answer_that_came_whole_is_withheld_and_charged(tmp_path: Path) -> None:
    """The target will bill it: it was given, and kept back while guardrails read it."""

    async def play(house: House) -> None:
        house.vendor.set_script("good", always="tokens=9000,token-bytes=100")
        calls = begin(house, chat_call(KEY, "read", "hello"))
        for _ in range(1_000_000):
            if house.parts.pool.idle_count:  # the answer is here, and its connection free for others
                break
            await asyncio.sleep(0)
        assert not calls[0].done()
        override(house, Stop("all", cut_streams=True))
        (answer,) = await ended(calls)
        assert (answer.status, answer.json["error"]["code"]) == (503, "stopped")
        assert len(answer.body) < 2_000
        settle = house.settle_of(answer)
        assert (settle.outcome, settle.error_code, settle.usage.output_tokens) == ("refused", "stopped", 9_000)
        assert (settle.cost_nano_usd > 0, settle.waste_nano_usd) == (True, 0)

    play_with(tmp_path, play)
