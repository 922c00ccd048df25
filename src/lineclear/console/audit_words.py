"""What the audit trail's events are called on pages, and where the thing leads that each is about.

In: actions and objects as the trail has them. Out: words and paths below the console. An action that is not known here
is shown as the trail has it.
"""

from collections.abc import Mapping
from urllib.parse import quote

ACTION_WORDS: Mapping[str, str] = {
    "manifest.created": "created",
    "manifest.updated": "changed",
    "manifest.deleted": "deleted",
    "deployment.moved": "moved the release of",
    "deployment.removed": "took away",
    "deployment.rolled-back": "rolled back",
    "rollback.drilled": "drilled the rollback of",
    "drill.passed": "could go back at every gateway:",
    "drill.failed": "could not go back at every gateway:",
    "rollout.started": "started",
    "rollout.advanced": "advanced",
    "rollout.held": "held",
    "rollout.resumed": "resumed",
    "rollout.completed": "completed",
    "rollout.rolled-back": "rolled back",
    "rollout.cancelled": "ended",
    "dataset.added": "kept",
    "dataset.removed": "removed",
    "replay.started": "started",
    "replay.ended": "ended",
    "eval.started": "started",
    "eval.ended": "ended",
    "model.blocked": "blocked",
    "ai.stopped": "stopped",
    "ai.started": "started again",
    "credential.set": "set",
    "secret.set": "set",
    "secret.removed": "removed",
    "provider.tested": "tested",
    "key.created": "made",
    "key.revoked": "revoked",
    "change.opened": "asked for",
    "change.approved": "approved",
    "change.applied": "carried out",
    "change.rejected": "rejected",
    "change.withdrawn": "withdrew",
    "change.expired": "let expire",
    "change.stale": "found out of date",
    "change.rebased": "rebased",
    "change.reopened": "opened again",
    "audit.read": "read",
    "audit.verified": "verified",
    "audit.exported": "exported",
    "sign-in-link.created": "made a sign-in link for",
    "session.opened": "signed in with",
    "session.closed": "signed out of",
    "session.ended": "ended",
    "sign-in-link.taken-back": "took back a sign-in link of",
    "sign-in.refused": "was refused the sign-in as",
    "member.added": "added",
    "member.disabled": "disabled",
    "member.enabled": "enabled",
    "member.invited": "invited",
    "member.groups-changed": "changed the groups of",
    "password.set": "set the password of",
    "grant.given": "gave a role to",
    "grant.taken": "took a role from",
    "token.created": "made",
    "token.revoked": "revoked",
    "break-glass.opened": "broke the glass as",
    "break-glass.closed": "closed the emergency",
    "break-glass.reviewed": "reviewed the emergency",
    "notice.acknowledged": "took note of",
    "notice.sent-again": "sent again",
    "notice.tested": "tried the channels of",
}
AREAS: Mapping[str, str] = {
    "manifest.": "descriptions of models, routes and others",
    "deployment.": "releases and rollbacks",
    "rollout.": "rollouts",
    "change.": "changes and approvals",
    "model.": "blocked models",
    "ai.": "stops",
    "key.": "keys",
    "member.": "people",
    "grant.": "roles",
    "token.": "tokens",
    "session.": "sign-ins",
    "secret.": "secrets",
    "break-glass.": "emergencies",
    "audit.": "the audit trail itself",
}
"""Beginnings of actions that a page offers to narrow by."""
LINE_CHARS = 120
DIGEST_CHARS = 64
_PAGES: Mapping[str, str] = {
    "change": "/changes/",
    "Route": "/routes/",
    "Model": "/catalogue/",
    "key": "/keys/",
    "rollout": "/rollouts/",
    "eval": "/evals/",
    "replay": "/replays/",
}


def action_words(action: str) -> str:
    """What was done, as a verb before its object."""
    return ACTION_WORDS.get(action, action.replace(".", " ").replace("-", " "))


def is_short(before: str, after: str) -> bool:
    """Whether what an event has of before and after is said in one line; digests are said nowhere."""
    told = [text for text in (before, after) if text]
    return bool(told) and all(len(text) <= LINE_CHARS and "\n" not in text and not _is_digest(text) for text in told)


def is_told(action: str) -> bool:
    """Whether before and after of an action are more than digests of a plan."""
    return not action.startswith("change.")


def object_words(object_: str) -> str:
    """What it was done to: `route chat in live`, `key abc`."""
    kind, _, name = object_.partition("/")
    if kind in ("deployment", "drill"):
        environment, _, route = name.partition("/")
        return f"route {route} in {environment}"
    return f"{kind.replace('-', ' ').lower()} {name}".strip()


def object_path(object_: str) -> str:
    """The page of what an event is about; empty if it has none."""
    kind, _, name = object_.partition("/")
    if kind == "deployment":
        return f"/routes/{_part(name.partition('/')[2])}"
    if kind == "model-version":
        return f"/catalogue/{_part(name.partition('@')[0])}"
    return _PAGES[kind] + _part(name) if kind in _PAGES and name else ""


def _is_digest(text: str) -> bool:
    return len(text) == DIGEST_CHARS and all(letter in "0123456789abcdef" for letter in text)


def _part(text: str) -> str:
    return quote(text, safe="")
