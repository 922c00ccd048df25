"""What an answer has said so far: the fold of its canonical events, for commit, billing and the end.

In: frames of a stream, or the events of a whole answer. Out: the bytes to pass on. Used by `attempt` until
the commit point and by `relay` after it. Must not: write to anyone.
"""

from collections.abc import Callable
from itertools import takewhile
from typing import Any, Final

from lineclear.domain.exchange import (
    Event,
    Failed,
    Finished,
    Frame,
    Malformed,
    OpaqueContent,
    ReasoningDelta,
    RefusalDelta,
    Started,
    StopReason,
    Terminated,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallStarted,
    UsageReported,
)
from lineclear.domain.money import NO_USAGE, Usage, estimated_tokens
from lineclear.gateway.withhold import Withheld

UNKNOWN: Final = StopReason.UNKNOWN
"""Reading an enum member through its class costs ten times a module name on Python 3.11."""


class Watch:
    """One answer as it comes in."""

    __slots__ = (
        "committed",
        "drops_usage_frame",
        "failed",
        "guard",
        "malformed",
        "model_echo",
        "native_stop",
        "output_bytes",
        "response_id",
        "stop_reason",
        "tail",
        "terminated",
        "usage",
    )

    def __init__(self, *, drop_usage_frame: bool, guard: Withheld | None = None) -> None:
        self.drops_usage_frame = drop_usage_frame
        self.guard = guard
        """The route's output rules at work; None where it has none."""
        self.committed = False
        """Content or an end has been seen."""
        self.terminated = False
        self.failed: Failed | None = None
        self.tail = b""
        """The terminator or error frame, held back until the settle is written."""
        self.usage: Usage | None = None
        self.output_bytes = 0
        """UTF-8 bytes of content, an upper bound on output tokens."""
        self.stop_reason: StopReason = UNKNOWN
        self.native_stop = ""
        self.model_echo = ""
        self.response_id = ""
        self.malformed = 0

    def take(self, frames: list[Frame]) -> bytes:
        """Fold frames; returns the bytes that go on to the caller now."""
        if self.guard is not None:
            return self._take_guarded(frames, self.guard)
        passed: list[bytes] = []
        was_committed = self.committed
        for frame in frames:
            held = False
            for event in frame.events:
                held = self.see(event) or held
            if not held:
                passed.append(frame.raw)
            elif self.terminated or self.failed is not None:
                self.tail += frame.raw
                if self.failed is not None:
                    self._end_in_error(frames, frame, was_committed=was_committed)
                    break
        return b"".join(passed) if len(passed) != 1 else passed[0]

    def _take_guarded(self, frames: list[Frame], guard: Withheld) -> bytes:
        passed: list[Frame] = []
        was_committed = self.committed
        for frame in frames:
            held = [self.see(event) for event in frame.events]
            if not any(held):
                passed.append(frame)
            elif self.terminated or self.failed is not None:
                if any(type(event) in SAYING for event in frame.events):
                    # Text beside an error or an end: it goes on as text does, before the settle is on record.
                    passed.append(frame)
                else:
                    guard.look_at_end(frame)
                    self.tail += frame.raw
                if self.failed is not None:
                    self._end_in_error(frames, frame, was_committed=was_committed)
                    break
        return guard.pass_on(passed, is_over=self.terminated or self.failed is not None)

    def _end_in_error(self, frames: list[Frame], last: Frame, *, was_committed: bool) -> None:
        """Nothing follows an error, and a stop reason in its own event is no content: the try may be another's."""
        before = takewhile(lambda frame: frame is not last, frames)
        self.committed = (
            was_committed
            or any(type(event) in COMMITTING for frame in before for event in frame.events)
            or any(type(event) in CONTENT for event in last.events)
        )

    def see(self, event: Event) -> bool:
        """Fold one event; returns whether its frame is to be held back or dropped."""
        # By type, not by `match`: a frame of a stream is one event, and a match asks up to twelve times.
        return FOLDS[type(event)](self, event)

    @property
    def is_complete(self) -> bool:
        """The answer came to its end. A stop reason alone is none: what follows it may be missing (row U9)."""
        return self.failed is None and self.terminated

    def billed_usage(self, prompt_bytes: int) -> tuple[Usage, bool]:
        """What to bill, and whether it had to be estimated.

        A vendor's own figures count if the answer is complete. Otherwise output is at least what was seen.
        """
        usage = self.usage
        if usage is not None and self.is_complete:
            return usage, False
        output_tokens = estimated_tokens(self.output_bytes)
        if usage is None or usage == NO_USAGE:
            return Usage(input_tokens=estimated_tokens(prompt_bytes), output_tokens=output_tokens), True
        if usage.total_output_tokens >= output_tokens:
            return usage, True
        return _with_output(usage, output_tokens), True


def _see_text(watch: Watch, event: TextDelta | ReasoningDelta | RefusalDelta) -> bool:
    text = event.text
    watch.output_bytes += len(text) if text.isascii() else len(text.encode())
    watch.committed = True
    return False


def _see_arguments(watch: Watch, event: ToolArgumentsDelta) -> bool:
    watch.output_bytes += len(event.fragment.encode())
    watch.committed = True
    return False


def _see_tool_call(watch: Watch, event: ToolCallStarted) -> bool:
    watch.output_bytes += len(event.name)
    watch.committed = True
    return False


def _see_opaque(watch: Watch, event: OpaqueContent) -> bool:
    watch.output_bytes += event.payload_bytes
    watch.committed = True
    return False


def _see_usage(watch: Watch, event: UsageReported) -> bool:
    watch.usage = event.usage
    return event.only and watch.drops_usage_frame


def _see_finish(watch: Watch, event: Finished) -> bool:
    watch.stop_reason = event.reason
    watch.native_stop = event.native
    watch.committed = True
    return False


def _see_start(watch: Watch, event: Started) -> bool:
    watch.model_echo = event.model
    watch.response_id = event.response_id
    return False


def _see_end(watch: Watch, _event: Terminated) -> bool:
    watch.terminated = watch.committed = True
    return True


def _see_failure(watch: Watch, event: Failed) -> bool:
    watch.failed = event
    return True


def _see_malformed(watch: Watch, _event: Malformed) -> bool:
    watch.malformed += 1
    return True


SAYING: Final = frozenset({TextDelta, ReasoningDelta, RefusalDelta, ToolArgumentsDelta})
"""Events that hold text."""
CONTENT: Final = SAYING | {ToolCallStarted, OpaqueContent}
COMMITTING: Final = CONTENT | {Finished, Terminated}
"""Once one of these has been seen, no other target is asked."""
FOLDS: Final[dict[type, Callable[[Watch, Any], bool]]] = {
    TextDelta: _see_text,
    ReasoningDelta: _see_text,
    RefusalDelta: _see_text,
    ToolArgumentsDelta: _see_arguments,
    ToolCallStarted: _see_tool_call,
    OpaqueContent: _see_opaque,
    UsageReported: _see_usage,
    Finished: _see_finish,
    Started: _see_start,
    Terminated: _see_end,
    Failed: _see_failure,
    Malformed: _see_malformed,
}
"""One for each kind of `Event`; `Any`, because no type says that each fold takes its own key."""


def _with_output(usage: Usage, output_tokens: int) -> Usage:
    return Usage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        output_tokens=output_tokens,
        audio_input_tokens=usage.audio_input_tokens,
        reported_cost_nano_usd=usage.reported_cost_nano_usd,
    )
