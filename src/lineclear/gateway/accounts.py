"""The gateway's side of the accountant: operations in, replies out, one frame per tick of the loop.

In: reservations, extensions, settles, voids. Out: grants and denials. When the accountant is away a call waits at
most one second; then budgets fail closed, rates are kept locally at this worker's share, the rest passes. What was
settled is sent again until it is acknowledged. Must not decide who is limited: the snapshot does (`limits_of`).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, cast

import msgspec

from lineclear.base.clock import Clock
from lineclear.domain.accounts import Extend, Granted, Look, Op, Reply, Reserve, SettleAccount, Void
from lineclear.domain.errors import ErrorCode, PlatformFault
from lineclear.domain.snapshot import AccountLimits
from lineclear.gateway.local_limits import LocalLimits
from lineclear.gateway.looks import Looks
from lineclear.wire.accounts import (
    OPS_PER_FRAME_MAX,
    PROTOCOL_VERSION,
    FrameError,
    FrameSplitter,
    Hello,
    Ops,
    Replies,
    decode_replies,
    encode_frame,
)

REPLY_WAIT_NS: Final = 1_000_000_000
"""How long a call waits for the accountant. Source: design decision 3."""
GREETING_WAIT_S: Final = 1.0
RECONNECT_FIRST_S: Final = 0.02
RECONNECT_CAP_S: Final = 0.2
"""Below the accountant's muster after a restart, so that nobody is missed."""
END_LINGER_S: Final = 0.002
"""How long an end may wait for a reservation to ride with; a budget gets back what was not used so much later."""
UNACKNOWLEDGED_MAX: Final = 65_536
"""Ends kept for sending again. Past this the oldest is left to the ledger's spool, which the accountant reads too."""


class _Asked(msgspec.Struct, frozen=True, eq=False):
    """An operation on its way; `future` is None where nobody waits."""

    op: Op
    future: "asyncio.Future[Reply] | None"
    deadline_ns: int


class AccountantClient:
    """One worker's connection to the accountant. Belongs to one event loop."""

    def __init__(
        self,
        socket_path: Path,
        clock: Clock,
        limits_of: Callable[[str], AccountLimits | None],
        workers: int,
        *,
        source: str,
    ) -> None:
        """Nothing is opened until `start`.

        Args:
            socket_path: `accountant.sock` in the run directory.
            clock: for deadlines and local rates.
            limits_of: the limits of an account in the snapshot in force; None = none.
            workers: how many gateway slots share the node's limits, at least 1.
            source: this worker life's name, as in the spool.
        """
        self._path = str(socket_path)
        self._now_ns = clock.monotonic_ns
        self._source = source
        self._local = LocalLimits(limits_of, workers)
        self._queued: list[_Asked] = []
        self._in_flight: deque[list[_Asked]] = deque()
        self._waiting: deque[_Asked] = deque()
        self._held: dict[str, Reserve] = {}
        """Granted and not acknowledged as ended, with the amounts as extended: what a hello lists."""
        self._ended: dict[str, SettleAccount | Void] = {}
        """Ended and not acknowledged."""
        self._line: _Line | None = None
        self.looks = Looks(self.look, lambda: self.connected, self._now_ns)
        self._lost_ns = clock.monotonic_ns()
        self._dialling: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_scheduled = False
        self._is_lingering = False
        self._is_closed = False
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._sequence = 0
        self._counters = dict.fromkeys(
            (
                "accountant_frames",
                "accountant_connects",
                "accountant_timeouts",
                "accountant_local_answers",
                "accountant_ends_dropped",
            ),
            0,
        )

    @property
    def connected(self) -> bool:
        """Whether the accountant is on the line and has greeted."""
        return self._line is not None

    @property
    def counters(self) -> dict[str, int]:
        """Cumulative since this worker started; names as in docs/metrics.md."""
        return dict(self._counters)

    def start(self) -> None:
        """Begins to connect, and to connect again whenever the line is lost. Call it in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._lost_ns = self._now_ns()
        self._dialling = self._loop.create_task(self._dial())

    async def close(self) -> None:
        """Hangs up, after sending what is queued. Whoever still waits gets `accountant_unavailable`."""
        self._is_closed = True
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.wait([self._dialling])
        self._flush()
        if self._line is not None:
            self._line.hang_up()
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        for asked in self._waiting:
            if asked.future is not None and not asked.future.done():
                asked.future.set_exception(_unavailable())
        self._waiting.clear()

    def reserve(self, op: Reserve) -> Awaitable[Reply]:
        """Takes from every account or from none.

        A plain function, because a coroutine between the call and its answer costs more than the question.

        Raises:
            PlatformFault: `accountant_unavailable`: no answer within a second and one of the accounts has a budget.
        """
        if op.accounts:
            return self._ask(op)
        granted: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        granted.set_result(Granted(op.txn))
        return granted

    async def extend(self, op: Extend) -> Reply:
        """Raises an open reservation, everywhere or nowhere.

        Raises:
            PlatformFault: `accountant_unavailable`, as for `reserve`.
        """
        if op.txn not in self._held:
            # Granted without the accountant, or without any account: there is no budget in it.
            return Granted(op.txn)
        return await self._ask(op)

    def look(self, op: Look) -> Awaitable[Reply]:
        """Asks what is left in one account; takes nothing.

        Raises:
            PlatformFault: `accountant_unavailable`: no answer within a second.
        """
        return self._ask(op)

    def resolve(self, op: SettleAccount | Void) -> None:
        """Ends a reservation; returns at once. It is sent again until the accountant acknowledges it."""
        if op.txn in self._held:
            self._end(op)
        else:
            self._local.resolve(op, self._now_ns() // 1000)

    # Asking

    def _ask(self, op: Reserve | Extend | Look) -> "asyncio.Future[Reply]":
        loop = self._loop
        if loop is None or self._is_closed:
            raise _unavailable()
        future: asyncio.Future[Reply] = loop.create_future()
        now_ns = self._now_ns()
        # While the line is dead for longer than a call may wait, no further call waits at all.
        since_ns = now_ns if self._line is not None else self._lost_ns
        asked = _Asked(op, future, since_ns + REPLY_WAIT_NS)
        if asked.deadline_ns <= now_ns:
            self._answer_alone(asked)
            return future
        self._waiting.append(asked)
        if self._line is not None:
            self._queue(asked)
        if self._deadline_timer is None:
            self._deadline_timer = loop.call_later((asked.deadline_ns - now_ns) / 1e9, self._check_deadlines)
        return future

    def _end(self, op: SettleAccount | Void) -> None:
        self._ended[op.txn] = op
        if len(self._ended) > UNACKNOWLEDGED_MAX:
            txn = next(iter(self._ended))
            del self._ended[txn]
            self._held.pop(txn, None)
            self._counters["accountant_ends_dropped"] += 1
        if self._line is not None and self._loop is not None:
            # Nobody waits for an end: it rides with the next reservation's frame, or goes alone a moment later.
            self._queued.append(_Asked(op, None, 0))
            if not self._is_scheduled and not self._is_lingering:
                self._is_lingering = True
                self._loop.call_later(END_LINGER_S, self._flush_ends)

    def _flush_ends(self) -> None:
        self._is_lingering = False
        self._flush()

    def _queue(self, asked: _Asked) -> None:
        self._queued.append(asked)
        if not self._is_scheduled and self._loop is not None:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_scheduled = False
        line = self._line
        if line is None or not self._queued:
            return
        queued, self._queued = self._queued, []
        for start in range(0, len(queued), OPS_PER_FRAME_MAX):
            part = queued[start : start + OPS_PER_FRAME_MAX]
            self._sequence += 1
            self._in_flight.append(part)
            self._counters["accountant_frames"] += 1
            line.write(encode_frame(Ops(self._sequence, tuple([asked.op for asked in part]))))

    # Answers

    def replied(self, frame: Replies) -> None:
        """Hands each reply to whoever waits for it. Raises FrameError if it answers nothing that was asked."""
        if not self._in_flight or len(self._in_flight[0]) != len(frame.replies):
            raise FrameError("the accountant answers something that was not asked")
        for asked, reply in zip(self._in_flight.popleft(), frame.replies, strict=True):
            if asked.future is None:
                if self._ended.get(asked.op.txn) is asked.op:
                    del self._ended[asked.op.txn]
                    self._held.pop(asked.op.txn, None)
            elif reply is not None:
                self._answer(asked, asked.future, reply)
        waiting = self._waiting
        while waiting:
            future = waiting[0].future
            if future is not None and not future.done():
                break
            waiting.popleft()

    def _answer(self, asked: _Asked, future: "asyncio.Future[Reply]", reply: Reply) -> None:
        op = asked.op
        is_late = future.done()
        if type(reply) is Granted:
            if type(op) is Reserve:
                self._held[op.txn] = op
                if is_late:
                    # Whoever asked is gone (deadline, cancelled): what came too late is given back.
                    self._end(Void(op.txn))
            elif type(op) is Extend:
                self._extend_held(op)
        if not is_late:
            future.set_result(reply)

    def _extend_held(self, op: Extend) -> None:
        held = self._held.get(op.txn)
        if held is not None:
            tokens, nano_usd = held.tokens + op.tokens, held.nano_usd + op.nano_usd
            self._held[op.txn] = Reserve(op.txn, held.accounts, tokens, nano_usd)

    def _check_deadlines(self) -> None:
        self._deadline_timer = None
        now_ns = self._now_ns()
        waiting = self._waiting
        late = 0
        while waiting:
            asked = waiting[0]
            if asked.future is not None and not asked.future.done():
                if asked.deadline_ns > now_ns:
                    break
                late += 1
                self._answer_alone(asked)
            waiting.popleft()
        if waiting and self._loop is not None:
            delay_s = max(0.001, (waiting[0].deadline_ns - now_ns) / 1e9)
            self._deadline_timer = self._loop.call_later(delay_s, self._check_deadlines)
        if late:
            self._counters["accountant_timeouts"] += late
            if self._line is not None:
                # It is on the line and does not answer: start over, and let no further call wait for this line.
                self._line.break_off()

    def _answer_alone(self, asked: _Asked) -> None:
        future = asked.future
        if future is None or future.done():
            return
        op = asked.op
        reply = self._local.reserve(op, self._now_ns() // 1000) if isinstance(op, Reserve) else None
        if reply is None:
            future.set_exception(_unavailable())
            return
        self._counters["accountant_local_answers"] += 1
        future.set_result(reply)

    # The line

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = RECONNECT_FIRST_S
        while not self._is_closed:
            try:
                _, line = await loop.create_unix_connection(lambda: _Line(self), self._path)
            except OSError:
                # Not there yet, or not any more: decision 3 says what calls do meanwhile.
                await asyncio.sleep(pause_s)
                pause_s = min(RECONNECT_CAP_S, pause_s * 2)
                continue
            if await line.greet(encode_frame(Hello(PROTOCOL_VERSION, self._source, tuple(self._held.values())))):
                pause_s = RECONNECT_FIRST_S
                await line.lost
            await asyncio.sleep(pause_s)

    def greeted(self, line: "_Line") -> None:
        """The accountant is there: everything that is not answered yet goes out again, in order."""
        self._line = line
        self._counters["accountant_connects"] += 1
        self._in_flight.clear()
        self._queued = [asked for asked in self._waiting if asked.future is not None and not asked.future.done()]
        self._queued += [_Asked(op, None, 0) for op in self._ended.values()]
        self._flush()

    def line_lost(self, line: "_Line") -> None:
        if self._line is line:
            self._line = None
            self._lost_ns = self._now_ns()
            self._queued = []
            self._in_flight.clear()


class _Line(asyncio.Protocol):
    """One connection, from its hello to its end."""

    def __init__(self, client: AccountantClient) -> None:
        self._client = client
        self._splitter = FrameSplitter()
        self._transport: asyncio.Transport | None = None
        self._is_greeted = False
        loop = asyncio.get_running_loop()
        self._greeting: asyncio.Future[bool] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The loop hands a stream transport to the protocol of a stream connection.
        self._transport = cast("asyncio.Transport", transport)

    async def greet(self, hello: bytes) -> bool:
        """Says hello; whether the accountant answered in time. If not, the line is broken off."""
        self.write(hello)
        timer = asyncio.get_running_loop().call_later(GREETING_WAIT_S, self.break_off)
        try:
            return await self._greeting
        finally:
            timer.cancel()

    def write(self, frame: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._splitter.feed(data):
                frame = decode_replies(payload)
                if self._is_greeted:
                    self._client.replied(frame)
                else:
                    self._is_greeted = True
                    self._client.greeted(self)
                    if not self._greeting.done():
                        self._greeting.set_result(True)
        except FrameError:
            # Another version is on the other side; dialling again finds the right one once it is upgraded.
            self.break_off()

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def break_off(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self._client.line_lost(self)
        if not self._greeting.done():
            self._greeting.set_result(False)
        if not self.lost.done():
            self.lost.set_result(None)


def _unavailable() -> PlatformFault:
    return PlatformFault(
        ErrorCode.ACCOUNTANT_UNAVAILABLE,
        "the accountant, which keeps budgets, does not answer; nothing was sent",
        hint="it is restarted by itself; try again shortly",
        retry_after_ms=1000,
    )
