"""When the rollback of a route is drilled, what a drill showed, and what that says of its readiness. Pure.

In: when it was drilled last and how that went. Out: when it is due again; whether a release that a drill could not
prepare counts as one to go back to.
"""

from typing import Final

import msgspec

from lineclear.domain.snapshot import RouteSection

DRILL_EVERY_S_MIN: Final = 60
DRILL_EVERY_S_MAX: Final = 366 * 86_400
AGAIN_S: Final = 300
"""After a drill that failed the next one comes so soon, or at the usual distance if that is shorter."""
_SECOND_US: Final = 1_000_000


class DrillResult(msgspec.Struct, frozen=True, kw_only=True):
    """One drill and what came of it."""

    environment: str
    route: str
    at_us: int
    """When its measurement ended."""
    actor: str
    release: str
    """What was prepared; empty if no earlier release was ready."""
    has_passed: bool
    """Every gateway that lives said in time that it could serve the release."""
    in_s: float
    """From the moment it was durable until the last gateway said so, or was waited for no more."""
    acknowledged: int
    """Gateways that said so."""
    silent: int
    """Gateways that live and did not."""
    reason: str
    """Why it failed; empty if it passed."""

    @property
    def words(self) -> str:
        """In one line."""
        count = f"{self.acknowledged}/{self.acknowledged + self.silent} gateways in {self.in_s:.3f} s"
        return f"{count}: {self.reason}" if self.reason else count


def judge_drill(acknowledged: int, silent: tuple[str, ...], complaints: tuple[str, ...]) -> str:
    """Why a drill failed; empty if it passed."""
    reasons = [*complaints]
    if silent:
        reasons.insert(0, f"silent: {', '.join(silent)}")
    if not acknowledged and not silent:
        reasons.insert(0, "no gateway runs")
    return "; ".join(reasons)


def can_be_drilled(section: RouteSection) -> bool:
    """Whether a rollback would take an earlier release now.

    A rollout under way is what a rollback would end, and a route that went back goes no further by itself. Neither is a
    fault, nor is a route that never had another release.
    """
    has_earlier = any(release.id != section.stable.id for release in section.previous)
    return has_earlier and section.candidate is None and not section.rolled_back_from


def due_us(last: DrillResult | None, every_s: int) -> int:
    """When the next drill is due; 0 = it never was drilled."""
    if last is None:
        return 0
    return last.at_us + (every_s if last.has_passed else min(every_s, AGAIN_S)) * _SECOND_US


def is_due(last: DrillResult | None, every_s: int, now_us: int) -> bool:
    """Whether it is due; a drill of the future was told by a clock that has been set back since."""
    return last is None or last.at_us > now_us or due_us(last, every_s) <= now_us


def drill_gap(last: DrillResult | None, release: str | None) -> str:
    """Why the release that a rollback would take cannot be relied on; empty if its last drill says nothing against it.

    A drill of another release says nothing of this one.
    """
    if last is None or last.has_passed or release is None or last.release != release:
        return ""
    return f"{release}: the last drill failed: {last.words}"
