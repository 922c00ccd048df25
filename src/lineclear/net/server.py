"""The HTTP/1.1 server: listening sockets, accepting, draining.

In: sockets that someone else made and a handler. Out: one handler call per request, in order per connection.
Must not read the environment, know what a request means, or hold a connection without a deadline.
"""

import asyncio
import errno
import logging
import socket
import ssl

from lineclear.base.clock import Clock
from lineclear.net.connection import ServerConnection
from lineclear.net.exchange import Handler, Refuse, Reply, Request
from lineclear.net.head import FieldNames, KnownLines
from lineclear.net.limits import NS_PER_S, ServerLimits

__all__ = ["HTTPServer", "Handler", "Refuse", "Reply", "Request", "ServerLimits"]

LOG = logging.getLogger("lineclear.net")

NOTHING_TO_ACCEPT = (BlockingIOError, InterruptedError)
OUT_OF_RESOURCES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class HTTPServer:
    """Serves any number of listening sockets with one handler.

    `refuse` renders errors found before a handler runs, or raised by it, as (status, head lines, body).
    """

    def __init__(
        self,
        handler: Handler,
        *,
        clock: Clock,
        limits: ServerLimits,
        refuse: Refuse,
        ssl: ssl.SSLContext | None = None,
    ) -> None:
        self.handler = handler
        self.refuse = refuse
        self.limits = limits
        self.names = FieldNames()
        self.lines = KnownLines()
        self.hosts: set[bytes] = set()
        self.counters: dict[str, int] = {}
        """How often each limit or fault was met, by name."""
        self.exchanges_open = 0
        self.exchanges_total = 0
        self.is_draining = False
        self.idle_ns = int(limits.idle_s * NS_PER_S)
        self.monotonic_ns = clock.monotonic_ns
        self._ssl = ssl
        self._listeners: dict[int, socket.socket] = {}
        self._connections: set[ServerConnection] = set()
        self._adopting: set[asyncio.Task[None]] = set()
        self._peers: dict[str, int] = {}
        self._emptied: asyncio.Future[None] | None = None

    @property
    def connections(self) -> int:
        """Open connections, idle ones included."""
        return len(self._connections)

    def serve(self, listener: socket.socket) -> None:
        """Accepts on a bound and listening socket (TCP or Unix), which is ours from now on."""
        listener.setblocking(False)
        self._listeners[listener.fileno()] = listener
        asyncio.get_running_loop().add_reader(listener.fileno(), self._accept, listener)

    async def drain(self, deadline_s: float) -> int:
        """Stops accepting, answers what has come, and closes; returns how many exchanges were cut.

        Sockets that were accepted and not yet read stay open for `drain_grace_s`.
        """
        self.is_draining = True
        start_ns = self.monotonic_ns()
        await self._stop_accepting()
        await self._until_empty(min(self.limits.drain_grace_s, deadline_s))
        for connection in tuple(self._connections):
            connection.close_if_idle()
        spent_s = (self.monotonic_ns() - start_ns) / NS_PER_S
        await self._until_empty(deadline_s - spent_s)
        return await self._cut_all()

    # ── accepting

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(self.limits.accepts_per_tick_max):
            if not self._accept_one(listener):
                return

    def _accept_one(self, listener: socket.socket) -> bool:
        """Takes one connection; False if there is none to take now."""
        try:
            sock, address = listener.accept()
        except NOTHING_TO_ACCEPT:
            return False
        except ConnectionAbortedError:
            return True  # it left before its turn
        except OSError as error:
            if error.errno not in OUT_OF_RESOURCES:
                raise
            self._rest(listener)
            return False
        peer = str(address[0]) if sock.family != socket.AF_UNIX else ""
        if self._is_full(peer):
            self.count("connections_refused")
            sock.close()
            return True
        sock.setblocking(False)
        self._peers[peer] = self._peers.get(peer, 0) + 1
        task = asyncio.get_running_loop().create_task(self._adopt(sock, peer))
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)
        return True

    def _is_full(self, peer: str) -> bool:
        limits = self.limits
        if len(self._connections) + len(self._adopting) >= limits.connections_max:
            return True
        return peer != "" and self._peers.get(peer, 0) >= limits.connections_per_peer_max

    async def _adopt(self, sock: socket.socket, peer: str) -> None:
        loop = asyncio.get_running_loop()
        connection = ServerConnection(self, loop, peer)
        self._connections.add(connection)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        handshake_s = self.limits.tls_handshake_s if self._ssl is not None else None
        try:
            await loop.connect_accepted_socket(
                lambda: connection, sock, ssl=self._ssl, ssl_handshake_timeout=handshake_s
            )
        except OSError:  # ssl.SSLError and timeouts are among them
            self.count("handshakes_failed")
            self.forget(connection)
            sock.close()

    def _rest(self, listener: socket.socket) -> None:
        """Out of descriptors: accepting again at once would only burn the processor."""
        self.count("accepts_paused")
        LOG.warning("out of file descriptors: accepting rests for %s s", self.limits.accept_pause_s)
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener.fileno())
        loop.call_later(self.limits.accept_pause_s, self._wake, listener)

    def _wake(self, listener: socket.socket) -> None:
        if listener.fileno() in self._listeners:
            asyncio.get_running_loop().add_reader(listener.fileno(), self._accept, listener)

    def forget(self, connection: ServerConnection) -> None:
        """The connection is closed."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        left = self._peers.get(connection.peer, 0) - 1
        if left > 0:
            self._peers[connection.peer] = left
        else:
            self._peers.pop(connection.peer, None)
        if not self._connections and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    # ── draining

    async def _stop_accepting(self) -> None:
        loop = asyncio.get_running_loop()
        for number, listener in tuple(self._listeners.items()):
            # Closing a listener resets what waits in it, so everything that waits is taken first.
            while self._accept_one(listener):
                pass
            loop.remove_reader(number)
            del self._listeners[number]
            listener.close()
        if self._adopting:
            await asyncio.wait(tuple(self._adopting))

    async def _until_empty(self, wait_s: float) -> None:
        if not self._connections or wait_s <= 0:
            return
        loop = asyncio.get_running_loop()
        self._emptied = loop.create_future()
        timer = loop.call_later(wait_s, _finish, self._emptied)
        try:
            await self._emptied
        finally:
            timer.cancel()
            self._emptied = None

    async def _cut_all(self) -> int:
        cut_exchanges = self.exchanges_open
        tasks = [connection.task for connection in self._connections if connection.task is not None]
        for connection in tuple(self._connections):
            connection.cut()
        if tasks:
            # Walks settle when they hear that their caller is gone; who does not within the grace is cancelled.
            _, late = await asyncio.wait(tasks, timeout=self.limits.cut_grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=self.limits.cut_grace_s)
        return cut_exchanges

    def count(self, name: str) -> None:
        """A limit or fault was met."""
        self.counters[name] = self.counters.get(name, 0) + 1


def _finish(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
