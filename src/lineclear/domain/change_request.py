"""The life of a change request: its states, who may move it from one to the next, and whose approval counts.

In: facts about a request, principals and grants. Out: yes, or the reason why not. Pure, so that every door asks the
same question and tests can walk all orders.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lineclear.domain.access import Principal, PrincipalKind, Scope
from lineclear.domain.access_rules import ANYBODY, Approvers, refuse_approval

LIFE_S: Final = 7 * 24 * 3600
"""A request that is neither carried out nor closed ends after this long. Source: release-governance.md §3.2."""


class ChangeState(StrEnum):
    """Where a change request stands."""

    OPEN = "open"
    """It waits for approval by somebody else."""
    APPROVED = "approved"
    """It may be carried out."""
    APPLIED = "applied"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    STALE = "stale"
    """What it rests on has moved: it has to be rebased, and looked at again if it would do something else now."""
    UNCHANGED = "unchanged"
    """There was nothing to do; no change request was kept."""


CLOSED: Final = frozenset({ChangeState.APPLIED, ChangeState.REJECTED, ChangeState.WITHDRAWN, ChangeState.EXPIRED})
"""States that nothing leaves."""

MOVES: Final[Mapping[ChangeState, frozenset[ChangeState]]] = {
    ChangeState.OPEN: frozenset(
        {ChangeState.APPROVED, ChangeState.REJECTED, ChangeState.WITHDRAWN, ChangeState.EXPIRED, ChangeState.STALE}
    ),
    ChangeState.APPROVED: frozenset(
        {ChangeState.OPEN, ChangeState.APPLIED, ChangeState.REJECTED, ChangeState.WITHDRAWN, ChangeState.EXPIRED}
        | {ChangeState.STALE}
    ),
    ChangeState.STALE: frozenset(
        {ChangeState.OPEN, ChangeState.APPROVED, ChangeState.REJECTED, ChangeState.WITHDRAWN, ChangeState.EXPIRED}
    ),
}
"""Every step there is. Source: release-governance.md §3.2."""

_UNABLE: Final[Mapping[PrincipalKind, str]] = {
    PrincipalKind.SERVICE_ACCOUNT: "a service account never approves; a person has to",
    PrincipalKind.PLATFORM: "the platform does not approve its own work; a person has to",
}


@dataclass(frozen=True)
class Need:
    """Approval that a change needs for one part of a protected environment."""

    environment: str
    scope: Scope
    """Where the touched objects lie; who approves must be an approver there."""
    approvals: int
    """Different people, from 1."""
    touches: tuple[str, ...]
    """In words, what it is about."""
    approvers: Approvers = ANYBODY
    """Who counts, of all who may approve there."""


@dataclass(frozen=True)
class Authorship:
    """Who stands behind a request; none of them may approve it."""

    author: str
    co_authors: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    """Who owns the key, token or service account that it came with."""
    stand_ins: tuple[str, ...] = ()
    """As whom one of these could act: whom they invited shortly before it was opened or since, their accounts."""

    @property
    def everybody(self) -> tuple[str, ...]:
        """Whose approval does not count, and whose fresh grants give nobody the right to approve."""
        return (self.author, *self.co_authors, *self.owners, *self.stand_ins)

    def includes(self, name: str) -> bool:
        """Whether a principal stands behind the request, however its name is written."""
        return name.casefold() in {item.casefold() for item in (self.author, *self.co_authors, *self.owners)}


@dataclass(frozen=True)
class Signed:
    """An approval that counts for one content."""

    principal: str
    digest: str
    """The content that was approved."""
    scopes: frozenset[Scope]
    """Of the needs that it was given for."""


def approver_flaw(principal: Principal, authorship: Authorship) -> str:
    """Why nobody's grant can let this principal approve; empty if one could."""
    unable = _UNABLE.get(principal.kind)
    if unable is not None:
        return unable
    if authorship.includes(principal.name):
        return f"{principal.name!r} wrote it or owns what it was sent with; somebody else has to approve"
    if principal.name.casefold() in {name.casefold() for name in authorship.stand_ins}:
        return (
            f"{principal.name!r} was invited by who stands behind it, within 24 hours before it was opened or since; "
            "whoever invites could choose the password, so somebody else has to approve"
        )
    return ""


def approvable(
    principal: Principal, needs: Iterable[Need], authorship: Authorship, opened_us: int
) -> tuple[tuple[Need, ...], str]:
    """The needs that the principal may approve, and why not if there is none."""
    flaw = approver_flaw(principal, authorship)
    if flaw:
        return (), flaw
    authors = authorship.everybody
    flaws = {need: refuse_approval(principal, need.scope, authors, opened_us, need.approvers) for need in needs}
    return tuple(need for need, words in flaws.items() if not words), next((words for words in flaws.values()), "")


def missing_approvals(needs: Iterable[Need], approvals: Iterable[Signed], digest: str) -> tuple[tuple[Need, int], ...]:
    """What still has to be approved, and by how many more people."""
    valid = [item for item in approvals if item.digest == digest]
    people = {need: {item.principal.casefold() for item in valid if need.scope in item.scopes} for need in needs}
    return tuple((need, need.approvals - len(names)) for need, names in people.items() if len(names) < need.approvals)
