"""The seam between the walk and a dialect: what every codec offers, and nothing about any of them.

In: bodies and stream bytes. Out: `RequestView`, `Frame`, canonical events, and bytes in a caller's dialect.
Must not: do I/O, keep state between exchanges, or decide anything about routing or money.
"""

from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from lineclear.domain.errors import LineclearError
from lineclear.domain.exchange import Dialect, Event, Frame, RequestView

REPLACE = "replace"
PREPEND = "prepend"


class Patch(msgspec.Struct, frozen=True, gc=False):
    """The closed list of what may differ between the body a caller sent and the one a target gets."""

    upstream_model: str
    include_usage: bool = False
    """Ask a stream for its usage chunk although the caller did not."""
    output_cap: int | None = None
    """Cap on output tokens to set, replacing the caller's; None leaves the body as it is."""
    prompt_text: str | None = None
    """The release's prompt, variables filled in."""
    prompt_mode: str = PREPEND
    """`prepend`: before the caller's own system text. `replace`: instead of all of it."""
    defaults: tuple[tuple[str, msgspec.Raw], ...] = ()
    """Fields of the release's parameters, set where the caller gave none or null."""
    tools: msgspec.Raw | None = None
    """Value of the field `tools` that the release pins; None = it has none for requests."""
    tools_replace: bool = False
    """Whether they go instead of the caller's own, and not only where there are none."""


class StreamReader(Protocol):
    """Cuts one stream into frames. Joined, the frames' `raw` are exactly the bytes that were fed."""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames completed by these bytes.

        Raises:
            UpstreamError: `upstream_bad_response` if a line or an event passes its limit.
        """
        ...

    def end(self, *, may_be_unmarked: bool = False) -> list[Frame]:
        """What stands unfinished at the end of the file; an event without its blank line never counts.

        Args:
            may_be_unmarked: one answer was asked for, and the body was complete by its own framing. Then a stop
                reason says that it ended well in dialects whose servers are known to leave the end marker out.
        """
        ...


class StreamWriter(Protocol):
    """Speaks canonical events as one dialect's stream; one writer for each answer."""

    def encode(self, event: Event) -> bytes:
        """The bytes to send now; empty if the dialect says nothing for this event, or says it later."""
        ...


class Codec(Protocol):
    """One dialect. Stateless, so one value serves every exchange."""

    @property
    def dialect(self) -> Dialect: ...

    def view(self, tree: dict[str, Any], body_bytes: int) -> RequestView:
        """What the walk needs to know of a request, from the tree that `json_guard` returned.

        Raises:
            CallerError: `invalid_request` with `param` if a field that we read has the wrong type.
        """
        ...

    def patch(self, body: bytes, tree: dict[str, Any], patch: Patch) -> bytes:
        """The body for the target: patched fields replaced, every other value byte for byte."""
        ...

    def stream_reader(self) -> StreamReader: ...

    def read_whole(self, body: bytes) -> tuple[Event, ...]:
        """A whole answer as the events its stream would have had, `Terminated` last.

        An error object in the body is `(Failed,)`. There is no `Finished` if the answer gives no reason.

        Raises:
            ValueError: if it is not an answer of this dialect.
        """
        ...

    def stream_writer(self, response_id: str, model: str, created: int) -> StreamWriter:
        """`created` is in Unix seconds."""
        ...

    def write_whole(self, events: Iterable[Event], response_id: str, model: str, created: int) -> bytes:
        """The fold of an answer's events into one body of this dialect."""
        ...

    def error_frame(self, error: LineclearError, request_id: str) -> bytes:
        """The error as this dialect says it inside a stream that already began."""
        ...

    def cost_comment(self, cost_text: str, basis: str) -> bytes:
        """The SSE comment that carries the cost; an empty text = unpriced. Source: design decision 51."""
        ...

    def read_error(self, body: bytes) -> tuple[str, str]:
        """A vendor's error body as (native code or type, message); both empty if it cannot be read."""
        ...


def cost_comment(cost_text: str, basis: str) -> bytes:
    """`: lineclear cost-usd=0.000012345 basis=priced`, a comment line that every SSE reader skips."""
    cost = f"cost-usd={cost_text} " if cost_text else ""
    return f": lineclear {cost}basis={basis}\n\n".encode()
