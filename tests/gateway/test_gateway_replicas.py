"""Several processes behind one hosted model: who gets the next call, who rests, and what a caller may simulate."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from gateway_house import TEST_KEY, House, Plan, in_house, model, route

from lineclear.base.clock import SystemClock
from lineclear.domain.exchange import Dialect
from lineclear.domain.runtimes import RuntimeState, socket_name
from lineclear.domain.snapshot import ProviderEntry
from lineclear.net.limits import ServerLimits
from lineclear.net.server import HTTPServer
from lineclear.providers.address import RUNTIME_BASE_URL
from lineclear.serving.admission import Admission
from lineclear.serving.door import Door
from lineclear.serving.simulated import SimulatedEngine
from lineclear.testing.load import Call, CallResult, chat_call

PLAN = Plan(
    providers=(ProviderEntry("local", tuple(Dialect), RUNTIME_BASE_URL, private_network=True),),
    models=(
        model("mini", provider="local", runtime="mini", replicas=2),
        model("spare", provider="local", runtime="spare"),
    ),
    routes=(
        route("hosted", "mini", environment="test"),
        route("rescued", "mini", environment="test", fallback=("spare@1",)),
    ),
)


class Replica:
    """One runtime with the simulated engine, on its own socket in this process."""

    def __init__(self, directory: Path, name: str, replica: int = 0) -> None:
        clock = SystemClock()
        self._path = directory / socket_name(name, replica)
        self.admission = Admission(1, 0, clock)
        self.door = Door(SimulatedEngine(name), self.admission, lambda: (RuntimeState.READY, ""))
        limits = ServerLimits(drain_grace_s=0.0)
        self._server = HTTPServer(self.door.handle, clock=clock, limits=limits, refuse=lambda _: (400, b"", b""))
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._path))
        listener.listen(16)
        listener.setblocking(False)
        self._server.serve(listener)

    async def close(self) -> None:
        self._path.unlink(missing_ok=True)
        await self._server.drain(0.0)


def run(tmp_path: Path, play: Callable[[House, list[Replica]], Awaitable[None]]) -> None:
    async def with_replicas(house: House) -> None:
        replicas = [Replica(tmp_path, "mini", 0), Replica(tmp_path, "mini", 1), Replica(tmp_path, "spare")]
        try:
            await play(house, replicas)
        finally:
            for replica in replicas:
                await replica.close()

    in_house(tmp_path, PLAN, with_replicas)


async def ask(house: House, name: str, simulate: str = "") -> CallResult:
    call = chat_call(TEST_KEY, name, "x")
    headers = {**call.headers, "x-lineclear-simulate": simulate} if simulate else call.headers
    return await house.call(Call(call.path, headers, call.body))


def test_idle_replicas_take_turns(tmp_path: Path) -> None:
    async def play(house: House, replicas: list[Replica]) -> None:
        for _ in range(6):
            answer = await ask(house, "hosted")
            assert (answer.status, answer.headers["x-lineclear-attempts"]) == (200, "1")
        assert [replica.door.answered for replica in replicas] == [3, 3, 0]

    run(tmp_path, play)


def test_a_call_goes_to_the_replica_with_the_fewest_under_way(tmp_path: Path) -> None:
    async def play(house: House, replicas: list[Replica]) -> None:
        slow = asyncio.create_task(ask(house, "hosted", "delay-ms=400"))
        for _ in range(30):
            if any(replica.admission.running for replica in replicas):
                break
            await asyncio.sleep(0.01)
        (busy,) = [replica for replica in replicas if replica.admission.running]
        for _ in range(4):
            answer = await ask(house, "hosted")
            assert (answer.status, answer.headers["x-lineclear-attempts"]) == (200, "1")
        assert busy.door.answered == 0
        assert (await slow).status == 200

    run(tmp_path, play)


@pytest.mark.parametrize("why", ["gone", "full"])
def test_a_siblings_answer_hides_a_replica_that_cannot_and_it_rests(tmp_path: Path, why: str) -> None:
    async def play(house: House, replicas: list[Replica]) -> None:
        async with AsyncExitStack() as until_then:
            if why == "gone":
                await replicas[0].close()
            else:
                await until_then.enter_async_context(replicas[0].admission.slot(0))
            answers = [await ask(house, "rescued") for _ in range(6)]
        assert [answer.status for answer in answers] == [200] * 6
        assert {answer.headers["x-lineclear-model"] for answer in answers} == {"mini@1"}
        # One call found out; while the replica rests, no other pays for it.
        attempts = [house.settle_of(answer).attempts for answer in answers]
        assert sorted(len(tried) for tried in attempts) == [1, 1, 1, 1, 1, 2]
        failed = next(tried[0] for tried in attempts if len(tried) == 2)
        assert failed.attempt_class == ("not_sent" if why == "gone" else "rejected")
        assert replicas[1].door.answered == 6

    run(tmp_path, play)


def test_without_any_replica_the_fallback_answers(tmp_path: Path) -> None:
    async def play(house: House, replicas: list[Replica]) -> None:
        await replicas[0].close()
        await replicas[1].close()
        answer = await ask(house, "rescued")
        assert (answer.status, answer.headers["x-lineclear-model"]) == (200, "spare@1")
        assert answer.headers["x-lineclear-fallback"] == "true"
        lost = await ask(house, "hosted")
        assert (lost.status, lost.json["error"]["code"]) == (503, "no_healthy_target")

    run(tmp_path, play)


def test_a_fault_that_a_caller_asked_for_is_not_held_against_the_model(tmp_path: Path) -> None:
    async def play(house: House, replicas: list[Replica]) -> None:
        for _ in range(6):
            assert (await ask(house, "hosted", "status=500")).status == 502
        answer = await ask(house, "hosted")
        assert (answer.status, answer.headers["x-lineclear-attempts"]) == (200, "1")

    run(tmp_path, play)
