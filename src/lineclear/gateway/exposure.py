"""Whether anybody watches: how long ago this worker saw that control is there (decision 41).

In: renewals that were seen. Out: whether candidates of rollouts may have traffic. A worker that has just started has
seen none, whatever stands on the disk. By the monotonic clock, so that a set clock exposes nobody.
"""

from lineclear.base.clock import Clock


class Exposure:
    """This worker's view of control's lease; outlives snapshot swaps."""

    __slots__ = ("_now_ns", "_renewed_ns")

    def __init__(self, clock: Clock) -> None:
        self._now_ns = clock.monotonic_ns
        self._renewed_ns: int | None = None

    def renew(self) -> None:
        """Control was seen now."""
        now_ns = self._now_ns
        self._renewed_ns = now_ns()

    def is_watched(self, lease_ns: int) -> bool:
        """Whether control was seen within the lease."""
        now_ns, renewed_ns = self._now_ns, self._renewed_ns
        return renewed_ns is not None and now_ns() - renewed_ns < lease_ns
