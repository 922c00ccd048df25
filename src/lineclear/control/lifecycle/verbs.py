"""What the verbs of a model version's life write: one change through `Changes`, like any other.

In: what a person asks, the state. Out: a card or routes with that and nothing else changed.
A card that moved meanwhile is a conflict.
"""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Any

from lineclear.config.manifest import InvalidManifest, Reading, read_values
from lineclear.control.changes.apply import Applied, Author, Changes, refusal
from lineclear.control.changes.plan import Action, ChangeTerms, Plan
from lineclear.control.desired import Desired, plain
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.catalogue import ModelStatus
from lineclear.domain.manifest import ManagedBy, Manifest, Model, ModelVersion
from lineclear.domain.status_moves import STATUS_MOVES, no_move_words

STATUS_FIELDS = ("status", "successor", "deprecated_at", "sunset", "end_of_life")
"""What a verb may change of a version."""


def find_version(desired: Desired, id_: str) -> tuple[Model, ModelVersion]:
    """A version by `name@version`.

    Raises:
        Refused: `not_found`.
    """
    found = desired.versions.get(id_)
    if found is None:
        raise unknown_version(id_)
    return found


def unknown_version(id_: str) -> Refused:
    """The refusal of a version that is not there, or that the caller must not see."""
    return Refused(
        AdminCode.NOT_FOUND, f"there is no model version {id_!r}", hint="`lineclear models list` shows versions"
    )


def demand_move(id_: str, version: ModelVersion, after: ModelStatus) -> None:
    """Go on only if the status may follow.

    Raises:
        Refused: `conflict`, with what may follow.
    """
    if version.status is after:
        raise Refused(AdminCode.CONFLICT, f"{id_} is {after.value} already")
    if (version.status, after) not in STATUS_MOVES:
        raise Refused(AdminCode.CONFLICT, no_move_words(id_, version.status, after))


def with_version(model: Model, after: ModelVersion) -> Model:
    """The card with one of its versions replaced."""
    return dataclasses.replace(
        model, versions=tuple(after if item.version == after.version else item for item in model.versions)
    )


def moved(version: ModelVersion, after: ModelStatus, **dates: str | None) -> ModelVersion:
    """The version with another status; what `dates` does not name stays, and a version in service has no sunset."""
    kept: dict[str, Any] = {name: value for name, value in dates.items() if value is not None}
    if after in (ModelStatus.APPROVED, ModelStatus.TEST):
        kept = {"deprecated_at": None, "sunset": None, "brownouts": ()}
    return dataclasses.replace(version, status=after, **kept)


def make(changes: Changes, nouns: Sequence[Manifest], author: Author, *, note: str, is_forced: bool = False) -> Applied:
    """Write nouns as they are given.

    Raises:
        Refused: as `Changes.apply`; `conflict` where more would change than the verb says.
    """
    reading = _reading(nouns)
    plan = changes.plan(reading, {}, author.terms)
    _demand_narrow(plan)
    return changes.apply(reading, {}, author, note=note, plan_digest=plan.digest, is_forced=is_forced)


def plan_of(changes: Changes, nouns: Sequence[Manifest], managed_by: ManagedBy) -> Plan:
    """What writing these nouns would do."""
    return changes.plan(_reading(nouns), {}, ChangeTerms(managed_by))


def _reading(nouns: Iterable[Manifest]) -> Reading:
    try:
        return Reading(read_values([plain(noun) for noun in nouns], "the command"), ())
    except InvalidManifest as error:
        raise refusal(error) from error


_ROUTE_MODELS = re.compile(r"environments\..+\.(targets|fallback)\[[^\]]+\]\.(model|weight)")
_STATUS = re.compile(rf"versions\[[^\]]+\]\.(({'|'.join(STATUS_FIELDS)})|brownouts\[[^\]]+\]\.(starts|ends))")


def _demand_narrow(plan: Plan) -> None:
    for item in plan.objects:
        for change in item.fields:
            is_ours = _STATUS.fullmatch(change.path) or _ROUTE_MODELS.fullmatch(change.path)
            if item.action is not Action.UPDATE or not (is_ours or change.path == "managed_by"):
                raise Refused(
                    AdminCode.CONFLICT,
                    f"{item.kind}/{item.name} was changed meanwhile ({change.path})",
                    hint="look at it again, then repeat the command",
                )
