"""What this worker has lately seen of each target and of control. Outlives snapshot swaps.

In: how attempts ended. Out: whether a target may be tried now. Bounded: one small record per target and
environment. Not shared between workers.
"""

from copy import deepcopy

from lineclear.base.clock import Clock
from lineclear.gateway.exposure import Exposure

CONSECUTIVE_FAILURES_MAX = 5
"""A target is ejected after this many failures in a row. Source: research/reliability-security.md §3."""
FIRST_PROBE_S = 5
PROBE_INTERVAL_S_MAX = 20
"""An ejected target is probed at least this often (decision 26)."""
PARKED_S = 60
"""How long a credential that was refused, or has no quota, is left alone if the vendor names no time."""
PARKED_S_MAX = 300
"""No longer than this even if the vendor names more: quota may have been bought meanwhile."""
CALLS_PER_RETRY = 5
"""Each good call of a target pays a fifth of one retry: at most 20 % retries. Source: the same, §3."""
RETRY_CREDIT_START = 3 * CALLS_PER_RETRY
RETRY_CREDIT_MAX = 100 * CALLS_PER_RETRY
TARGETS_MAX = 10_000

_NS_PER_S = 1_000_000_000


class TargetHealth:
    """One target as this worker sees it."""

    __slots__ = (
        "_clock",
        "_doubted",
        "_ejections",
        "_failures",
        "_probe_at_ns",
        "_probing",
        "_retry_credit",
        "_throttled_until_ns",
        "is_suspect",
        "parked_until_ns",
    )

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._ejections = 0
        self._doubted = ""
        self._probe_at_ns = 0
        self._probing = False
        self._retry_credit = RETRY_CREDIT_START
        self._throttled_until_ns = 0
        self.is_suspect = False
        """Something was amiss since the last success: only then `exclusion` has to be asked."""
        self.parked_until_ns: dict[str, int] = {}
        """By credential id; bounded by the provider's credentials."""

    def apart(self) -> "TargetHealth":
        """The same as of now; what either sees from here on, the other does not."""
        return deepcopy(self, {id(self._clock): self._clock})

    def exclusion(self, now_ns: int) -> str:
        """Why the target may not be tried now; empty if it may."""
        if self.is_throttled(now_ns):
            return f"throttled for {_seconds(self._throttled_until_ns - now_ns)} more"
        if self._failures < CONSECUTIVE_FAILURES_MAX:
            return ""
        if self._probing:
            return f"ejected after {self._failures} failures in a row; a probe is under way"
        if self._probe_at_ns > now_ns:
            return (
                f"ejected after {self._failures} failures in a row; "
                f"next probe in {_seconds(self._probe_at_ns - now_ns)}"
            )
        return ""

    def is_throttled(self, now_ns: int) -> bool:
        """Whether it asked to be left alone, and still does."""
        return self._throttled_until_ns > now_ns

    def available_in_ms(self, now_ns: int) -> int:
        """How long until it may be tried again, at least 1; 0 if it may be now."""
        until_ns = max(
            self._throttled_until_ns,
            self._probe_at_ns if self._failures >= CONSECUTIVE_FAILURES_MAX else 0,
        )
        return max(0, -(-(until_ns - now_ns) // 1_000_000))

    def begin(self) -> None:
        """An attempt starts; on an ejected target it is the probe."""
        if self._failures >= CONSECUTIVE_FAILURES_MAX:
            self._probing = True

    def end(self) -> None:
        """The attempt is over, however it ended."""
        self._probing = False

    def succeeded(self) -> None:
        """An answer came; the target is healthy."""
        self._failures = 0
        self._ejections = 0
        self._doubted = ""
        if self.is_suspect:
            self.is_suspect = self._throttled_until_ns > self._clock.monotonic_ns()
        self._retry_credit = min(RETRY_CREDIT_MAX, self._retry_credit + 1)

    def failed(self) -> None:
        """A failure that counts for the breaker."""
        self._failures += 1
        self.is_suspect = True
        if self._failures >= CONSECUTIVE_FAILURES_MAX:
            self._ejections += 1
            wait_s = min(FIRST_PROBE_S * self._ejections, PROBE_INTERVAL_S_MAX)
            self._probe_at_ns = self._clock.monotonic_ns() + wait_s * _NS_PER_S

    def throttled(self, wait_ms: int) -> None:
        """The target asked to be left alone; not a failure."""
        until_ns = self._clock.monotonic_ns() + wait_ms * 1_000_000
        self.is_suspect = True
        self._throttled_until_ns = max(self._throttled_until_ns, until_ns)

    def doubt(self, credential_id: str) -> bool:
        """A credential was forbidden something; returns whether that was twice in a row, without a success between."""
        was_doubted = self._doubted == credential_id
        self._doubted = credential_id
        return was_doubted

    def park(self, credential_id: str, wait_ms: int | None) -> None:
        """A credential was refused or has no quota left."""
        wait_ns = min(PARKED_S * 1_000 if wait_ms is None else wait_ms, PARKED_S_MAX * 1_000) * 1_000_000
        self.parked_until_ns[credential_id] = self._clock.monotonic_ns() + wait_ns

    def take_retry(self) -> bool:
        """Whether one more retry of this target fits into the retry budget; takes it if so."""
        if self._retry_credit < CALLS_PER_RETRY:
            return False
        self._retry_credit -= CALLS_PER_RETRY
        return True


class Live:
    """Health of every target of this worker, and whether anybody watches it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.exposure = Exposure(clock)
        self._targets: dict[tuple[str, str], TargetHealth] = {}

    def target(self, environment: str, model: str) -> TargetHealth:
        """The record of a target, made at its first use."""
        health = self._targets.get((environment, model))
        if health is None:
            if len(self._targets) >= TARGETS_MAX:
                # Forgetting health is safe: an ill target is found out again within a few attempts.
                self._targets.clear()
            health = self._targets[environment, model] = TargetHealth(self.clock)
        return health


def _seconds(span_ns: int) -> str:
    return f"{span_ns / _NS_PER_S:.1f} s"
