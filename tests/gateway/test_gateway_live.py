"""Health of targets: ejection, probes, throttling, retry budget."""

from lineclear.gateway.live import (
    CONSECUTIVE_FAILURES_MAX,
    PROBE_INTERVAL_S_MAX,
    TARGETS_MAX,
    Live,
    TargetHealth,
)
from lineclear.testing.clock import TestClock


def eject(health: TargetHealth) -> None:
    for _ in range(CONSECUTIVE_FAILURES_MAX):
        health.begin()
        health.end()
        health.failed()


def test_a_target_is_ejected_after_failures_in_a_row_and_a_success_starts_anew() -> None:
    clock = TestClock()
    health = TargetHealth(clock)
    for _ in range(CONSECUTIVE_FAILURES_MAX - 1):
        health.failed()
    health.succeeded()
    health.failed()
    assert health.exclusion(clock.monotonic_ns()) == ""
    eject(health)
    assert "ejected" in health.exclusion(clock.monotonic_ns())


def test_an_ejected_target_is_probed_by_one_attempt_at_a_time_and_at_least_every_twenty_seconds() -> None:
    clock = TestClock()
    health = TargetHealth(clock)
    eject(health)
    for _ in range(8):
        waited_s = 0
        while health.exclusion(clock.monotonic_ns()):
            clock.advance(1)
            waited_s += 1
        assert waited_s <= PROBE_INTERVAL_S_MAX
        health.begin()
        assert "probe is under way" in health.exclusion(clock.monotonic_ns())
        health.end()
        health.failed()
    clock.advance(PROBE_INTERVAL_S_MAX)
    health.begin()
    health.end()
    health.succeeded()
    assert health.exclusion(clock.monotonic_ns()) == ""


def test_throttling_ends_at_its_time_and_never_gets_shorter() -> None:
    clock = TestClock()
    health = TargetHealth(clock)
    health.throttled(5_000)
    health.throttled(1_000)
    assert "throttled" in health.exclusion(clock.monotonic_ns())
    assert health.available_in_ms(clock.monotonic_ns()) == 5_000
    clock.advance(5)
    assert health.exclusion(clock.monotonic_ns()) == ""
    assert health.available_in_ms(clock.monotonic_ns()) == 0


def test_retries_are_a_fifth_of_the_calls_plus_the_start() -> None:
    health = TargetHealth(TestClock())
    taken = sum(health.take_retry() for _ in range(10))
    assert taken == 3
    for _ in range(50):
        health.succeeded()
    assert sum(health.take_retry() for _ in range(100)) == 10


def test_the_number_of_targets_remembered_is_bounded() -> None:
    live = Live(TestClock())
    first = live.target("live", "m0@1")
    assert live.target("live", "m0@1") is first
    for number in range(TARGETS_MAX + 1):
        live.target("live", f"m{number}@1")
    assert live.target("live", "m0@1") is not first
