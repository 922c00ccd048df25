"""A defect of our own in the middle of an exchange: the caller is told, the log says it, and the books still close."""

import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from gateway_house import KEY, House, Plan, in_house, model, route

from lineclear.domain.ledger import Checkpoint, Intent, LedgerSink, Record, Settle
from lineclear.gateway.door import Door
from lineclear.net.limits import ServerLimits
from lineclear.net.server import HTTPServer
from lineclear.testing.load import CallResult, LoadConnection, chat_call

PLAN = Plan(models=(model("ill"),), routes=(route("pair", "ill", fallback=("good@1",)),))


class DefectiveLedger:
    """The house's own spool, but for one kind of record."""

    def __init__(self, ledger: LedgerSink, kind: type[Record]) -> None:
        self._ledger = ledger
        self._kind = kind

    def append(self, record: Record) -> int:
        if isinstance(record, self._kind):
            raise ZeroDivisionError("secret detail of the defect")
        return self._ledger.append(record)

    @property
    def flushed_to(self) -> int:
        return self._ledger.flushed_to

    @property
    def accepts_intents(self) -> bool:
        return self._ledger.accepts_intents

    async def flushed(self, position: int) -> None:
        await self._ledger.flushed(position)


def run(
    tmp_path: Path, kind: type[Record], play: Callable[[House, Callable[..., Awaitable[CallResult]]], Awaitable[None]]
) -> None:
    """A house with a second door, whose ledger has a defect at one kind of record."""

    async def with_defect(house: House) -> None:
        parts = msgspec.structs.replace(house.parts, ledger=DefectiveLedger(house.spool, kind))
        door = Door(parts)
        limits = ServerLimits(drain_grace_s=0.0)
        server = HTTPServer(door, clock=parts.clock, limits=limits, refuse=door.refuse)
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        connection = LoadConnection(f"http://127.0.0.1:{listener.getsockname()[1]}")
        server.serve(listener)
        try:
            await play(house, connection.call)
        finally:
            await connection.close()
            await server.drain(0.0)

    in_house(tmp_path, PLAN, with_defect)


def test_a_defect_before_anything_is_sent_is_told_with_an_id_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(house: House, call: Callable[..., Awaitable[CallResult]]) -> None:
        answer = await call(chat_call(KEY, "good", "x"))
        assert (answer.status, answer.json["error"]["code"]) == (500, "internal_error")
        assert answer.request_id in answer.body.decode()
        assert b"secret detail" not in answer.body
        assert house.vendor.dispatches == 0
        assert house.records() == []
        (line,) = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
        assert answer.request_id in line.getMessage()
        assert line.exc_info is not None

    run(tmp_path, Intent, play)


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_defect_between_intent_and_answer_leaves_exactly_one_settle(
    tmp_path: Path, has_begun: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(house: House, call: Callable[..., Awaitable[CallResult]]) -> None:
        if has_begun:
            # A stream of more than a second leaves a checkpoint.
            house.vendor.set_script("good", always="tokens=12,event-delay-ms=120")
            answer = await call(chat_call(KEY, "good", "x", stream=True))
            # What has gone out cannot be taken back: the caller sees a cut, not an end.
            assert answer.failure == "cut"
            assert b"[DONE]" not in answer.body
        else:
            # So does a second attempt, before it is sent.
            house.vendor.set_script("ill", always="status=500")
            answer = await call(chat_call(KEY, "pair", "x"))
            assert (answer.status, answer.json["error"]["code"]) == (500, "internal_error")
        settle = house.settle_of(answer)
        assert (settle.outcome, settle.error_code) == ("fault", "internal_error")
        assert [record.id for record in house.records() if isinstance(record, Intent)] == [settle.id]
        assert len([record for record in house.records() if isinstance(record, Settle)]) == 1
        assert any(entry.levelno == logging.ERROR for entry in caplog.records)

    run(tmp_path, Checkpoint, play)
