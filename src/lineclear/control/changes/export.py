"""Nouns as manifest text that applies back to an unchanged plan.

In: stored rows. Out: one document per noun, and all of them as one text. Secrets stand in no noun, only their names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lineclear.config.manifest_fields import near_words
from lineclear.config.manifest_text import manifest_text, manifest_values
from lineclear.control.desired import decode
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.manifest import KIND_CLASSES, Kind
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


@dataclass(frozen=True)
class ExportedManifests:
    manifests: list[ExportedManifest]


_ORDER = list(KIND_CLASSES)


def export_manifests(rows: Sequence[ManifestRow], kind: str | None, name: str | None) -> ExportedManifests:
    """Every noun, or those of one kind, or one.

    Raises:
        Refused: `not_found` if there is no such kind or noun.
    """
    wanted = None if kind is None else _kind(kind)
    found = sorted(_exported(rows, wanted, name), key=lambda item: (_ORDER.index(Kind(item.kind)), item.name))
    if name is not None and not found:
        near = near_words(name, [row.name for row in rows if wanted is None or row.kind == wanted.value])
        raise Refused(AdminCode.NOT_FOUND, f"there is no {wanted.value if wanted else 'noun'} {name!r}", hint=near)
    return ExportedManifests(found)


def _exported(rows: Sequence[ManifestRow], kind: Kind | None, name: str | None) -> Iterator[ExportedManifest]:
    for row in rows:
        if (kind is None or row.kind == kind.value) and (name is None or row.name == name):
            noun = decode(row.kind, row.document)
            yield ExportedManifest(row.kind, row.name, row.owner, manifest_values(noun), manifest_text([noun]))


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
