"""Pages that change by themselves: server-sent events over the ledger, a bounded number of them, ended on demand.

In: what to ask, every second. Out: events whose data the page's own templates rendered. Must not hold a thread
while it waits.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

STREAMS_MAX = 64
"""Open pages that follow something; one more is told to come back later."""
LOOK_S = 1.0
STREAM_S_MAX = 900
"""A stream ends after this; the browser opens another one, which signs in anew."""
QUIET_LOOKS_MAX = 15
"""After so many looks without news a comment is sent, so that a proxy does not take the stream for dead."""
RETRY_MS = 2_000

REFUSED = "refused"
"""The event after which nothing follows: its data says why."""


class Found(NamedTuple):
    """What a look found."""

    name: str
    """The event's name; empty = nothing to show, only a place to go on from."""
    data: str = ""
    place: str = ""
    """Where it stands now; a browser that connects anew sends the last one back."""


Look = Callable[[], Found | None]
"""What is new since the last look; None if nothing is."""


class Streams:
    """Every open stream of this process."""

    def __init__(self) -> None:
        self._open = 0
        self._ended = asyncio.Event()

    def close(self) -> None:
        """End every stream at its next breath; new ones end at once."""
        self._ended.set()

    def response(self, look: Look, *, is_once: bool = False) -> StreamingResponse:
        """A stream of what `look` finds; with `is_once` it ends after the first find."""
        if self._open >= STREAMS_MAX:
            return _stream(_full())
        return _stream(self._follow(look, is_once=is_once))

    async def _follow(self, look: Look, *, is_once: bool) -> AsyncIterator[str]:
        self._open += 1
        try:
            yield f"retry: {RETRY_MS}\n\n"
            quiet = 0
            for _ in range(int(STREAM_S_MAX / LOOK_S)):
                found = await run_in_threadpool(look)
                quiet = 0 if found else quiet + 1
                if found:
                    yield event(found)
                    if is_once or found.name == REFUSED:
                        return
                elif quiet % QUIET_LOOKS_MAX == 0:
                    yield ": nothing new\n\n"
                if await self._is_over():
                    return
        finally:
            self._open -= 1

    async def _is_over(self) -> bool:
        """Wait for the time of the next look; whether every stream is to end."""
        try:
            async with asyncio.timeout(LOOK_S):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True


def event(found: Found) -> str:
    """One server-sent event; every line of its data stands on a line of its own.

    Without data a browser tells nobody of it and keeps its place all the same. Source: HTML Living Standard §9.2.6.
    """
    place = f"id: {found.place}\n" if found.place else ""
    if not found.name:
        return f"{place}\n"
    lines = "".join(f"data: {line}\n" for line in found.data.splitlines() or [""])
    return f"event: {found.name}\n{place}{lines}\n"


async def _full() -> AsyncIterator[str]:
    yield event(Found(REFUSED, f"{STREAMS_MAX} pages are followed already; close one, or reload this page by hand"))


def _stream(parts: AsyncIterator[str]) -> StreamingResponse:
    # A proxy that collects an answer before it passes it on would show nothing for minutes.
    return StreamingResponse(parts, media_type="text/event-stream", headers={"x-accel-buffering": "no"})
