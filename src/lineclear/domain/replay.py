"""A replay: the cases of a dataset, asked of one release or of two, and what came back. Frozen values only.

Control runs it (`control/replays`), evals judge what it brought. A case runs on exactly one release for each arm.
"""

from enum import StrEnum
from typing import Any, Final

import msgspec

from lineclear.domain.evidence import Arm
from lineclear.domain.exchange import Operation

ANSWERED: Final = 200


class ReplayState(StrEnum):
    """Where a replay is; the last three are its ends."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    """Every case was asked."""
    STOPPED = "stopped"
    """By a person, by its spend cap, or by what it stands for: not every case was asked."""
    FAILED = "failed"
    """It could not go on; the reason says why."""


OPEN_STATES: Final = (ReplayState.WAITING, ReplayState.RUNNING)


class Case(msgspec.Struct, frozen=True):
    """One line of a dataset."""

    id: str
    """Unique in its dataset; its line number where the line names none."""
    operation: Operation
    request: dict[str, Any]
    """The body without `model` and `stream`. Any: JSON values."""
    variables: dict[str, str] = {}
    """Of the release's prompt."""
    task: str = ""
    data_class: str = ""
    expected: Any = None
    """What checks compare with; None = the line says nothing. Any: a JSON value."""


class Side(msgspec.Struct, frozen=True):
    """One release as it is deployed somewhere."""

    environment: str
    release: str
    """64 hex digits."""


class CaseResult(msgspec.Struct, frozen=True):
    """What one release made of one case."""

    case: int
    """Place of the case in its dataset, from 0."""
    arm: Arm
    status: int
    """HTTP status of the gateway."""
    error_code: str
    """Empty if it was answered."""
    text: str
    """The answer in words; of an error its message."""
    is_cut: bool
    """Whether the answer was longer than what is kept."""
    digest: str
    """SHA-256 of the whole text, so that equal answers are known although they are cut."""
    text_bytes: int
    """Of the whole text."""
    cost_nano_usd: int | None
    """None = the model has no price."""
    cost_basis: str
    duration_us: int
    request_id: str
    """In the ledger; empty if no gateway gave one."""
    model: str
    """`name@version` that answered; empty if none did."""

    @property
    def is_answered(self) -> bool:
        return self.status == ANSWERED
