"""The thread that looks after rollouts once a second, as long as control lives, and renews the exposure lease.

In: `Rollouts`, the ledger's reading, the lease. Out: looks. The lease is renewed after a look that read everything and
judged every open rollout, and by nobody else: where guards are blind or dead, candidates lose their traffic by
themselves. Whatever goes wrong in a look is told and tried again.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from lineclear.control.endpoint import Refused
from lineclear.control.rollouts.service import Overtaken, Rollouts
from lineclear.handover.lease import LeaseWriter

LOOK_S: Final = 1.0
"""Far below any lease worth having."""
CLOSE_S: Final = 10.0
EXPECTED: Final = (SQLAlchemyError, OSError, Refused, Overtaken)
"""What says itself what is wrong; anything else is a defect and logged with where it happened."""

_log = logging.getLogger(__name__)


class RolloutWatch:
    """Looks, waits, looks."""

    def __init__(self, rollouts: Rollouts, catch_up: Callable[[], object], lease: LeaseWriter) -> None:
        """Nothing runs yet; `catch_up` brings what gateways wrote into the ledger before rollouts are judged."""
        self._rollouts = rollouts
        self._catch_up = catch_up
        self._lease = lease
        self._stop = threading.Event()
        self._problems: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, name="rollouts", daemon=True)

    def start(self) -> None:
        """Begin to look; what was under way goes on from where it stands in the database."""
        self._thread.start()

    def close(self) -> None:
        """End after the look under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def problems(self) -> tuple[str, ...]:
        """Why the last look did not judge every rollout, or could not say so to the gateways; empty if it did."""
        return tuple(f"{what}: {words}" for what, words in self._problems.items())

    def look(self) -> None:
        """Look once; raises nothing."""
        try:
            troubles: Mapping[str, Exception] = self._rollouts.look(self._catch_up)
            if not troubles:
                self._lease.renew()
        except Exception as whole:  # noqa: BLE001 - the edge of this thread: told, and tried again
            troubles = {"every rollout": whole}
        told = {what: _words(error) for what, error in troubles.items()}
        for what, error in troubles.items():
            if self._problems.get(what) != told[what]:
                where = None if isinstance(error, EXPECTED) else error
                _log.error("%s is not looked after: %s", what, told[what], exc_info=where)
        if self._problems and not told:
            _log.info("every rollout is looked after again")
        self._problems = told

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            self.look()


def _words(error: Exception) -> str:
    lines = str(error).splitlines()
    said = lines[0] if lines else ""
    return said if isinstance(error, EXPECTED) and said else f"{type(error).__name__}: {said}"
