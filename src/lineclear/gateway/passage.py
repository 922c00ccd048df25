"""The way of a stream's bytes from target to caller, once it has begun: read, watched and passed on as they arrive.

In: an open call, its reader and watch. Out: frames to the caller, except the last. It runs in the socket's callback,
so that an event costs no turn of the task; what has to wait (money, the record, a slow caller) is relay's.
"""

import sys
from collections.abc import Callable
from typing import Final

from lineclear.domain.exchange import Frame
from lineclear.gateway.watch import Watch
from lineclear.net.server import Reply
from lineclear.net.upstream import UpstreamCall
from lineclear.wire.codec import StreamReader

UNLIMITED: Final = sys.maxsize
"""Output bytes of a stream that is not paid for in slices."""


class Passage:
    """One stream's way. `take` hands on; the rest says why it stopped."""

    __slots__ = (
        "_between_ns",
        "_call",
        "_is_single",
        "_now_ns",
        "_reader",
        "_reply",
        "_total_ns",
        "_watch",
        "held",
        "is_over",
        "look_up_ns",
        "paid_bytes",
    )

    def __init__(
        self,
        call: UpstreamCall,
        reader: StreamReader,
        watch: Watch,
        reply: Reply,
        now_ns: Callable[[], int],
        *,
        is_single: bool,
    ) -> None:
        """Nothing is read yet; `is_single`: one answer was asked for, not several at once."""
        self._call = call
        self._reader = reader
        self._watch = watch
        self._reply = reply
        self._now_ns = now_ns
        self._is_single = is_single
        self._between_ns = 0
        self._total_ns = 0
        self.is_over = watch.terminated or watch.failed is not None
        """The terminator, an error frame or the end of the body has come."""
        self.held = b""
        """What waits until more of the output is paid for."""
        self.look_up_ns = 0
        """When the task wants its turn at the latest, with an event."""
        self.paid_bytes = UNLIMITED
        """With more output than this, a frame waits for the task."""

    def begin(self, total_ns: int, between_ns: int) -> None:
        """Sets the deadlines: the exchange's end, and the wait from one event to the next."""
        self._total_ns = total_ns
        self._between_ns = between_ns
        self._expect_event(self._now_ns())

    def take(self, data: bytes) -> bool:
        """Pass on what these bytes complete; b"" = the body is complete.

        Returns:
            Whether nothing needs the task.

        Raises:
            UpstreamError: the stream is not one, see `codec.StreamReader`.
            CallerError: GUARDRAIL_BLOCKED if a rule of the route blocks what it says.
        """
        watch = self._watch
        frames = self._reader.feed(data) if data else self._last_frames()
        passed = watch.take(frames)
        if not data or watch.terminated or watch.failed is not None:
            self.is_over = True
        if watch.guard is not None and watch.guard.blocked is not None:
            raise watch.guard.blocked
        if watch.output_bytes > self.paid_bytes:
            self.held = passed
            return False
        if passed:
            self._reply.chunk(passed)
        now_ns = self._now_ns()
        if frames:
            self._expect_event(now_ns)
        return not (self.is_over or now_ns >= self.look_up_ns or self._reply.is_behind)

    def _last_frames(self) -> list[Frame]:
        """A stop reason without the end marker is no cut where the body itself was complete (decision 26)."""
        return self._reader.end(may_be_unmarked=self._is_single and self._call.is_end_told)

    def _expect_event(self, now_ns: int) -> None:
        """Only whole events count: a target that trickles bytes is as silent as one that sends none (row U21)."""
        quiet_ns = now_ns + self._between_ns
        if quiet_ns < self._total_ns:
            self._call.deadline(quiet_ns, "between_events")
        else:
            self._call.deadline(self._total_ns, "total")
