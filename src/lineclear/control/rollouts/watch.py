"""The thread that looks after rollouts once a second, as long as control lives.

In: `Rollouts`. Out: nothing but its looks. A look that fails is told and tried again: until then nothing advances, and
the exposure lease takes care of a control that is gone.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from lineclear.control.endpoint import Refused
from lineclear.control.rollouts.service import Rollouts

LOOK_S: Final = 1.0
CLOSE_S: Final = 10.0

_log = logging.getLogger(__name__)


class RolloutWatch:
    """Looks, waits, looks."""

    def __init__(self, rollouts: Rollouts, catch_up: Callable[[], object]) -> None:
        """Nothing runs yet; `catch_up` brings what gateways wrote into the ledger before each look."""
        self._rollouts = rollouts
        self._catch_up = catch_up
        self._stop = threading.Event()
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, name="rollouts", daemon=True)

    def start(self) -> None:
        """Begin to look; what was under way goes on from where it stands in the database."""
        self._thread.start()

    def close(self) -> None:
        """End after the look under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self._catch_up()
                self._rollouts.look()
            except (SQLAlchemyError, OSError, Refused) as error:
                if str(error) != self._trouble:
                    _log.error("rollouts do not move: %s", error)
                self._trouble = str(error)
            else:
                self._trouble = ""
