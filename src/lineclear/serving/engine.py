"""The seam between the runtime's door and what does the work: one engine per process.

In: an `EngineCall`. Out: bytes in the caller's dialect, written to an `Outlet`; the whole or the streamed
form, as the caller asked. Cancelling the task that runs `answer` stops the work for that call.
"""

from typing import Any, Protocol

import msgspec

from lineclear.domain.errors import ErrorCode, PlatformFault
from lineclear.domain.exchange import Operation, RequestView
from lineclear.serving.simulate import Directives
from lineclear.wire.codec import Codec

STREAM_HEAD = b"content-type: text/event-stream\r\ncache-control: no-store\r\n"
JSON_HEAD = b"content-type: application/json\r\n"


class EngineCall(msgspec.Struct, frozen=True):
    """One request, read and checked."""

    operation: Operation
    codec: Codec
    body: bytes
    tree: dict[str, Any]
    """The body as plain JSON, for reading only. `Any`: JSON as it came."""
    view: RequestView
    request_id: str
    directives: Directives
    """Obeyed by the simulated engine; others have refused a call that carries any."""


class Outlet(Protocol):
    """Where an answer goes. The door's is the caller's connection; the warm-up's is memory."""

    @property
    def begun(self) -> bool:
        """True once bytes of an answer have gone out."""
        ...

    def whole(self, status: int, head: bytes, body: bytes) -> None: ...

    def begin(self, status: int, head: bytes) -> None: ...

    def chunk(self, data: bytes) -> None: ...

    def end(self, data: bytes = b"") -> None: ...

    def abort(self) -> None:
        """Breaks the connection, so that the caller sees a cut and not an end."""
        ...

    async def drained(self) -> None:
        """Returns when the caller has taken enough of what was written."""
        ...


class EngineCut(PlatformFault):
    """The engine stopped in the middle of an answer."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.INTERNAL_ERROR, message, hint="try again; the runtime's log has the reason")


class EngineCounts(msgspec.Struct, frozen=True):
    """An engine's own counts, not those of the door before it."""

    steps: int
    """Grows while the engine works: tokens decoded, batches computed, answers given."""
    working: int
    """Calls that hold the engine now, callers that hung up included."""
    oldest: int | None = None
    """Number of the oldest step under way, where steps are taken side by side and one may hang alone."""


class Engine(Protocol):
    """What a runtime runs. Built, then loaded once, then asked, then closed."""

    @property
    def operations(self) -> frozenset[Operation]:
        """What it can be asked for; the door refuses the rest."""
        ...

    @property
    def obeys_directives(self) -> bool:
        """True only for the simulated engine."""
        ...

    @property
    def golden_input(self) -> object:
        """What the warm-up sends as `input`, once loaded, where a text is none: JSON. None = the golden prompt."""
        ...

    async def load(self) -> None:
        """Makes the model answerable. Does not block the loop.

        Raises:
            EngineRefused: the model cannot be loaded; the message says why.
        """
        ...

    async def answer(self, call: EngineCall, outlet: Outlet) -> None:
        """Writes one complete answer to the outlet.

        Raises:
            CallerError: the request cannot be answered as it is; nothing was written.
            PlatformFault: the engine failed; what was written, if anything, is not complete.
        """
        ...

    async def counts(self) -> EngineCounts | None:
        """What the engine itself counts; None if it did not say in time."""
        ...

    async def close(self) -> None:
        """Gives back what the engine holds. Nothing is asked of it afterwards."""
        ...


class EngineRefused(Exception):
    """The engine cannot be brought up with this model and these settings. The message is for a person."""


class CollectedOutlet:
    """An outlet in memory, for a call that no client made."""

    def __init__(self) -> None:
        self.begun = False
        self.status = 0
        self.body = b""
        self.complete = False

    def whole(self, status: int, head: bytes, body: bytes) -> None:
        del head
        self.begun, self.status, self.body, self.complete = True, status, body, True

    def begin(self, status: int, head: bytes) -> None:
        del head
        self.begun, self.status = True, status

    def chunk(self, data: bytes) -> None:
        self.body += data

    def end(self, data: bytes = b"") -> None:
        self.body += data
        self.complete = True

    def abort(self) -> None:
        self.complete = False

    async def drained(self) -> None:
        return
