"""Which release a rollback takes, and why another one cannot be taken. Pure.

In: one route's section, the facts about model versions and their processes. Out: a choice or a refusal with the next
ready one. A release is ready if every version that it serves with exists, may be called and has a process up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lineclear.domain.catalogue import EnvironmentClass, ModelStatus
from lineclear.domain.overlay import served_versions
from lineclear.domain.snapshot import ModelVersionEntry, ReleaseEntry, RouteSection, StopEntry


@dataclass(frozen=True)
class Ready:
    """One release that a rollback could take."""

    release: str
    is_ready: bool
    reason: str
    """Why it is not; empty if it is."""


class RollbackImpossible(Exception):
    """There is nothing to go back to, or not to the one that was named.

    Attributes:
        hint: the next command.
        is_unknown: the release is none of the route's.
    """

    def __init__(self, message: str, hint: str = "", *, is_unknown: bool = False) -> None:
        super().__init__(message)
        self.hint = hint
        self.is_unknown = is_unknown


@dataclass(frozen=True)
class Fitness:
    """What tells whether a model version could serve at once."""

    versions: Mapping[str, ModelVersionEntry]
    stops: Mapping[str, StopEntry]
    process_gap: Callable[[str], str]
    """By `name@version` of a hosted one: why no process of it answers; empty if one does."""

    def gap(self, model: str, environment_class: EnvironmentClass) -> str:
        """Why a version cannot serve; empty if it can."""
        version = self.versions.get(model)
        if version is None:
            return f"{model} is no longer in the catalogue"
        if version.status in (ModelStatus.BLOCKED, ModelStatus.RETIRED):
            return f"{model} is {version.status.value}"
        if version.status is ModelStatus.TEST and environment_class is EnvironmentClass.LIVE:
            return f"{model} is in status test"
        if f"provider:{version.provider}" in self.stops:
            return f"provider {version.provider} of {model} is stopped"
        return self.process_gap(model) if version.runtime is not None else ""


def readiness(section: RouteSection, environment_class: EnvironmentClass, fitness: Fitness) -> tuple[Ready, ...]:
    """Every release that a rollback could take, in the order in which it would."""
    return tuple(
        _ready(release, environment_class, fitness) for release in section.previous if release.id != section.stable.id
    )


def _ready(release: ReleaseEntry, environment_class: EnvironmentClass, fitness: Fitness) -> Ready:
    gaps = [gap for model in served_versions(release) if (gap := fitness.gap(model, environment_class))]
    return Ready(release.id, not gaps, "; ".join(gaps))


def automatic(section: RouteSection, candidates: Sequence[Ready]) -> Ready | None:
    """The one that a rollback without a name takes: the first ready one, never the one that was rolled back."""
    return next((item for item in candidates if item.is_ready and item.release != section.rolled_back_from), None)


def choose(section: RouteSection, candidates: Sequence[Ready], wanted: str | None) -> str:
    """The release to go back to; the one that serves if there is nothing to do.

    A rollback without a name happens once: where the release that was asked for has been rolled back already, going
    further needs a name. So a repeated command, or two people at once, never go back twice.

    Raises:
        RollbackImpossible: none is ready, or not the one named.
    """
    where = f"-e {section.environment}"
    if wanted is None:
        if section.rolled_back_from or section.candidate is not None:
            # A rollout under way is what a rollback takes back first: stable never ceased to serve.
            return section.stable.id
        chosen = automatic(section, candidates)
        if chosen is not None:
            return chosen.release
        if not candidates:
            raise RollbackImpossible(
                f"route {section.route!r} in {section.environment} has had no other release than {section.stable.id}",
                f"`lineclear stop route:{section.environment}/{section.route}` stops its calls",
            )
        reasons = "; ".join(f"{item.release}: {item.reason}" for item in candidates if item.reason)
        raise RollbackImpossible(
            f"no earlier release of route {section.route!r} in {section.environment} is ready: {reasons}",
            f"`lineclear stop route:{section.environment}/{section.route}` stops its calls",
        )
    if wanted == section.stable.id:
        return wanted
    named = next((item for item in candidates if item.release == wanted), None)
    following = automatic(section, candidates)
    more = (
        f"the next ready one is {following.release}: "
        f"`lineclear rollback {section.route} {where} --to {following.release}`"
        if following is not None
        else "no other one is ready"
    )
    if named is None:
        known = ", ".join(item.release for item in candidates) or "none"
        raise RollbackImpossible(
            f"{wanted} is not among the earlier releases of route {section.route!r} in {section.environment}",
            f"there are: {known}; {more}",
            is_unknown=True,
        )
    if not named.is_ready:
        raise RollbackImpossible(f"{wanted} is not ready: {named.reason}", more)
    return wanted
