"""What may follow a failed attempt: the whole table, and what the caller is told at the end."""

import pytest

from lineclear.domain.errors import AttemptClass, ErrorCode, PlatformFault, Sent, UpstreamError
from lineclear.gateway.recover import ATTEMPTS_MAX, INLINE_WAIT_MS_MAX, Left, Move, final_error, recover

CLASSES = list(AttemptClass)


def failure(
    attempt_class: AttemptClass,
    code: ErrorCode = ErrorCode.UPSTREAM_ERROR,
    *,
    wait_ms: int | None = None,
    phase: str = "",
) -> UpstreamError:
    sent = Sent.NO if attempt_class is AttemptClass.NOT_SENT else Sent.YES
    return UpstreamError(code, "it failed", attempt_class=attempt_class, sent=sent, retry_after_ms=wait_ms, phase=phase)


def left(*, others: bool = True, moved: bool = False, time_ms: int = 60_000) -> Left:
    return Left(has_others=others, has_moved=moved, time_ms=time_ms)


NOT_SENT, REJECTED, AMBIGUOUS = AttemptClass.NOT_SENT, AttemptClass.REJECTED, AttemptClass.AMBIGUOUS
LIMITED, OVERLOADED = ErrorCode.UPSTREAM_RATE_LIMITED, ErrorCode.UPSTREAM_OVERLOADED


@pytest.mark.parametrize(
    ("errors", "what_is_left", "move"),
    [
        ([failure(NOT_SENT)], left(), Move.NEXT),
        ([failure(NOT_SENT)], left(others=False), Move.SAME),
        ([failure(NOT_SENT), failure(NOT_SENT)], left(others=False, moved=True), Move.FIRST),
        ([failure(REJECTED)], left(), Move.NEXT),
        ([failure(REJECTED)], left(others=False), Move.SAME),
        ([failure(REJECTED), failure(REJECTED)], left(others=False, moved=True), Move.FIRST),
        ([failure(REJECTED, LIMITED, wait_ms=2_000)], left(), Move.SAME),
        ([failure(REJECTED, LIMITED, wait_ms=INLINE_WAIT_MS_MAX + 1)], left(), Move.NEXT),
        ([failure(REJECTED, LIMITED, wait_ms=INLINE_WAIT_MS_MAX + 1)], left(others=False), Move.STOP),
        ([failure(REJECTED, LIMITED)], left(), Move.NEXT),
        ([failure(REJECTED, LIMITED)], left(others=False), Move.SAME),
        ([failure(REJECTED, OVERLOADED, wait_ms=2_000)], left(time_ms=1_000), Move.NEXT),
        ([failure(REJECTED, ErrorCode.UPSTREAM_AUTH)], left(), Move.NEXT),
        ([failure(REJECTED, ErrorCode.UPSTREAM_AUTH)], left(others=False), Move.STOP),
        ([failure(REJECTED, ErrorCode.UPSTREAM_QUOTA, wait_ms=10)], left(others=False), Move.STOP),
        ([failure(AMBIGUOUS)], left(), Move.NEXT),
        ([failure(AMBIGUOUS)], left(others=False), Move.STOP),
        ([failure(AMBIGUOUS), failure(AMBIGUOUS)], left(), Move.STOP),
        ([failure(AMBIGUOUS, phase="reused")], left(), Move.SAME),
        ([failure(AttemptClass.CLIENT_ERROR)], left(), Move.STOP),
        ([failure(AttemptClass.PARTIAL)], left(), Move.STOP),
        ([failure(AttemptClass.POLICY)], left(), Move.STOP),
    ],
)
def test_the_table_of_attempt_classes(errors: list[UpstreamError], what_is_left: Left, move: Move) -> None:
    assert recover(errors, what_is_left).move is move


@pytest.mark.parametrize("attempt_class", CLASSES)
def test_three_attempts_are_the_most_and_no_time_ends_all(attempt_class: AttemptClass) -> None:
    assert recover([failure(attempt_class)] * ATTEMPTS_MAX, left()).move is Move.STOP
    assert recover([failure(attempt_class)], left(time_ms=0)).move is Move.STOP


def test_a_dead_kept_connection_is_retried_on_a_fresh_one_and_costs_no_retry_budget() -> None:
    recovery = recover([failure(AMBIGUOUS, phase="reused")], left())
    assert recovery.fresh
    assert not recovery.counts_as_retry
    assert recovery.wait_ms == 0


def test_a_retry_after_is_waited_for_exactly_and_a_backoff_stays_below_its_base() -> None:
    assert recover([failure(REJECTED, LIMITED, wait_ms=1_234)], left()).wait_ms == 1_234
    for _ in range(50):
        assert 1 <= recover([failure(REJECTED)], left(others=False)).wait_ms <= 50


def test_no_wait_longer_than_the_time_left() -> None:
    assert recover([failure(REJECTED)], left(others=False, time_ms=1)).move is Move.STOP


def test_all_unreachable_is_no_healthy_target() -> None:
    error = final_error([failure(NOT_SENT), failure(NOT_SENT)])
    assert isinstance(error, PlatformFault)
    assert error.code is ErrorCode.NO_HEALTHY_TARGET
    assert error.retry_after_ms is not None


def test_throttled_everywhere_names_the_shortest_wait() -> None:
    error = final_error([failure(REJECTED, LIMITED, wait_ms=4_000), failure(REJECTED, LIMITED, wait_ms=9_000)])
    assert error.code is LIMITED
    assert error.retry_after_ms == 4_000


def test_a_request_at_fault_is_told_as_such_whatever_came_before() -> None:
    refused = failure(AttemptClass.CLIENT_ERROR, ErrorCode.UPSTREAM_REFUSED)
    assert final_error([failure(REJECTED), refused]) is refused


def test_a_client_is_told_not_to_multiply_what_was_tried_unless_a_time_is_named() -> None:
    assert final_error([failure(NOT_SENT)] * 3).is_spent
    assert final_error([failure(REJECTED)]).is_spent
    assert not final_error([failure(REJECTED, LIMITED, wait_ms=4_000)]).is_spent
