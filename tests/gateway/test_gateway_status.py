"""Statuses and retry fields of vendors, as ours. Rows U16 to U20."""

import pytest

from lineclear.domain.errors import AttemptClass, ErrorCode
from lineclear.gateway.status import RETRY_AFTER_MS_MAX, error_of_status, retry_after_ms
from lineclear.testing.clock import TestClock


@pytest.mark.parametrize("status", [400, 404, 405, 409, 413, 415, 422])
def test_the_callers_fault_is_passed_on_with_the_vendors_body(status: int) -> None:
    error = error_of_status(status, b'{"error":{}}', "invalid_request_error", None)
    assert error.code is ErrorCode.UPSTREAM_REFUSED
    assert error.attempt_class is AttemptClass.CLIENT_ERROR
    assert (error.status, error.body) == (status, b'{"error":{}}')


@pytest.mark.parametrize(
    ("status", "native", "code"),
    [
        (401, "", ErrorCode.UPSTREAM_AUTH),
        (403, "permission_error", ErrorCode.UPSTREAM_AUTH),
        (402, "", ErrorCode.UPSTREAM_QUOTA),
        (429, "insufficient_quota", ErrorCode.UPSTREAM_QUOTA),
        (403, "billing_error", ErrorCode.UPSTREAM_QUOTA),
        (429, "rate_limit_error", ErrorCode.UPSTREAM_RATE_LIMITED),
        (503, "", ErrorCode.UPSTREAM_OVERLOADED),
        (529, "overloaded_error", ErrorCode.UPSTREAM_OVERLOADED),
        (500, "", ErrorCode.UPSTREAM_ERROR),
        (502, "", ErrorCode.UPSTREAM_ERROR),
        (504, "", ErrorCode.UPSTREAM_ERROR),
        (408, "", ErrorCode.UPSTREAM_ERROR),
        (302, "", ErrorCode.UPSTREAM_BAD_RESPONSE),
        (418, "", ErrorCode.UPSTREAM_BAD_RESPONSE),
    ],
)
def test_the_rest_is_rejected_and_its_body_stays_here(status: int, native: str, code: ErrorCode) -> None:
    error = error_of_status(status, b"secret", native, 7)
    assert error.code is code
    assert error.attempt_class is AttemptClass.REJECTED
    assert error.body == b""
    assert error.retry_after_ms == 7


@pytest.mark.parametrize(
    ("fields", "wait_ms"),
    [
        ({}, None),
        ({b"retry-after": b"2"}, 2_000),
        ({b"retry-after": b"1.5"}, 1_500),
        ({b"retry-after-ms": b"250", b"retry-after": b"9"}, 250),
        ({b"x-ms-retry-after-ms": b"40"}, 40),
        ({b"retry-after": b"1000000000"}, RETRY_AFTER_MS_MAX),
        ({b"retry-after": b"soon"}, None),
        ({b"retry-after": b"-5"}, None),
        ({b"retry-after": b"9" * 400}, None),
        ({b"retry-after": b""}, None),
        (
            {b"retry-after": b"Sun, 22 Nov 2026 10:00:03 GMT", b"date": b"Sun, 22 Nov 2026 10:00:00 GMT"},
            3_000,
        ),
        ({b"retry-after": b"Sun, 22 Nov 2026 10:00:00 GMT", b"date": b"Sun, 22 Nov 2026 10:00:03 GMT"}, 0),
    ],
)
def test_retry_after_in_every_form(fields: dict[bytes, bytes], wait_ms: int | None) -> None:
    assert retry_after_ms(fields, TestClock()) == wait_ms


def test_a_date_without_the_vendors_own_clock_is_read_against_ours() -> None:
    clock = TestClock()
    text = clock.now().strftime("%a, %d %b %Y %H:%M:%S GMT").encode()
    clock.step_wall(-10)
    wait_ms = retry_after_ms({b"retry-after": text}, clock)
    assert wait_ms is not None
    assert 9_000 <= wait_ms <= 10_000
