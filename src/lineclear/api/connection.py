"""One connection of the admin port that may not keep its place by saying nothing, or only half of a request.

In: bytes. Out: whole requests for the application, or an end: 408 for half a request, silence for none. Where every
place is taken, the one that has been quiet longest gives way.
"""

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from lineclear.control.endpoint import HTTP_STATUS, AdminCode

REQUEST_WAIT_S = 10.0
"""From a connection's start, or a request's first byte, to the end of the request."""
BODY_BYTES_PER_S_LEAST = 64 * 1024
"""A long body gets the time that it takes at this rate, beyond REQUEST_WAIT_S."""
CONNECTIONS_MAX = 512


class TimelyConnection(HttpToolsProtocol):
    """uvicorn's connection, which itself waits for a first request, and for the rest of each, without an end."""

    # Any: uvicorn hands over its own values, which are passed on as they are.
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ender: asyncio.TimerHandle | None = None
        """Set while a request is waited for or only partly here."""
        self._due_s = 0.0
        self._is_begun = False
        """A request's first byte is here and its last one is not."""
        self.quiet_since_s = 0.0
        """By the loop's clock; of use while it waits."""

    @property
    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request, whatever uvicorn declares
        return cycle is not None and not cycle.response_complete

    @property
    def waits(self) -> bool:
        """Nothing is being done for whoever opened it."""
        return self._is_begun or not self._is_answering

    # asyncio's own calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        if len(self.connections) >= CONNECTIONS_MAX:
            self._make_room()
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._ender is None and self.waits:
            # Line ends before a request begin none, and uvicorn stops its own timer at any byte.
            self._arm()
        super().data_received(data)

    # The parser's calls

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_begun = True
        self._arm()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._due_s += len(body) / BODY_BYTES_PER_S_LEAST

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._is_begun = False
        self._disarm()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.quiet_since_s = self.loop.time()

    # Ours

    def _arm(self) -> None:
        self._disarm()
        self.quiet_since_s = self.loop.time()
        self._due_s = self.quiet_since_s + REQUEST_WAIT_S
        self._ender = self.loop.call_at(self._due_s, self._end_if_due)

    def _disarm(self) -> None:
        if self._ender is not None:
            self._ender.cancel()
            self._ender = None

    def _end_if_due(self) -> None:
        now_s = self.loop.time()
        if self.flow.read_paused:
            # It is we who do not read on; the time begins anew.
            self._due_s = now_s + REQUEST_WAIT_S
        if now_s < self._due_s:
            self._ender = self.loop.call_at(self._due_s, self._end_if_due)
            return
        self._ender = None
        if self.transport.is_closing():
            return
        if self._is_begun and not (self._is_answering and self.cycle.response_started):
            self.transport.write(_too_late())
        self.transport.close()

    def _make_room(self) -> None:
        """Let go of the connection that has waited longest, so that whoever has something to say is heard."""
        others = [
            one for one in self.connections if isinstance(one, TimelyConnection) and one is not self and one.waits
        ]
        if others:
            quietest = min(others, key=lambda one: one.quiet_since_s)
            self.connections.discard(quietest)
            quietest.transport.abort()


def _too_late() -> bytes:
    code = AdminCode.REQUEST_TIMEOUT
    problem: dict[str, object] = {
        "code": code.value,
        "message": f"the request was not complete within {REQUEST_WAIT_S:.0f} s",
        "hint": "send it again; a longer body has to come without a pause",
        "findings": [],
    }
    body = json.dumps(problem).encode()
    head = (
        f"HTTP/1.1 {HTTP_STATUS[code]} Request Timeout\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
