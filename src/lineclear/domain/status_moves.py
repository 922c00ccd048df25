"""Which status of a model version may follow which, and who may move it. Pure, so that every door asks the same.

In: two statuses. Out: the move with its permission, or why there is none.
Source: research/release-governance.md §3.2; "owner" there is the Author role on the card's team (decision 29).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lineclear.domain.catalogue import ModelStatus
from lineclear.domain.permissions import Permission

_TEST, _APPROVED, _DEPRECATED, _RETIRED, _BLOCKED = ModelStatus

STATUS_MOVES: Final[Mapping[tuple[ModelStatus, ModelStatus], Permission]] = {
    (_TEST, _APPROVED): Permission.MODEL_APPROVE,
    (_DEPRECATED, _APPROVED): Permission.MODEL_APPROVE,
    (_BLOCKED, _TEST): Permission.MODEL_APPROVE,
    (_RETIRED, _TEST): Permission.MODEL_APPROVE,
    (_APPROVED, _DEPRECATED): Permission.MODEL_DEPRECATE,
    (_DEPRECATED, _RETIRED): Permission.MODEL_RETIRE,
    (_TEST, _RETIRED): Permission.MODEL_RETIRE,
    (_BLOCKED, _RETIRED): Permission.MODEL_RETIRE,
    **{(status, _BLOCKED): Permission.MODEL_BLOCK for status in ModelStatus if status is not _BLOCKED},
}
"""Every move there is, with the permission on the card's team that it takes."""

FIRST_STATUSES: Final[Mapping[ModelStatus, Permission | None]] = {
    _TEST: None,
    _APPROVED: Permission.MODEL_APPROVE,
    _DEPRECATED: Permission.MODEL_APPROVE,
    _RETIRED: None,
    _BLOCKED: None,
}
"""What a version may begin with, so that an estate can be taken over, and the permission that it takes beside that of
the change: whatever serves live calls needs an approver."""


@dataclass(frozen=True)
class StatusMove:
    """One version that gets another status."""

    version: str
    """`name@version`."""
    team: str
    """Who owns the card."""
    before: ModelStatus | None
    """None for a version that is new."""
    after: ModelStatus

    @property
    def permission(self) -> Permission | None:
        """What it takes; None if whoever may make the change may make this.

        Raises:
            KeyError: there is no such move.
        """
        if self.before is None:
            return FIRST_STATUSES[self.after]
        return STATUS_MOVES[self.before, self.after]


def followers(status: ModelStatus) -> tuple[ModelStatus, ...]:
    """What may follow a status, in the order of a version's life."""
    return tuple(after for after in ModelStatus if (status, after) in STATUS_MOVES)


def no_move_words(version: str, before: ModelStatus, after: ModelStatus) -> str:
    """Why a version cannot go from one status to another, and where it can go."""
    return (
        f"{version} is {before.value}, which {after.value} does not follow; "
        f"what may follow is {', '.join(status.value for status in followers(before))}"
    )
