"""The rate rule against a slow exact one, and months where clocks jump."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineclear.domain.limits import (
    MINUTE_US,
    month_period,
    rate_correct,
    rate_remaining,
    rate_rescale,
    rate_reset_ms,
    rate_take,
    rate_wait_us,
    zone_named,
)


class Bucket:
    """The reference: a leaky bucket in exact fractions."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self.level = Fraction(0)
        self.at_us = 0

    def allows(self, now_us: int, units: int) -> bool:
        self.level = max(Fraction(0), self.level - Fraction((now_us - self.at_us) * self.per_minute, MINUTE_US))
        self.at_us = now_us
        if self.level + units > self.per_minute:
            return False
        self.level += units
        return True


@given(
    per_minute=st.integers(1, 500),
    steps=st.lists(st.tuples(st.integers(0, 30_000_000), st.integers(0, 60)), max_size=60),
)
def test_a_rate_allows_exactly_what_an_exact_bucket_allows(per_minute: int, steps: list[tuple[int, int]]) -> None:
    bucket = Bucket(per_minute)
    arrival = now_us = 0
    for passed_us, units in steps:
        now_us += passed_us
        after = rate_take(arrival, now_us, units, per_minute)
        wait_us = rate_wait_us(after, now_us, per_minute)
        is_allowed = bucket.allows(now_us, units)
        assert (wait_us == 0) is is_allowed
        assert rate_remaining(arrival, now_us, per_minute) >= units or not is_allowed
        if wait_us == 0:
            arrival = after
        elif units <= per_minute:
            # The wait is exact: a microsecond less is too early.
            assert (
                rate_wait_us(rate_take(arrival, now_us + wait_us, units, per_minute), now_us + wait_us, per_minute) == 0
            )
            early_us = now_us + wait_us - 1
            assert rate_wait_us(rate_take(arrival, early_us, units, per_minute), early_us, per_minute) > 0


def test_a_minutes_worth_passes_at_once_and_the_next_one_waits_its_share() -> None:
    arrival = 0
    for _ in range(30):
        arrival = rate_take(arrival, 0, 1, 30)
        assert rate_wait_us(arrival, 0, 30) == 0
    assert rate_remaining(arrival, 0, 30) == 0
    assert rate_wait_us(rate_take(arrival, 0, 1, 30), 0, 30) == 2_000_000
    assert rate_reset_ms(arrival, 0, 30) == 60_000


def test_giving_back_never_reaches_before_now() -> None:
    arrival = rate_take(0, 1000, 5, 10)
    assert rate_correct(arrival, 1000, -5, 10) == 1000 * 10
    assert rate_correct(arrival, 1000, -500, 10) == 1000 * 10
    assert rate_remaining(rate_correct(arrival, 1000, 3, 10), 1000, 10) == 2


def test_another_rate_keeps_the_time_owed() -> None:
    arrival = rate_take(0, 0, 30, 60)
    assert rate_reset_ms(rate_rescale(arrival, 60, 600), 0, 600) == rate_reset_ms(arrival, 0, 60)


@given(
    unix_s=st.integers(0, 4_000_000_000),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut"]),
)
def test_an_instant_lies_in_its_month_and_months_touch(unix_s: int, zone: str) -> None:
    period = month_period(unix_s, zone_named(zone))
    assert period.start_s <= unix_s < period.end_s
    assert month_period(period.end_s, zone_named(zone)).start_s == period.end_s
    assert month_period(period.start_s, zone_named(zone)).id == period.id


def test_a_month_begins_at_local_midnight() -> None:
    berlin = zone_named("Europe/Berlin")
    assert month_period(1_793_487_599, berlin).id == "2026-10"
    assert month_period(1_793_487_600, berlin).id == "2026-11"
    assert month_period(1_793_487_600, zone_named("UTC")).id == "2026-10"


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd"])
def test_an_unknown_zone_is_named(name: str) -> None:
    with pytest.raises(ValueError, match="is not an IANA time zone"):
        zone_named(name)
