"""What people said of an output: approved, edited, rejected, overridden; and how bad each is for a guard.

In: nothing. Out: the closed set, what each counts, the limits of a review. Pure.
"""

from enum import StrEnum
from typing import Final

REVIEW_RHO_DEFAULT: Final = 1.25
"""Mean badness of reviews may rise by a quarter. Source: release-governance §2.1."""
REVIEW_DAYS_MAX: Final = 14
"""So long after a request it may be reviewed. Source: release-governance §2.1 (late labels)."""
REASON_CHARS_MAX: Final = 2_000
REVIEWER_CHARS_MAX: Final = 128


class ReviewOutcome(StrEnum):
    """What became of an output in a person's hands."""

    APPROVED = "approved"
    EDITED = "edited"
    REJECTED = "rejected"
    OVERRIDDEN = "overridden"
    """Something else was done instead."""


BADNESS: Final = {
    ReviewOutcome.APPROVED: 0.0,
    ReviewOutcome.EDITED: 0.5,
    ReviewOutcome.REJECTED: 1.0,
    ReviewOutcome.OVERRIDDEN: 1.0,
}
"""Source: release-governance §2.1."""


DISMISSED: Final = (ReviewOutcome.REJECTED, ReviewOutcome.OVERRIDDEN)
"""Nothing of the output was of use."""


class ReviewState(StrEnum):
    """Whether a review has found its request."""

    WAITING = "waiting"
    """Its request is not in the ledger yet."""
    COUNTED = "counted"
    UNKNOWN = "unknown"
    """The app has no such request; it is kept and counts for nothing."""
