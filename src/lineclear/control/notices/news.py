"""What an event of the audit trail means to people: of what kind it is, about what, in which words, whose it is.

In: one event, the state, a transaction to look things up in. Out: `News`, none for most events. Must not write.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection

from lineclear.control.audit import AuditAction
from lineclear.control.changes.opening import scopes_in
from lineclear.control.desired import Desired, decode
from lineclear.control.release_diff import diff_releases
from lineclear.domain.access import PLATFORM, Scope
from lineclear.domain.catalogue import ModelStatus, instant_s
from lineclear.domain.manifest import Kind, Model, ModelVersion, model_version_id
from lineclear.domain.notices import NoticeKind, reminder_due
from lineclear.domain.overrides import scope_parts
from lineclear.store import control_rows as rows
from lineclear.store import rollout_rows
from lineclear.store.control_rows import AuditRow

WORDS_CHARS_MAX: Final = 500
"""Of a reason that somebody wrote; the rest is cut in what is sent."""


DAY_S: Final = 86_400


@dataclass(frozen=True)
class News:
    """Something that people are told."""

    kind: NoticeKind
    object: str
    """Such as `deployment/live/chat`."""
    title: str
    """One line."""
    scopes: tuple[Scope, ...]
    """Where it lies; the team of each owns it."""
    asked: Mapping[str, str] | None = None
    """Dimensions of the ledger in which those stand who call it; None = nobody does."""
    environment: str = ""
    route: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else is told. Any: JSON."""


Reader = Callable[[Connection, Desired, AuditRow], Iterator[News]]


def news_of(tx: Connection, desired: Desired, event: AuditRow) -> Iterator[News]:
    """What people are told of an event."""
    reader = _READERS.get(event.action)
    if reader is not None:
        yield from reader(tx, desired, event)


def _deployment(tx: Connection, desired: Desired, event: AuditRow) -> Iterator[News]:
    _, environment, route = event.object.split("/", 2)
    kind, words = _DEPLOYMENTS[AuditAction(event.action)]
    if event.before == event.after or not event.before:
        return  # an override that changed nothing; a first release, which nobody calls yet
    moved = f"{event.before} → {event.after or 'nothing'}"
    yield News(
        kind,
        event.object,
        f"{route} in {environment} {words}: {moved}",
        (_scope(desired, environment, route),),
        {"environment": environment, "route": route},
        environment,
        route,
        {"before": event.before, "after": event.after, "changed": changed_parts(tx, event.before, event.after)},
    )


def changed_parts(tx: Connection, before: str, after: str) -> list[str]:
    """The names of the components in which two releases differ; their contents are for those who see the route."""
    was, now = rows.read_release(tx, before), rows.read_release(tx, after)
    if was is None or now is None:
        return []
    return [item.component for item in diff_releases(json.loads(was.manifest), json.loads(now.manifest))]


def _rollout(tx: Connection, desired: Desired, event: AuditRow) -> Iterator[News]:
    row = rollout_rows.read_rollout(tx, event.object.partition("/")[2])
    if row is None:
        return
    kind, words = _ROLLOUTS[AuditAction(event.action)]
    yield News(
        kind,
        f"deployment/{row.environment}/{row.route}",
        f"the rollout of {row.route} in {row.environment} {words}" + (f": {event.after}" if event.after else ""),
        (_scope(desired, row.environment, row.route),),
        {"environment": row.environment, "route": row.route},
        row.environment,
        row.route,
        {"rollout": row.id, "before": event.before, "after": event.after},
    )


def _model(_tx: Connection, desired: Desired, event: AuditRow) -> Iterator[News]:
    kind, _, name = event.object.partition("/")
    if kind != Kind.MODEL.value or not event.before or not event.after:
        return
    was, now = decode(kind, event.before), decode(kind, event.after)
    if not isinstance(was, Model) or not isinstance(now, Model):
        return
    earlier = {version.version: version for version in was.versions}
    for version in now.versions:
        before = earlier.get(version.version)
        found = None if before is None else _move(before, version)
        if found is not None:
            id_ = model_version_id(name, version.version)
            yield _version_news(desired, id_, *found, _dates(version))


def endings(desired: Desired, now_s: int) -> Iterator[tuple[str, News]]:
    """Model versions that go soon, each with a text that is the same for one reminder of one date."""
    for id_, (_, version) in desired.versions.items():
        ends = [instant_s(text) for text in (version.sunset, version.end_of_life) if text is not None]
        if not ends or version.status in _GONE:
            continue
        left = -((now_s - min(ends)) // DAY_S)
        due = reminder_due(left)
        if due is not None:
            words = f"goes in {left} day{'' if left == 1 else 's'} and is still called"
            news = _version_news(desired, id_, NoticeKind.DEPRECATION, words, _dates(version))
            yield f"{id_} {min(ends)} {due}", news


def _move(was: ModelVersion, now: ModelVersion) -> tuple[NoticeKind, str] | None:
    """Of what kind a version's move is, and in words; None if callers need not know."""
    if was.status is not now.status:
        return _STATUSES.get(now.status, NoticeKind.MODEL), f"is {now.status.value} now (was {was.status.value})"
    if (was.sunset, was.successor, was.end_of_life) != (now.sunset, now.successor, now.end_of_life):
        return NoticeKind.DEPRECATION, "has other dates or another successor now"
    return None


def _dates(version: ModelVersion) -> dict[str, Any]:
    return {
        "status": version.status.value,
        "successor": version.successor,
        "sunset": version.sunset,
        "end_of_life": version.end_of_life,
    }


def _blocked(_tx: Connection, desired: Desired, event: AuditRow) -> Iterator[News]:
    id_ = event.object.partition("/")[2]
    if event.after and event.after != event.before:
        words = f"is blocked (was {event.before}): it is called no more, in any environment"
        yield _version_news(desired, id_, NoticeKind.BLOCK, words, {"status": ModelStatus.BLOCKED.value})


def _version_news(desired: Desired, id_: str, kind: NoticeKind, words: str, facts: Mapping[str, Any]) -> News:
    model = desired.models.get(id_.partition("@")[0])
    successor, sunset = facts.get("successor"), facts.get("sunset") or facts.get("end_of_life")
    more = (f"; it goes on {sunset}" if sunset else "") + (f"; use {successor} instead" if successor else "")
    scope = PLATFORM if model is None else Scope(team=model.owner)
    return News(kind, f"model-version/{id_}", f"{id_} {words}{more}", (scope,), {"model": id_}, facts=facts)


def _stop(_tx: Connection, desired: Desired, event: AuditRow) -> Iterator[News]:
    if event.before == event.after:
        return  # nothing had been stopped, or it was already
    scope = event.object.partition("/")[2]
    kind, name = scope_parts(scope)
    environment, route = name.split("/", 1) if kind == "route" else ("", "")
    asked = {"environment": environment, "route": route} if route else {kind: name} if name else {}
    owner = PLATFORM
    if route:
        owner = _scope(desired, environment, route)
    elif kind == "app" and name in desired.apps:
        owner = Scope(team=desired.apps[name].team)
    words = "calls are refused" if event.action == AuditAction.AI_STOPPED else "calls are served again"
    where = "everywhere" if not name else f"for {scope}"
    title = f"AI is {'stopped' if event.action == AuditAction.AI_STOPPED else 'started again'} {where}: {words}"
    yield News(NoticeKind.STOP, event.object, title, (owner,), asked, environment, route, {"scope": scope})


def _change(tx: Connection, _desired: Desired, event: AuditRow) -> Iterator[News]:
    row = rows.read_change(tx, event.change_id)
    if row is None:
        return
    kind, words = _CHANGES[AuditAction(event.action)]
    facts: dict[str, Any] = {"author": row.author, "state": row.state, "note": row.note[:WORDS_CHARS_MAX]}
    title = f"the change {row.id} of {row.author} {words}"
    scopes = tuple(sorted(scopes_in(row.scopes)))
    places = [[scope.team, scope.environment, scope.route] for scope in scopes]
    yield News(kind, event.object, title, scopes, facts={**facts, "scopes": places})


def _scope(desired: Desired, environment: str, route: str) -> Scope:
    known = desired.routes.get(route)
    return Scope(known.team if known is not None else "", environment, route)


_DEPLOYMENTS: Final[Mapping[AuditAction, tuple[NoticeKind, str]]] = {
    AuditAction.DEPLOYMENT_MOVED: (NoticeKind.RELEASE, "serves another release"),
    AuditAction.DEPLOYMENT_ROLLED_BACK: (NoticeKind.ROLLBACK, "was rolled back"),
    AuditAction.DEPLOYMENT_REMOVED: (NoticeKind.REMOVAL, "is gone"),
}
_ROLLOUTS: Final[Mapping[AuditAction, tuple[NoticeKind, str]]] = {
    AuditAction.ROLLOUT_STARTED: (NoticeKind.ROLLOUT, "began"),
    AuditAction.ROLLOUT_ADVANCED: (NoticeKind.ROLLOUT, "took its next step"),
    AuditAction.ROLLOUT_HELD: (NoticeKind.ROLLOUT_HELD, "is held"),
    AuditAction.ROLLOUT_RESUMED: (NoticeKind.ROLLOUT, "goes on"),
    AuditAction.ROLLOUT_COMPLETED: (NoticeKind.ROLLOUT, "is complete"),
    AuditAction.ROLLOUT_ROLLED_BACK: (NoticeKind.ROLLBACK, "was taken back"),
    AuditAction.ROLLOUT_CANCELLED: (NoticeKind.ROLLOUT, "was cancelled"),
}
_GONE: Final = frozenset({ModelStatus.RETIRED, ModelStatus.BLOCKED})
_STATUSES: Final[Mapping[ModelStatus, NoticeKind]] = {
    ModelStatus.DEPRECATED: NoticeKind.DEPRECATION,
    ModelStatus.RETIRED: NoticeKind.RETIREMENT,
    ModelStatus.BLOCKED: NoticeKind.BLOCK,
}
_CHANGES: Final[Mapping[AuditAction, tuple[NoticeKind, str]]] = {
    AuditAction.CHANGE_OPENED: (NoticeKind.APPROVAL, "waits for approval"),
    AuditAction.CHANGE_REBASED: (NoticeKind.APPROVAL, "was rebased and may need approval again"),
    AuditAction.CHANGE_REOPENED: (NoticeKind.APPROVAL, "lost an approval and waits for another"),
    AuditAction.CHANGE_APPROVED: (NoticeKind.DECISION, "was approved"),
    AuditAction.CHANGE_REJECTED: (NoticeKind.DECISION, "was rejected"),
    AuditAction.CHANGE_WITHDRAWN: (NoticeKind.DECISION, "was withdrawn"),
    AuditAction.CHANGE_EXPIRED: (NoticeKind.DECISION, "ran out of time"),
    AuditAction.CHANGE_STALE: (NoticeKind.DECISION, "is stale: what it rests on has changed"),
}
_READERS: Final[Mapping[str, Reader]] = {
    **{action.value: _deployment for action in _DEPLOYMENTS},
    **{action.value: _rollout for action in _ROLLOUTS},
    **{action.value: _change for action in _CHANGES},
    AuditAction.MANIFEST_UPDATED.value: _model,
    AuditAction.MODEL_BLOCKED.value: _blocked,
    AuditAction.AI_STOPPED.value: _stop,
    AuditAction.AI_STARTED.value: _stop,
}
EVENTS: Final = frozenset(_READERS)
"""Actions that may be news."""
