"""The clock of an invented past: it stands where it is put, and both its hands are the same."""

from datetime import UTC, datetime


class HistoryClock:
    """A `base.clock.Clock` that the history moves."""

    __slots__ = ("_unix_us",)

    def __init__(self, unix_us: int) -> None:
        self._unix_us = unix_us

    def put(self, unix_us: int) -> None:
        """Move to an instant."""
        self._unix_us = unix_us

    def monotonic_ns(self) -> int:
        return self._unix_us * 1_000

    def unix_us(self) -> int:
        return self._unix_us

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._unix_us / 1e6, UTC)
