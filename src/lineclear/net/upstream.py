"""Calls to targets over pooled connections, one lane per origin and credential.

In: an origin, a credential's id, a request head and body as bytes. Out: the answer's head, then its bytes.
Never follows a redirect, never retries, never sends a request twice; `recover` decides what follows a failure.
"""

import asyncio
import ipaddress
from typing import Final, Protocol, TypedDict

import msgspec

from lineclear.base.clock import Clock
from lineclear.domain.errors import AttemptClass, ClientGone, ErrorCode, Sent, UpstreamError
from lineclear.net.answer import COMPLETE, HEAD, UNUSED, Passage, UpstreamConnection, late
from lineclear.net.egress import told_addresses
from lineclear.net.failures import broken, upstream_failure
from lineclear.net.head import FieldNames, KnownLines, is_one_head
from lineclear.net.limits import NS_PER_S, PoolLimits
from lineclear.net.tls import ResumingContext
from lineclear.net.tunnel import Proxy, dig

__all__ = ["Guard", "NameResolver", "Origin", "Pool", "PoolLimits", "Proxy", "UpstreamCall"]

SCHEMES = frozenset(("http", "https", "unix"))


# Reading an enum member through its class costs ten times a module name on Python 3.11.
UNSENT: Final = Sent.NO
SENT: Final = Sent.YES


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a target listens. A credential belongs to exactly one origin."""

    scheme: str
    """http | https | unix."""
    host: str
    """The name as in the URL; also the TLS server name. Empty for unix."""
    port: int
    path: str
    """The socket's path for unix, else empty."""
    private_network: bool
    """Whether loopback and private addresses are allowed."""
    proxy: Proxy | None = None
    """The way out; None = straight."""


class NameResolver(Protocol):
    """Names to addresses; see net.dns."""

    async def resolve(self, host: str) -> tuple[str, ...]:
        """At least one address, or UpstreamError."""
        ...


class Guard(Protocol):
    """Judges addresses; see net.egress."""

    def check(self, addresses: tuple[str, ...], *, private_network: bool) -> tuple[str, ...]:
        """The same addresses, or UpstreamError."""
        ...


class _TLSOptions(TypedDict):
    ssl: ResumingContext | None
    server_hostname: str | None
    ssl_handshake_timeout: float | None


class _Lane:
    """The connections to one origin with one credential."""

    __slots__ = ("idle", "is_forgotten", "open_connections", "origin")

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.idle: list[UpstreamConnection] = []
        """The one used last stands last and is taken first."""
        self.open_connections = 0
        """Connecting ones included."""
        self.is_forgotten = False


class Pool:
    """All connections of this process to targets."""

    def __init__(
        self,
        *,
        clock: Clock,
        resolver: NameResolver,
        guard: Guard,
        limits: PoolLimits,
        tls: ResumingContext,
    ) -> None:
        self.limits = limits
        self.names = FieldNames()
        self.lines = KnownLines()
        self.monotonic_ns = clock.monotonic_ns
        self.counters: dict[str, int] = {}
        """connects, reuses, and how often each limit or fault was met, by name."""
        self.idle_count = 0
        self._age_ns_max = int(limits.age_s_max * NS_PER_S)
        self._resolver = resolver
        self._guard = guard
        self._tls = tls
        self._lanes: dict[tuple[str, Origin], _Lane] = {}
        self._latest: dict[str, _Lane] = {}
        self._connections: set[UpstreamConnection] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    def call(self, origin: Origin, credential_id: str, head: bytes, body: bytes) -> "UpstreamCall":
        """A call that has not begun: nothing is connected or sent. `head` ends with its empty line.

        Raises:
            ValueError: the head is not exactly one head.
        """
        if not is_one_head(head):
            raise ValueError("a request head needs lines ended by CRLF and exactly one empty line, at its end")
        lane = self._latest.get(credential_id)
        if lane is None or (lane.origin is not origin and lane.origin != origin):
            lane = self._lane(origin, credential_id)
        return UpstreamCall(self, lane, head, body)

    def in_flight(self, origin: Origin, credential_id: str) -> int:
        """How many calls use a connection to this origin with this credential now, connecting ones included."""
        lane = self._lanes.get((credential_id, origin))
        return 0 if lane is None else lane.open_connections - len(lane.idle)

    def close(self) -> None:
        """Closes every connection; running calls fail with ClientGone."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in tuple(self._connections):
            connection.abort(None)

    def count(self, name: str) -> None:
        """A limit or a fault was met."""
        self.counters[name] = self.counters.get(name, 0) + 1

    def _lane(self, origin: Origin, credential_id: str) -> _Lane:
        if origin.scheme not in SCHEMES:
            raise ValueError(f"{origin.scheme!r} is no scheme that is called; it is one of http, https, unix")
        lane = self._lanes.get((credential_id, origin))
        if lane is None:
            lane = self._lanes[(credential_id, origin)] = _Lane(origin)
        self._latest[credential_id] = lane
        return lane

    # ── idle connections

    def take_idle(self, lane: _Lane) -> UpstreamConnection | None:
        """The idle connection used last that can still be used; None if there is none."""
        while lane.idle:
            connection = lane.idle.pop()
            self.idle_count -= 1
            if connection.stage is UNUSED and not connection.transport.is_closing():
                return connection
        return None

    def give_back(self, connection: UpstreamConnection, lane: _Lane) -> None:
        """Keeps the connection if it is provably idle and there is room, else closes it."""
        now_ns = self.monotonic_ns()
        if lane.is_forgotten or not connection.is_reusable() or now_ns - connection.opened_ns > self._age_ns_max:
            connection.abort(None)
            return
        limits = self.limits
        if len(lane.idle) >= limits.idle_per_lane_max or self.idle_count >= limits.idle_max:
            self.count("idle_overflows")
            connection.abort(None)
            return
        connection.rest(now_ns)
        lane.idle.append(connection)
        self.idle_count += 1
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(self.limits.sweep_s, self._sweep)

    def _sweep(self) -> None:
        """Closes what was idle for too long, and forgets lanes without connections."""
        self._sweeper = None
        oldest_ns = self.monotonic_ns() - int(self.limits.idle_s * NS_PER_S)
        for key, lane in tuple(self._lanes.items()):
            while lane.idle and lane.idle[0].idle_since_ns <= oldest_ns:
                self.idle_count -= 1
                lane.idle.pop(0).abort(None)
            if lane.open_connections == 0:
                lane.is_forgotten = True  # a call that still holds it may use it, and then closes
                del self._lanes[key]
                self._latest.pop(key[0], None)
        if self._connections:
            self._sweeper = asyncio.get_running_loop().call_later(self.limits.sweep_s, self._sweep)

    def closed(self, connection: UpstreamConnection) -> None:
        """The connection is gone."""
        lane = connection.lane
        if isinstance(lane, _Lane) and connection in self._connections:
            self._connections.discard(connection)
            lane.open_connections -= 1
            if connection in lane.idle:
                lane.idle.remove(connection)
                self.idle_count -= 1

    # ── connecting

    async def connect(self, lane: _Lane) -> UpstreamConnection:
        """A new connection, TLS included.

        Raises:
            UpstreamError: nothing was sent.
        """
        if lane.open_connections >= self.limits.connections_per_lane_max:
            self.count("lanes_full")
            raise UpstreamError(
                ErrorCode.UPSTREAM_OVERLOADED,
                "all connections that one target may have are in use",
                attempt_class=AttemptClass.NOT_SENT,
                sent=Sent.NO,
                phase="pool",
            )
        lane.open_connections += 1
        try:
            connection = await self._connect_somewhere(lane)
        except BaseException:
            lane.open_connections -= 1
            raise
        self._connections.add(connection)
        self.count("connects")
        return connection

    async def _connect_somewhere(self, lane: _Lane) -> UpstreamConnection:
        origin = lane.origin
        if origin.scheme == "unix":
            return await self._dial(lane, "")
        *others, last = await (self._addresses(origin) if origin.proxy is None else self._proxy_addresses(origin))
        for address in others:
            dial = asyncio.get_running_loop().create_task(self._dial(lane, address))
            done, _ = await asyncio.wait((dial,), timeout=self.limits.address_s)
            if done and dial.exception() is None:
                return dial.result()
            dial.add_done_callback(_swallow)
            dial.cancel()
        return await self._dial(lane, last)

    async def _addresses(self, origin: Origin) -> tuple[str, ...]:
        addresses = (origin.host,) if _is_address(origin.host) else await self._resolver.resolve(origin.host)
        return self._guard.check(addresses, private_network=origin.private_network)

    async def _proxy_addresses(self, origin: Origin) -> tuple[str, ...]:
        """Of the origin's proxy. It resolves the target's name, so of the target only what the name tells is judged.

        The proxy itself was named by an administrator and usually stands in a private network.
        """
        if told := told_addresses(origin.host):
            self._guard.check(told, private_network=origin.private_network)
        host = "" if origin.proxy is None else origin.proxy.host
        try:
            addresses = (host,) if _is_address(host) else await self._resolver.resolve(host)
        except UpstreamError as error:
            words = f"the egress proxy's name did not lead anywhere: {error.message}"
            raise broken(error.code, words, sent=Sent.NO, phase="dns") from error
        return self._guard.check(addresses, private_network=True)

    async def _dial(self, lane: _Lane, address: str) -> UpstreamConnection:
        """One connection to one address that the guard has seen: the target's, or its proxy's."""
        origin = lane.origin
        loop = asyncio.get_running_loop()
        connection = UpstreamConnection(self, loop, lane)
        is_tls = origin.scheme == "https"
        tls: _TLSOptions = {
            "ssl": self._tls if is_tls else None,
            "server_hostname": origin.host if is_tls else None,
            "ssl_handshake_timeout": self.limits.tls_handshake_s if is_tls else None,
        }
        try:
            if origin.scheme == "unix":
                await loop.create_unix_connection(lambda: connection, origin.path)
            elif origin.proxy is None:
                await loop.create_connection(lambda: connection, address, origin.port, **tls)
            else:
                tunnel = await dig(origin.proxy, address, origin.host, origin.port)
                try:
                    await loop.create_connection(lambda: connection, sock=tunnel, **tls)
                except BaseException:
                    tunnel.close()
                    raise
        except OSError as error:
            raise upstream_failure(error, sent=Sent.NO, phase="connect") from error
        return connection


class UpstreamCall:
    """One try at one target."""

    __slots__ = (
        "_abandoned",
        "_body",
        "_connection",
        "_deadline_ns",
        "_head",
        "_lane",
        "_opening",
        "_phase",
        "_pool",
        "headers",
        "reused",
        "sent",
        "status",
    )

    status: int
    headers: dict[bytes, bytes]
    """Lower-case names; repeated fields joined by a comma."""
    sent: Sent
    """NO until a byte was handed to the transport."""
    reused: bool

    def __init__(self, pool: Pool, lane: _Lane, head: bytes, body: bytes) -> None:
        self._pool = pool
        self._lane = lane
        self._head = head
        self._body = body
        self._connection: UpstreamConnection | None = None
        self._opening: asyncio.Future[None] | None = None
        self._abandoned: Exception | None = None
        self._deadline_ns = 0
        self._phase = ""
        self.sent = UNSENT
        self.reused = False
        self.status = 0

    def deadline(self, at_ns: int, phase: str) -> None:
        """Replaces the deadline, in monotonic nanoseconds; on expiry the pending wait fails with that phase."""
        self._deadline_ns = at_ns
        self._phase = phase
        if self._connection is not None:
            self._connection.watch(at_ns, phase)

    async def open(self, *, fresh: bool = False, connect_s: float = 3.0) -> None:
        """Connects (or takes an idle connection unless `fresh`), sends, and waits for the answer's head.

        Raises:
            UpstreamError: see `sent` and `phase`; phase `reused` = an idle connection that broke unanswered.
        """
        if self._abandoned is not None:
            raise self._abandoned
        connection = None if fresh else self._pool.take_idle(self._lane)
        if connection is None:
            connection = await self._connect(connect_s)
        else:
            self.reused = True
        self._connection = connection
        if connection.transport.is_closing():
            # Lost between its connect and now: nothing was sent, so this is no different from a refusal.
            raise upstream_failure(ConnectionResetError(), sent=Sent.NO, phase="connect")
        connection.deadline_ns = self._deadline_ns
        connection.phase = self._phase
        self.sent = SENT
        connection.send(self._head, self._body)
        while connection.stage is HEAD:
            await connection.wait()
        if connection.status == 0 and connection.error is not None:
            raise connection.error
        self.status = connection.status
        self.headers = connection.headers

    async def read(self) -> bytes:
        """Everything that arrived since, at least one byte; b"" = the answer is complete.

        Raises:
            UpstreamError: the answer broke; what came before it has been returned by earlier reads.
        """
        connection = self._connection
        if connection is None:
            return b""
        data = connection.take()
        while data is None:
            await connection.wait()
            data = connection.take()
        return data

    async def pass_on(self, passage: Passage) -> None:
        """Hands over what arrives until `passage` says False; b"" = the answer is complete.

        What arrives during the wait is handed over in the socket's callback, so that it goes on without a turn of
        the task. Returns early where there is a reason to look; call it again for more.

        Raises:
            UpstreamError: the answer broke; what came before it has been handed over.
            Exception: what `passage` raised.
        """
        connection = self._connection
        data = connection.take() if connection is not None else b""
        if connection is None or data is not None:
            passage(data or b"")
            return
        connection.passage = passage
        try:
            await connection.wait()
        finally:
            connection.passage = None

    def rest(self) -> bytes | None:
        """All that has not been read yet of an answer that is complete; None if more is to come."""
        connection = self._connection
        return connection.take() if connection is not None and connection.stage is COMPLETE else None

    @property
    def is_end_told(self) -> bool:
        """The answer's own framing says where it ends: a length or a last chunk, not just a close."""
        return self._connection is not None and self._connection.is_length_known

    def abort(self, error: Exception | None = None) -> None:
        """Closes the connection at once; a pending `open` or `read` raises `error`, or ClientGone if None."""
        reason = error if error is not None else ClientGone()
        if self._connection is not None:
            self._connection.abort(reason)
        elif self._opening is not None and not self._opening.done():
            self._opening.set_exception(reason)
        else:
            self._abandoned = reason

    def release(self) -> None:
        """Done: the connection returns to the pool if it is provably idle, else it is closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(connection, self._lane)

    # ── connecting, with its own limit

    async def _connect(self, connect_s: float) -> UpstreamConnection:
        """The connect runs as a task of its own, so that it can be given up without touching the walk's."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._pool.connect(self._lane))
        opening = self._opening = loop.create_future()
        task.add_done_callback(lambda _: None if opening.done() else opening.set_result(None))
        wait_s, phase = connect_s, "connect"
        if self._deadline_ns:
            left_s = (self._deadline_ns - self._pool.monotonic_ns()) / NS_PER_S
            if left_s < wait_s:
                wait_s, phase = max(0.0, left_s), self._phase
        timer = loop.call_later(wait_s, self._give_up, phase)
        try:
            await opening
        except BaseException:
            task.add_done_callback(_swallow)
            task.cancel()  # without effect if it has just succeeded; then the connection is closed
            raise
        finally:
            self._opening = None
            timer.cancel()
        return task.result()

    def _give_up(self, phase: str) -> None:
        if self._opening is not None and not self._opening.done():
            self._pool.count("timeouts")
            self._opening.set_exception(late(phase, Sent.NO))


def _swallow(task: "asyncio.Task[UpstreamConnection]") -> None:
    """A connect that was given up: late failures are nobody's news, a late success is closed."""
    if not task.cancelled() and task.exception() is None:
        task.result().abort(None)


def _is_address(host: str) -> bool:
    """Whether the host is an IP address already; looser spellings go to the resolver and are judged after it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
