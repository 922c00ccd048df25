"""The gateway's side of the accountant against one that is slow, broken or away: who is answered, and what is kept."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from lineclear.base.clock import SystemClock
from lineclear.domain.accounts import Denied, Extend, Granted, Op, Reply, Reserve, SettleAccount, Void
from lineclear.domain.errors import ErrorCode, PlatformFault
from lineclear.domain.snapshot import AccountLimits, BudgetLimit
from lineclear.gateway.accounts import AccountantClient
from lineclear.wire.accounts import FrameSplitter, Hello, Ops, Replies, decode_client_frame, encode_frame

LIMITS = {
    "app:rated": AccountLimits(4, 1_000, 2, None),
    "app:paid": AccountLimits(None, None, None, BudgetLimit(10**12, "UTC")),
    "app:shut": AccountLimits(0, None, None, None),
    "app:small": AccountLimits(None, 10, None, None),
}


def grant(op: Op) -> Reply | None:
    return Granted(op.txn) if isinstance(op, (Reserve, Extend)) else None


class Peer:
    """An accountant of the test: it notes what comes and answers as it is told to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writers: list[asyncio.StreamWriter] = []
        self.hellos: list[Hello] = []
        self.ops: list[Op] = []
        self.greets = True
        self.answer: Callable[[Op], Reply | None] = grant
        self.is_silent = False
        self.unasked = b""
        """Sent once instead of the next answer."""

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, str(self._path))

    async def close(self) -> None:
        self._server.close()
        self.hang_up()
        await asyncio.sleep(0)

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        splitter = FrameSplitter()
        while data := await reader.read(65_536):
            for frame in map(decode_client_frame, splitter.feed(data)):
                if isinstance(frame, Hello):
                    self.hellos.append(frame)
                    if self.greets:
                        writer.write(encode_frame(Replies(0, ())))
                else:
                    self._take(frame, writer)
        writer.close()

    def _take(self, frame: Ops, writer: asyncio.StreamWriter) -> None:
        self.ops += frame.ops
        if self.is_silent:
            return
        unasked, self.unasked = self.unasked, b""
        writer.write(unasked or encode_frame(Replies(frame.sequence, tuple(map(self.answer, frame.ops)))))


Play = Callable[[AccountantClient, Peer], Awaitable[None]]


def run(tmp_path: Path, play: Play, *, is_there: bool = True) -> None:
    async def main() -> None:
        peer = Peer(tmp_path / "accountant.sock")
        if is_there:
            await peer.open()
        client = AccountantClient(tmp_path / "accountant.sock", SystemClock(), LIMITS.get, 1, source="local-test-0-0")
        client.start()
        try:
            if is_there:
                await until(lambda: bool(peer.hellos) and (client.connected or not peer.greets))
            await play(client, peer)
        finally:
            await client.close()
            if is_there:
                await peer.close()

    uvloop.run(main())


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if is_so():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to be so within five seconds")


def reserve(txn: str, account: str = "app:rated", tokens: int = 1) -> Reserve:
    return Reserve(txn, (account,), tokens, 1_000)


def test_what_stands_open_is_listed_again_with_its_extensions_and_ends_until_acknowledged(tmp_path: Path) -> None:
    async def play(client: AccountantClient, peer: Peer) -> None:
        for txn in ("a", "b"):
            assert await client.reserve(reserve(txn)) == Granted(txn)
        assert await client.extend(Extend("a", 10, 500)) == Granted("a")
        peer.is_silent = True
        client.resolve(SettleAccount("b", 1, 900))
        await until(lambda: SettleAccount("b", 1, 900) in peer.ops)
        peer.is_silent = False
        peer.ops.clear()
        peer.hang_up()
        await until(lambda: len(peer.hellos) == 2 and bool(peer.ops))
        # Nobody acknowledged the end of b: it is listed as open and ended once more.
        assert peer.hellos[1].open == (Reserve("a", ("app:rated",), 11, 1_500), reserve("b"))
        assert peer.ops == [SettleAccount("b", 1, 900)]
        # Replies come in order: with this grant the end of b is acknowledged.
        assert await client.reserve(reserve("c")) == Granted("c")
        peer.hang_up()
        await until(lambda: len(peer.hellos) == 3)
        assert [op.txn for op in peer.hellos[2].open] == ["a", "c"]
        assert client.counters["accountant_connects"] == 3

    run(tmp_path, play)


def test_an_end_while_the_accountant_is_away_is_told_when_it_is_back(tmp_path: Path) -> None:
    async def play(client: AccountantClient, peer: Peer) -> None:
        await client.reserve(reserve("a"))
        await peer.close()
        await until(lambda: not client.connected)
        client.resolve(Void("a"))
        peer.ops.clear()
        await peer.open()
        await until(lambda: bool(peer.ops))
        assert peer.ops == [Void("a")]

    run(tmp_path, play)


def test_a_grant_that_nobody_waits_for_any_more_is_given_back(tmp_path: Path) -> None:
    async def play(client: AccountantClient, peer: Peer) -> None:
        asking = asyncio.ensure_future(client.reserve(reserve("a")))
        asking.cancel()
        await until(lambda: Void("a") in peer.ops)
        assert peer.ops[0] == reserve("a")

    run(tmp_path, play)


def test_a_denial_is_handed_on_and_leaves_nothing_open(tmp_path: Path) -> None:
    async def play(client: AccountantClient, peer: Peer) -> None:
        denied = Denied("a", "app:rated", "requests", 4, 200, 0)
        peer.answer = lambda _: denied
        assert await client.reserve(reserve("a")) == denied
        assert await client.extend(Extend("a", 1, 1)) == Granted("a")
        peer.hang_up()
        await until(lambda: len(peer.hellos) == 2)
        assert peer.hellos[1].open == ()

    run(tmp_path, play)


def test_an_accountant_that_goes_silent_costs_one_second_once(tmp_path: Path) -> None:
    async def play(client: AccountantClient, peer: Peer) -> None:
        peer.is_silent = True
        loop = asyncio.get_running_loop()
        began = loop.time()
        rated = asyncio.ensure_future(client.reserve(reserve("a")))
        await asyncio.sleep(0.1)
        paid = asyncio.ensure_future(client.reserve(reserve("b", "app:paid")))
        assert await rated == Granted("a")
        assert loop.time() - began > 0.9
        with pytest.raises(PlatformFault) as fault:
            await paid
        assert fault.value.code is ErrorCode.ACCOUNTANT_UNAVAILABLE
        assert client.counters["accountant_timeouts"] == 2
        assert client.counters["accountant_local_answers"] == 1
        # The line was given up, so that it is dialled again; once it answers, the books are the accountant's.
        peer.is_silent = False
        await until(lambda: len(peer.hellos) == 2 and client.connected)
        assert await client.reserve(reserve("c", "app:paid")) == Granted("c")

    run(tmp_path, play)


@pytest.mark.parametrize(
    "unasked",
    [encode_frame(Replies(1, (None, None))), b"\x03\x00\x00\x00abc", b"\xff\xff\xff\xff"],
    ids=["more-replies-than-asked", "no-frame", "too-long"],
)
def test_who_speaks_something_else_is_dialled_again_and_asked_again(tmp_path: Path, unasked: bytes) -> None:
    async def play(client: AccountantClient, peer: Peer) -> None:
        peer.unasked = unasked
        assert await client.reserve(reserve("a")) == Granted("a")
        assert len(peer.hellos) == 2
        assert peer.ops == [reserve("a"), reserve("a")]

    run(tmp_path, play)


def test_an_accountant_that_does_not_greet_is_not_connected_and_is_dialled_again(tmp_path: Path) -> None:
    async def play(client: AccountantClient, peer: Peer) -> None:
        peer.greets = False
        peer.hang_up()
        await until(lambda: len(peer.hellos) == 2)
        assert not client.connected
        assert await client.reserve(reserve("a")) == Granted("a")
        assert peer.ops == []
        await until(lambda: len(peer.hellos) == 3)
        peer.greets = True
        peer.hang_up()
        await until(lambda: client.connected)

    run(tmp_path, play)


def test_whoever_waits_when_the_gateway_ends_is_told_and_nobody_is_asked_after(tmp_path: Path) -> None:
    async def play(client: AccountantClient, peer: Peer) -> None:
        peer.is_silent = True
        waiting = asyncio.ensure_future(client.reserve(reserve("a")))
        given_up = asyncio.ensure_future(client.reserve(reserve("b")))
        await until(lambda: len(peer.ops) == 2)
        given_up.cancel()
        await client.close()
        with pytest.raises(PlatformFault) as fault:
            await waiting
        assert fault.value.code is ErrorCode.ACCOUNTANT_UNAVAILABLE
        with pytest.raises(PlatformFault):
            await client.reserve(reserve("c"))

    run(tmp_path, play)


def test_alone_a_worker_keeps_every_limit_but_a_budget(tmp_path: Path) -> None:
    async def play(client: AccountantClient, _peer: Peer) -> None:
        await asyncio.sleep(1.05)  # the line is dead for longer than a call may wait: no call waits any more
        assert [await client.reserve(reserve(txn, tokens=100)) for txn in "ab"] == [Granted("a"), Granted("b")]
        third = await client.reserve(reserve("c"))
        assert isinstance(third, Denied)
        assert (third.binding, third.limit) == ("concurrency", 2)
        client.resolve(SettleAccount("a", 5, 0))
        client.resolve(Void("b"))
        client.resolve(Void("never granted"))
        # 900 of the 1000 tokens a minute fit, because what was reserved and not used came back.
        assert await client.reserve(reserve("d", tokens=900)) == Granted("d")
        late = await client.reserve(reserve("e", tokens=200))
        assert isinstance(late, Denied)
        assert late.binding == "tokens"
        assert late.retry_after_ms
        client.resolve(Void("d"))
        assert await client.reserve(reserve("f")) == Granted("f")
        client.resolve(Void("f"))
        fifth = await client.reserve(reserve("g"))
        assert isinstance(fifth, Denied)
        assert fifth.binding == "requests"
        assert await client.extend(Extend("f", 1, 1)) == Granted("f")

        for account, binding in (("app:shut", "requests"), ("app:small", "tokens")):
            never = await client.reserve(reserve("h", account, tokens=11))
            assert isinstance(never, Denied)
            assert (never.binding, never.retry_after_ms) == (binding, None)
        with pytest.raises(PlatformFault) as fault:
            await client.reserve(reserve("i", "app:paid"))
        assert fault.value.code is ErrorCode.ACCOUNTANT_UNAVAILABLE
        assert await client.reserve(Reserve("j", ("app:unlimited",), 1, 1)) == Granted("j")
        client.resolve(Void("j"))
        assert await client.reserve(Reserve("k", (), 1, 1)) == Granted("k")

    run(tmp_path, play, is_there=False)
