"""Callers with habits of their own: wrong protocol, odd fields, slow readers, hang-ups while the gateway waits."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from gateway_house import KEY, House, Plan, in_house, model, route

from lineclear.domain.catalogue import DataClass
from lineclear.domain.ledger import Intent, Settle
from lineclear.testing.load import Call, CallResult, chat_call, messages_call

Play = Callable[[House], Awaitable[None]]
ILL = Plan(models=(model("ill"),), routes=(route("alone", "ill"), route("pair", "ill", fallback=("good@1",))))


def head_of(call: Call, *lines: bytes) -> bytes:
    fields = [f"{name}: {value}".encode() for name, value in call.headers.items()]
    first = f"POST {call.path} HTTP/1.1".encode()
    length = b"content-length: %d" % len(call.body)
    return b"\r\n".join([first, b"host: x", *fields, *lines, length, b"", b""])


async def connect(house: House) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(house.url.rsplit(":", 1)[1]))


async def say(house: House, data: bytes) -> bytes:
    """What is answered to these bytes until the gateway closes."""
    reader, writer = await connect(house)
    writer.write(data)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def settled(house: House) -> Settle:
    """The one settle, waited for."""
    found: list[Settle] = []
    for _ in range(500):
        found = [record for record in house.records() if isinstance(record, Settle)]
        if found:
            break
        await asyncio.sleep(0.01)
    (settle,) = found
    return settle


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"GET\r\n\r\n", b"POST /v1 HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_request_is_told_so_with_an_id(tmp_path: Path, data: bytes) -> None:
    async def play(house: House) -> None:
        answer = await say(house, data)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"x-request-id: " in answer
        assert b'"error"' in answer

    in_house(tmp_path, Plan(), play)


def test_fields_that_mean_nothing_here_stop_nobody(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        call = messages_call(KEY, "good", "x")
        headers = {**call.headers, "content-type": "application/json; charset=utf-8", "x-lineclear-timeout-ms": ""}
        answer = await house.call(Call(call.path + "?beta=true", headers, call.body))
        assert answer.status == 200
        answer = await house.call(Call(call.path + "?api_key=lc_x", headers, call.body))
        assert (answer.status, "URL" in answer.json["error"]["message"]) == (400, True)

    in_house(tmp_path, Plan(), play)


def test_a_fact_that_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        call = chat_call(KEY, "good", "x")
        answer = await say(house, head_of(call, b"x-lineclear-user: \xff\xfe", b"connection: close") + call.body)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"x-lineclear-user" in answer
        assert b"not UTF-8" in answer

    in_house(tmp_path, Plan(), play)


def test_a_guessed_secret_under_a_known_id_looks_like_any_unknown_key(tmp_path: Path) -> None:
    body = f"lc_live_k1_{'t' * 43}"

    async def play(house: House) -> None:
        guessed = await house.call(chat_call(body + f"{zlib.crc32(body.encode()):08x}", "good", "x"))
        unknown = await house.call(chat_call("lc_live_none", "good", "x"))
        assert guessed.status == unknown.status == 401
        assert guessed.json["error"]["message"] == unknown.json["error"]["message"]

    in_house(tmp_path, Plan(), play)


def test_a_caller_raises_the_class_of_its_data_and_never_lowers_it(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        async def ask(data_class: str) -> CallResult:
            call = chat_call(KEY, "good", "x")
            return await house.call(Call(call.path, {**call.headers, "x-lineclear-data-class": data_class}, call.body))

        classes = [DataClass.PUBLIC, DataClass.INTERNAL, DataClass.CONFIDENTIAL]
        answers = [await ask(data_class.value) for data_class in classes]
        assert [answer.status for answer in answers] == [200, 200, 403]
        intents = [record for record in house.records() if isinstance(record, Intent)]
        assert [intent.data_class for intent in intents] == ["internal", "internal"]

    card = (DataClass.PUBLIC, DataClass.INTERNAL)
    in_house(tmp_path, Plan(models=(model("good", data_classes=card),)), play)


def test_a_slow_reader_gets_all_of_its_stream(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("good", always="tokens=200,token-bytes=65536")
        call = chat_call(KEY, "good", "x", stream=True)
        reader, writer = await connect(house)
        writer.write(head_of(call, b"connection: close") + call.body)
        await asyncio.sleep(0.5)  # far more than sockets hold is waiting by now
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert len(answer) > 200 * 65_536
        assert b"data: [DONE]" in answer[-200:]
        assert (await settled(house)).outcome == "ok"

    in_house(tmp_path, Plan(), play)


@pytest.mark.parametrize("script", ["status=429,retry-after-ms=1500", "delay-ms=1500"])
def test_a_caller_who_hangs_up_while_the_gateway_waits_ends_the_exchange(tmp_path: Path, script: str) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("ill", always=script)
        call = chat_call(KEY, "alone", "x")
        _, writer = await connect(house)
        writer.write(head_of(call) + call.body)
        for _ in range(100):
            if house.vendor.dispatches:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        settle = await settled(house)
        assert (settle.outcome, len(settle.attempts)) == ("client_gone", 1)
        assert settle.duration_us < 1_400_000
        assert house.vendor.dispatches == 1
        # Whoever sent nothing billable owes nothing; a call under way may have been carried out.
        assert (settle.waste_nano_usd > 0) == script.startswith("delay")

    in_house(tmp_path, ILL, play)


def test_a_revision_that_does_not_fit_together_is_refused_whole_and_named(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        broken = {
            "nowhere": Plan(routes=(route("lost", "good", environment="nowhere"),)),
            "nobody": Plan(models=(model("odd", provider="nobody"),), routes=(route("odd", "odd"),)),
            "missing@1": Plan(routes=(route("odd", "missing"),)),
        }
        for name, plan in broken.items():
            house.publish(plan)
            house.refresh()
            assert repr(name) in house.parts.current.refused_reason
            assert (await house.call(chat_call(KEY, "good", "x"))).headers["x-lineclear-revision"] == "1"
        house.publish(Plan())
        house.refresh()
        assert house.parts.current.refused_reason == ""

    in_house(tmp_path, Plan(), play)
