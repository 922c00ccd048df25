"""Notices: of what kinds there are, which of them channels get unasked, when a delivery is tried again. Pure."""

from enum import StrEnum
from typing import Final

US_PER_S: Final = 1_000_000


class NoticeKind(StrEnum):
    """What a notice tells of."""

    RELEASE = "release"
    """Another release serves."""
    ROLLBACK = "rollback"
    """An earlier release serves again, or a rollout was taken back."""
    REMOVAL = "removal"
    """A deployment went."""
    ROLLOUT = "rollout"
    """A rollout began, took a step, goes on, or was cancelled."""
    ROLLOUT_HELD = "rollout-held"
    """A rollout does not go on by itself."""
    DEPRECATION = "deprecation"
    """A model version is to be left, or its dates were changed."""
    RETIREMENT = "retirement"
    """A model version is gone."""
    BLOCK = "block"
    """A model version is called no more."""
    MODEL = "model"
    """Another move of a model version's status, such as its approval."""
    STOP = "stop"
    """AI was stopped somewhere, or goes on."""
    APPROVAL = "approval"
    """A change waits for approval."""
    DECISION = "decision"
    """A change that waited was approved, rejected, withdrawn or ran out of time."""
    TEST = "test"
    """Nothing happened; somebody tries a channel."""


QUIET: Final = frozenset({NoticeKind.ROLLOUT, NoticeKind.MODEL, NoticeKind.DECISION})
"""What a channel gets only where it names it: it goes well, or somebody waits for it anyway."""
CHANNEL_KINDS: Final = tuple(kind for kind in NoticeKind if kind is not NoticeKind.TEST)
"""What a channel may name."""


class Part(StrEnum):
    """Why a team is told."""

    OWNER = "owner"
    """It is the team's own."""
    CALLER = "caller"
    """Apps of the team called it in the last 30 days."""
    OPERATOR = "operator"
    """It belongs to no team: whoever looks after the platform."""


class DeliveryState(StrEnum):
    """How far a notice got on its way to one channel."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    """It was tried as often as it is tried, or the other side wants nothing more."""
    DROPPED = "dropped"
    """Its channel is gone."""


WAITS_S: Final = (10, 30, 120, 600, 1_800, 3_600, 10_800, 21_600)
"""After each attempt that failed; together about eleven hours, so that a night without the receiver loses nothing."""
ATTEMPTS_MAX: Final = len(WAITS_S) + 1
ASKED_WAIT_S_MAX: Final = 3_600
"""The longest wait that a receiver may ask for."""
REMINDERS_DAYS: Final = (30, 7, 1)
"""So many days before a model version goes, those who still call it are told again."""
REPEAT_S: Final = 600
"""The same said again so soon is counted on the notice before."""


def reminder_due(days_left: int) -> int | None:
    """Which reminder stands out so many days before an end; None if there is none, or if the end has passed."""
    return min((days for days in REMINDERS_DAYS if 0 <= days_left <= days), default=None)


def wants(named: tuple[NoticeKind, ...], kind: NoticeKind) -> bool:
    """Whether a channel gets a kind; one that names none gets all but the quiet ones."""
    return kind in named if named else kind not in QUIET


def next_attempt_us(now_us: int, attempts: int, asked_s: int = 0) -> int | None:
    """When to try again after so many attempts, the last of which just failed.

    Args:
        now_us: unix microseconds.
        attempts: 1 or more.
        asked_s: what the receiver asked for; 0 = nothing.

    Returns:
        None if it was the last attempt.
    """
    if attempts >= ATTEMPTS_MAX:
        return None
    return now_us + max(WAITS_S[attempts - 1], min(asked_s, ASKED_WAIT_S_MAX)) * US_PER_S
