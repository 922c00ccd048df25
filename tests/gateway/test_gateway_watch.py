"""The fold of an answer: commit point, what is held back, what is billed."""

from typing import get_args

import pytest

from lineclear.domain.exchange import (
    Dialect,
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
from lineclear.domain.money import Usage
from lineclear.gateway.guardrails import Checks
from lineclear.gateway.watch import FOLDS, Watch
from lineclear.gateway.withhold import Withheld


def watching(*events: Event, drop: bool = True) -> Watch:
    watch = Watch(drop_usage_frame=drop)
    for event in events:
        watch.see(event)
    return watch


@pytest.mark.parametrize(
    ("event", "size"),
    [
        (TextDelta("abc"), 3),
        (TextDelta("ü"), 2),
        (ReasoningDelta("abc"), 3),
        (RefusalDelta("no"), 2),
        (ToolCallStarted(0, "call_1", "find"), 4),
        (ToolArgumentsDelta(0, '{"a":'), 5),
        (OpaqueContent(70), 70),
    ],
)
def test_content_commits_and_is_counted_in_bytes(event: Event, size: int) -> None:
    watch = watching(event)
    assert watch.committed
    assert watch.output_bytes == size


def test_every_kind_of_event_is_folded() -> None:
    assert set(FOLDS) == set(get_args(Event))


@pytest.mark.parametrize("event", [Started("id", "m"), UsageReported(Usage()), Malformed("?"), Failed("x", "y")])
def test_a_preamble_does_not_commit(event: Event) -> None:
    assert not watching(event).committed


def test_frames_pass_in_order_and_the_end_is_held_back() -> None:
    watch = Watch(drop_usage_frame=True)
    passed = watch.take(
        [
            Frame(b"a", (Started("id", "m"),)),
            Frame(b"b", (TextDelta("x"),)),
            Frame(b"c", ()),
            Frame(b"d", (Malformed("?"),)),
            Frame(b"e", (UsageReported(Usage(input_tokens=3, output_tokens=4), only=True),)),
            Frame(b"f", (Finished(StopReason.END, "stop"),)),
            Frame(b"g", (Terminated(),)),
        ]
    )
    assert passed == b"abcf"
    assert watch.tail == b"g"
    assert (watch.malformed, watch.native_stop, watch.model_echo, watch.response_id) == (1, "stop", "m", "id")
    assert watch.is_complete


@pytest.mark.parametrize("has_guard", [False, True])
@pytest.mark.parametrize(
    ("frames", "passed", "tail", "is_committed"),
    [
        ([(TextDelta("a"),), (Failed("x", ""),)], b"0", b"1", True),
        ([(Started("id", "m"),), (Failed("x", ""),)], b"0", b"1", False),
        ([(Failed("x", ""),), (TextDelta("late"),), (Terminated(),)], b"", b"0", False),
        ([(Finished(StopReason.UNKNOWN, "error"), Failed("x", ""))], b"", b"0", False),
        ([(Finished(StopReason.END, "stop"),), (Failed("x", ""),)], b"0", b"1", True),
    ],
)
def test_an_error_in_the_same_read_ends_the_answer_and_takes_nothing_back(
    has_guard: bool, frames: list[tuple[Event, ...]], passed: bytes, tail: bytes, is_committed: bool
) -> None:
    guard = Withheld(Checks((), (), {}, (), (), ()), Dialect.OPENAI) if has_guard else None
    watch = Watch(drop_usage_frame=True, guard=guard)
    assert watch.take([Frame(b"%d" % place, events) for place, events in enumerate(frames)]) == passed
    assert (watch.tail, watch.committed) == (tail, is_committed)


def test_a_usage_frame_that_was_asked_for_passes() -> None:
    watch = Watch(drop_usage_frame=False)
    assert watch.take([Frame(b"u", (UsageReported(Usage(1), only=True),))]) == b"u"


def test_a_complete_answer_is_billed_as_the_vendor_says() -> None:
    said = Usage(input_tokens=7, output_tokens=1)
    watch = watching(TextDelta("x" * 100), UsageReported(said), Finished(StopReason.END, "stop"))
    assert not watch.is_complete
    assert watch.billed_usage(400)[1]
    watch.see(Terminated())
    assert watch.billed_usage(400) == (said, False)


def test_without_figures_both_sides_are_estimated() -> None:
    watch = watching(TextDelta("x" * 10), Terminated())
    assert watch.billed_usage(41) == (Usage(input_tokens=11, output_tokens=3), True)


def test_a_cut_answer_is_billed_for_what_was_seen_at_least() -> None:
    watch = watching(UsageReported(Usage(input_tokens=50, cache_read_tokens=5, output_tokens=1)), TextDelta("x" * 40))
    usage, is_estimated = watch.billed_usage(1_000)
    assert is_estimated
    assert (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens) == (50, 5, 10)
    more = watching(UsageReported(Usage(input_tokens=50, output_tokens=99)), TextDelta("x" * 40))
    assert more.billed_usage(1_000) == (Usage(input_tokens=50, output_tokens=99), True)


def test_an_error_ends_completeness() -> None:
    watch = watching(TextDelta("x"), Finished(StopReason.END, "stop"), Failed("late", "server_error"))
    assert not watch.is_complete
