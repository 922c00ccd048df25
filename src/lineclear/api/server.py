"""Serves the admin application on listeners that somebody else made.

In: an application, listening sockets. Out: answers, until told to stop. Bounded in connections and in time.
"""

import asyncio
import socket

import uvicorn
from starlette.types import ASGIApp

from lineclear.api.connection import CONNECTIONS_MAX, TimelyConnection
from lineclear.net.tls import ServerContext

DRAIN_S = 5
"""Longest wait for running admin calls at the end."""
KEEP_ALIVE_S = 30


class AdminServer(uvicorn.Server):
    """uvicorn without its own log, loop and headers, with an event for the moment it answers."""

    def __init__(self, application: ASGIApp, tls: ServerContext | None = None) -> None:
        """Must be made inside a running loop; without `tls` it speaks plain HTTP."""
        super().__init__(
            uvicorn.Config(
                application,
                loop="none",
                http=TimelyConnection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                # Above the number of places: a connection that comes when all are taken makes one free.
                limit_concurrency=CONNECTIONS_MAX + 1,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=DRAIN_S,
            )
        )
        self._tls = tls
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn makes a context from files only; this one is changed while it runs.
        self.config.ssl = self._tls
        await super().startup(sockets)
        self.is_up.set()

    def stop(self) -> None:
        """Stop accepting, finish what runs, return from `serve`."""
        self.should_exit = True
