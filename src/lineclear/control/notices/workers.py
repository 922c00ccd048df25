"""Threads that try deliveries: one for each channel that has something due, so that no receiver waits for another.

In: what is to be tried for which channel. Out: whether there was room for it, and what was in the way of a try. So
many at a time, and fewer of one team and to one receiver: who hangs leaves room for the others.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

WORKERS_MAX: Final = 16
TEAM_WORKERS_MAX: Final = 4
"""Of one team, whatever channels it has."""
RECEIVER_WORKERS_MAX: Final = 4
"""To one mail server, one host of webhooks, or Slack, of all teams together."""
JOIN_S: Final = 0.1

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lane:
    """What a worker is busy with."""

    team: str
    channel: str
    receiver: str
    """What may hang for several channels at once."""


class Workers:
    """Who is under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: dict[Lane, threading.Thread] = {}
        self._broken: list[Exception] = []
        self._is_full = False

    def busy(self) -> frozenset[tuple[str, str]]:
        """Channels, by team and name, that are being tried; what came of a try is written before one is free again."""
        with self._lock:
            return frozenset((lane.team, lane.channel) for lane in self._busy)

    def begin(self, lane: Lane, work: Callable[[], None]) -> bool:
        """Do this beside everything else; False, and nothing is done, where there is no room for it now."""
        with self._lock:
            if not self._has_room(lane):
                if not self._is_full:
                    _log.warning("notices to channel %r of team %r wait: others hang", lane.channel, lane.team)
                self._is_full = True
                return False
            # Daemons, because whoever ends control does not wait for a receiver that hangs.
            thread = threading.Thread(target=self._run, args=(lane, work), name="notice", daemon=True)
            self._busy[lane] = thread
        try:
            thread.start()
        except RuntimeError as error:
            # No thread could be had. The lane has to be free again, else nothing is sent to this channel any more.
            with self._lock:
                del self._busy[lane]
                self._broken.append(error)
            return False
        return True

    def wait(self, stop: threading.Event) -> None:
        """Until everything that is under way has ended, or `stop` is set."""
        with self._lock:
            threads = list(self._busy.values())
        for thread in threads:
            while thread.is_alive() and not stop.is_set():
                thread.join(JOIN_S)

    def broken(self) -> list[Exception]:
        """What was in the way of tries since it was last asked for."""
        with self._lock:
            found, self._broken = self._broken, []
        return found

    def _has_room(self, lane: Lane) -> bool:
        return (
            len(self._busy) < WORKERS_MAX
            and sum(other.team == lane.team for other in self._busy) < TEAM_WORKERS_MAX
            and sum(other.receiver == lane.receiver for other in self._busy) < RECEIVER_WORKERS_MAX
        )

    def _run(self, lane: Lane, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the edge of this thread: told by the next look
            with self._lock:
                self._broken.append(error)
        finally:
            with self._lock:
                del self._busy[lane]
                self._is_full = self._is_full and bool(self._busy)
