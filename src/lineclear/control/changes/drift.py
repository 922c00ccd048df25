"""Where the platform differs from what files say, because somebody changed it elsewhere: told, never undone.

In: stored nouns with what files said last, documents that are left aside, deployments. Out: `Drift`s with both values
and the ways out. Pure.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lineclear.config.manifest import Document
from lineclear.config.manifest_text import manifest_text
from lineclear.control.desired import Desired, with_kept_parts
from lineclear.control.noun_fields import FieldChange, field_changes
from lineclear.control.releases import Release, release_id
from lineclear.domain.manifest import Kind, ManagedBy, Manifest, kind_of
from lineclear.store.control_rows import DeploymentRow

DEPLOYMENT = "deployment"
"""What drift of a deployment is called; of a noun it is called by its kind."""


@dataclass(frozen=True)
class Drift:
    """One thing that stands otherwise than files say."""

    object: str
    """`Route/support-chat`, or `deployment/live/support-chat`."""
    managed_by: str
    """Who keeps it now: `console`, `cli`; `rollback` for a deployment that went back."""
    fields: tuple[FieldChange, ...]
    """`before` = what stands, `after` = what the file says."""
    patch: str
    """A unified diff that makes the file say what stands; empty for a deployment."""
    take_over: str
    """How the file wins."""
    keep: str
    """How what stands wins."""


def noun_drift(stands: Manifest, says: Manifest, managed_by: ManagedBy, place: str = "") -> Drift:
    """The drift of one noun; `place` is the file that says otherwise, if it is known."""
    name = f"{kind_of(stands).value}/{stands.name}"
    where = place or "its file"
    return Drift(
        name,
        managed_by.value,
        field_changes(stands, says),
        _patch(says, stands, where),
        f"lineclear apply -f {place or 'FILE'} --take-ownership",
        f"lineclear export {name}, and put that into {where}",
    )


def stored_drift(
    desired: Desired, filed: Mapping[tuple[Kind, str], Manifest], managers: Mapping[tuple[Kind, str], ManagedBy]
) -> Iterator[Drift]:
    """Nouns that stand otherwise than a file said last."""
    for key, says in sorted(filed.items()):
        stands = desired.nouns.get(key)
        if stands is None or managers[key] is ManagedBy.FILE:
            continue
        says = with_kept_parts(stands, says)
        if field_changes(stands, says):
            yield noun_drift(stands, says, managers[key])


def held_drift(desired: Desired, document: Document, managed_by: ManagedBy) -> Drift:
    """What a document would have changed, had its noun not been taken over elsewhere."""
    stands = desired.nouns[document.kind, document.name]
    return noun_drift(stands, with_kept_parts(stands, document.manifest), managed_by, document.file)


def deployment_drift(key: tuple[str, str], row: DeploymentRow, says: Release) -> Drift:
    """A deployment that went back from what the manifests say."""
    return Drift(
        deployment_object(key),
        "rollback",
        (FieldChange("release", release_id(row.stable), says.id),),
        "",
        "lineclear apply -f FILE --take-ownership",
        f"write into the file what {release_id(row.stable)} holds: lineclear releases show {release_id(row.stable)}",
    )


def deployment_object(key: tuple[str, str]) -> str:
    """What a deployment, by (environment, route), is called in a drift."""
    environment, route = key
    return f"{DEPLOYMENT}/{environment}/{route}"


def went_back(row: DeploymentRow, says: Release) -> bool:
    """Whether a deployment was moved by other means than manifests, to another release than they say."""
    return row.stable not in (row.asked, says.digest)


def _patch(says: Manifest, stands: Manifest, place: str) -> str:
    before, after = (_lines(noun) for noun in (says, stands))
    return "\n".join(difflib.unified_diff(before, after, place, "what stands", lineterm=""))


def _lines(noun: Manifest) -> Sequence[str]:
    return manifest_text([noun]).splitlines()
