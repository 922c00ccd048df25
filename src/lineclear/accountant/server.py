"""The accountant's door: a Unix socket on which gateways reserve, and the ticks that keep the books durable.

In: frames of operations, pokes, the passing of time. Out: replies in order, one frame for each; checkpoints. After a
restart it answers nobody until the gateways that live have said what they hold, or the muster is over. Must not speak
SQL or HTTP.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from lineclear.accountant.books import Books
from lineclear.accountant.fold import Fold
from lineclear.accountant.reservation import Moment, Source
from lineclear.accountant.state import StateUnreadable, dump_books, load_books
from lineclear.base.clock import Clock
from lineclear.handover.checkpoint import CheckpointBroken, load_checkpoint, save_checkpoint
from lineclear.wire.accounts import (
    PROTOCOL_VERSION,
    FrameError,
    FrameSplitter,
    Hello,
    Ops,
    Replies,
    decode_client_frame,
    encode_frame,
)

MUSTER_S: Final = 0.5
"""How long living gateways have, after a restart, to say what they hold. Shorter than a call waits (1 s)."""
FOLD_INTERVAL_S: Final = 0.25
"""Each look costs a third of a millisecond even where nothing is new: the core has thought of other things since."""
DEAD_LOOK_TICKS: Final = 4
"""So often it looks for dead gateways although nobody that holds anything is away."""
CHECKPOINT_INTERVAL_S: Final = 1.0
CONNECTIONS_MAX: Final = 1024
PARKED_FRAMES_MAX: Final = 65_536
UNREAD_BYTES_MAX: Final = 64 << 20
"""A gateway that does not read so much of its answers is cut off."""

log = logging.getLogger("lineclear.accountant")


class Accountant:
    """The books of one node, served and kept durable."""

    def __init__(self, spool: Path, checkpoint: Path, clock: Clock) -> None:
        """Reads checkpoint and spool; ready to serve when this returns.

        Raises:
            CheckpointBroken: the checkpoint cannot be trusted, or its content is of another version.
        """
        self._clock = clock
        self._checkpoint_path = checkpoint
        saved = load_checkpoint(checkpoint)
        try:
            self.books = load_books(saved.state, self.now()) if saved else Books()
        except StateUnreadable as error:
            raise CheckpointBroken(checkpoint, f"holds books that cannot be read ({error})") from error
        self._fold = Fold(spool, self.books, saved.positions if saved else {})
        self.replayed_records = self._fold.catch_up(self.now())
        self.books.expire(self.now(), self._fold.dead_sources())
        self._mustering = self._fold.live_sources()
        self._parked: list[tuple[_Connection, Ops]] = []
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._timers: dict[Callable[[], None], asyncio.TimerHandle] = {}
        self._saved_steps = -1
        self._saved_positions: dict[str, int] = {}
        self._saving: asyncio.Future[None] | None = None
        self._fold_ticks = 0
        self.checkpoint_failures = 0

    def now(self) -> Moment:
        """The moment of a step."""
        return Moment(self._clock.monotonic_ns() // 1000, self._clock.unix_us() // 1_000_000)

    async def serve(self, socket_path: Path) -> None:
        """Listens on `socket_path`; a leftover there is replaced.

        Raises:
            OSError: the socket cannot be made.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Connection(self), sock=_listener(socket_path))
        self._every(FOLD_INTERVAL_S, self._fold_tick)
        self._every(CHECKPOINT_INTERVAL_S, self._checkpoint_tick)
        if self._mustering:
            loop.call_later(MUSTER_S, self._end_muster)

    async def close(self) -> None:
        """Takes no more operations, reads the spool to its end and writes a last checkpoint."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()
        if self._saving is not None:
            await self._saving
        self._fold.catch_up(self.now())
        self._save(dict(self._fold.positions), dump_books(self.books, self.now()))

    @property
    def counters(self) -> dict[str, int]:
        """Cumulative since this life began, and how much stands open now."""
        return {
            **self.books.counters,
            "accounts_open": len(self.books.open),
            "accounts_unconfirmed": len(self.books.unconfirmed),
            "accounts_connections": len(self._connections),
            "accounts_damaged_records": self._fold.damaged_records,
            "accounts_checkpoint_failures": self.checkpoint_failures,
        }

    # Connections

    def opened(self, connection: "_Connection") -> bool:
        """Whether a new connection is taken."""
        if len(self._connections) >= CONNECTIONS_MAX:
            log.warning("refused a connection: %d gateways are connected", len(self._connections))
            return False
        self._connections.add(connection)
        return True

    def closed(self, connection: "_Connection") -> None:
        self._connections.discard(connection)
        if connection.source is not None:
            self.books.goodbye(connection.source, self.now())

    def hello(self, connection: "_Connection", frame: Hello) -> None:
        """Raises FrameError if this gateway speaks another version."""
        if frame.version != PROTOCOL_VERSION:
            raise FrameError(f"{frame.source!r} speaks version {frame.version}; this accountant {PROTOCOL_VERSION}")
        if connection.source is not None:
            raise FrameError(f"{frame.source!r} says hello twice")
        connection.source = self.books.hello(frame.source, frame.open, self.now())
        connection.write(encode_frame(Replies(0, ())))
        if self._mustering:
            self._mustering.discard(frame.source)
            if not self._mustering:
                self._end_muster()

    def ops(self, connection: "_Connection", frame: Ops) -> None:
        if self._mustering and len(self._parked) < PARKED_FRAMES_MAX:
            self._parked.append((connection, frame))
            return
        source = connection.source
        if source is None:
            raise FrameError("operations before hello")
        at = self.now()
        act = self.books.act
        connection.write(encode_frame(Replies(frame.sequence, tuple([act(op, source, at) for op in frame.ops]))))

    def _end_muster(self) -> None:
        if self._mustering:
            log.warning("went on without word from %s", ", ".join(sorted(self._mustering)))
        self._mustering = set()
        parked, self._parked = self._parked, []
        for connection, frame in parked:
            if connection in self._connections:
                self.ops(connection, frame)

    # Ticks

    def _every(self, interval_s: float, tick: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()

        def run() -> None:
            self._timers[tick] = loop.call_later(interval_s, run)
            tick()

        self._timers[tick] = loop.call_later(interval_s, run)

    def _fold_tick(self) -> None:
        skipped = set(self._fold.skipped)
        self._fold.step(self.now())
        for name, reason in self._fold.skipped.items():
            if name not in skipped:
                log.error("segment %s is not counted: %s", name, reason)
        self._fold_ticks += 1
        is_looking = self.books.is_owner_away or self._fold_ticks % DEAD_LOOK_TICKS == 0
        expired = self.books.expire(self.now(), self._fold.dead_sources() if is_looking else frozenset())
        if expired:
            log.warning("%d reservations of gateways that are gone were posted at their last checkpoint", expired)

    def _checkpoint_tick(self) -> None:
        positions = dict(self._fold.positions)
        is_same = self._saved_steps == self.books.steps and self._saved_positions == positions
        if is_same or self._saving is not None:
            return
        state = dump_books(self.books, self.now())
        steps = self.books.steps
        self._saving = asyncio.get_running_loop().run_in_executor(None, self._save, positions, state)

        def done(saving: "asyncio.Future[None]") -> None:
            self._saving = None
            if not saving.cancelled() and saving.exception() is None:
                self._saved_steps, self._saved_positions = steps, positions

        self._saving.add_done_callback(done)

    def _save(self, positions: dict[str, int], state: bytes) -> None:
        try:
            save_checkpoint(self._checkpoint_path, positions, state)
        except OSError as error:
            self.checkpoint_failures += 1
            log.error(  # noqa: TRY400 - the reason is the whole story, a traceback adds nothing
                "cannot write %s (%s); a restart will read more of the spool",
                self._checkpoint_path,
                os.strerror(error.errno or 0),
            )


def _listener(socket_path: Path) -> socket.socket:
    socket_path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.bind(str(socket_path))
        socket_path.chmod(0o600)
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener


class _Connection(asyncio.Protocol):
    """One gateway."""

    def __init__(self, accountant: Accountant) -> None:
        self._accountant = accountant
        self._splitter = FrameSplitter()
        self._transport: asyncio.Transport | None = None
        self.source: Source | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The loop hands a stream transport to the protocol of a stream server.
        self._transport = cast("asyncio.Transport", transport)
        if not self._accountant.opened(self):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._splitter.feed(data):
                frame = decode_client_frame(payload)
                if isinstance(frame, Ops):
                    self._accountant.ops(self, frame)
                else:
                    self._accountant.hello(self, frame)
        except FrameError as error:
            log.error("cut off a gateway: %s", error)  # noqa: TRY400 - the reason is the whole story
            self.close()

    def write(self, frame: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            log.error("cut off a gateway that does not read its answers")
            transport.abort()
            return
        transport.write(frame)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self._accountant.closed(self)
