"""Nouns as manifest text that applies back to an unchanged plan.

In: stored rows, whose call it is. Out: a document for each noun that the caller may read. Secrets stand in no noun,
only their names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lineclear.config.manifest_fields import near_words
from lineclear.config.manifest_text import manifest_text, manifest_values
from lineclear.control.desired import decode
from lineclear.control.endpoint import AdminCode, Call, Refused
from lineclear.control.scopes import scope_of_noun, scopes_of_route
from lineclear.domain.manifest import KIND_CLASSES, Kind, Manifest, Route
from lineclear.domain.permissions import Permission
from lineclear.store.control_rows import ManifestRow


@dataclass(frozen=True)
class ExportedManifest:
    """One noun."""

    kind: str
    name: str
    managed_by: str
    manifest: Any  # Any: the document as plain values, defaults left out
    text: str
    """The document as YAML."""
    may_change: bool = False
    """Whether the caller may ask for a change of it, or of a deployment of it."""


@dataclass(frozen=True)
class ExportedManifests:
    manifests: list[ExportedManifest]


_ORDER = list(KIND_CLASSES)


def export_manifests(call: Call, rows: Sequence[ManifestRow], kind: str | None, name: str | None) -> ExportedManifests:
    """Every noun that the caller may read, or those of one kind, or one.

    Raises:
        Refused: `not_found` if there is no such kind or noun, or none that the caller may read.
    """
    wanted = None if kind is None else _kind(kind)
    call.asked.append(Permission.CHANGE_READ)
    found = sorted(_exported(call, rows, wanted, name), key=lambda item: (_ORDER.index(Kind(item.kind)), item.name))
    if name is not None and not found:
        near = near_words(name, [item.name for item in _exported(call, rows, wanted, None)])
        raise Refused(AdminCode.NOT_FOUND, f"there is no {wanted.value if wanted else 'noun'} {name!r}", hint=near)
    return ExportedManifests(found)


def _exported(
    call: Call, rows: Sequence[ManifestRow], kind: Kind | None, name: str | None
) -> Iterator[ExportedManifest]:
    for row in rows:
        if (kind is None or row.kind == kind.value) and (name is None or row.name == name):
            noun = decode(row.kind, row.document)
            seen = _part(call, Permission.CHANGE_READ, noun)
            if seen is not None:
                may_change = _part(call, Permission.CHANGE_APPLY, noun) is not None
                values = manifest_values(seen)
                yield ExportedManifest(row.kind, row.name, row.owner, values, manifest_text([seen]), may_change)


def _part(call: Call, permission: Permission, noun: Manifest) -> Manifest | None:
    """The noun as far as the caller holds the permission on it: a route may be left with some of its deployments.

    What is left applies back unchanged: environments that a document does not name stay.
    """
    may = call.principal.may
    if may(permission, scope_of_noun(noun)):
        return noun
    if not isinstance(noun, Route):
        return None
    named = {name for name, scope in scopes_of_route(noun).items() if may(permission, scope)}
    kept = {name: deployed for name, deployed in noun.environments.items() if name in named}
    return replace(noun, environments=kept) if kept else None


def _kind(text: str) -> Kind:
    names = {kind.value.lower(): kind for kind in KIND_CLASSES}
    found = names.get(text.lower()) or names.get(text.lower().removesuffix("s"))
    if found is None:
        near = near_words(text, [kind.value for kind in KIND_CLASSES])
        raise Refused(
            AdminCode.NOT_FOUND,
            f"there is no kind {text!r}; one of {', '.join(kind.value for kind in KIND_CLASSES)}",
            hint=near,
        )
    return found
