"""Addresses that fail below HTTP: a port nobody listens on, and one whose handshake never completes."""

import socket
from types import TracebackType
from typing import Self

BACKLOG_FILL = 8
"""Connections opened to fill an accept queue of length 0; Linux keeps one or two beyond it."""


def closed_port() -> int:
    """A loopback port that refuses connections (until someone else binds it)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Blackhole:
    """A listener with a full accept queue: further handshakes get no answer, as if packets were dropped."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._fillers: list[socket.socket] = []
        self.port = 0

    def __enter__(self) -> Self:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port = int(self._listener.getsockname()[1])
        for _ in range(BACKLOG_FILL):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self._fillers.append(filler)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for filler in self._fillers:
            filler.close()
        self._listener.close()
