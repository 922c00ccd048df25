"""What a card of somebody else becomes here: a Model document, with what only its importer can say.

In: facts that were read from a card, and the importer's answers. Out: the document as plain values. Pure.
What others say of a status is left aside: whatever is imported begins as `test`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lineclear.domain.catalogue import Engine, ModelStatus
from lineclear.domain.manifest import Kind

NOT_TAKEN: Final = (
    "status",
    "deprecated_at",
    "sunset",
    "brownouts",
    "successor",
    "price",
    "artifact",
    "settings",
    "replicas",
)
"""Fields of a version that are the importer's own to decide."""
_NAME: Final = re.compile(r"[^a-z0-9._-]+")
_VERSION: Final = re.compile(r"[^A-Za-z0-9._+-]+")
NAME_CHARS_MAX: Final = 63


class CardUnreadable(Exception):
    """It is no card of the kind that it was said to be; the message says why."""


@dataclass(frozen=True)
class Importer:
    """What whoever imports a card says of it; empty = as the card has it."""

    owner: str
    """The team that answers for it here."""
    name: str = ""
    version: str = ""
    provider: str = ""
    """Who serves it, if somebody else does."""
    upstream_id: str = ""
    artifact: str = ""
    """Its file, if it is served here."""
    sha256: str = ""
    """Of that file, 64 hex digits."""


@dataclass(frozen=True)
class ForeignCard:
    """What was read of one model version."""

    name: str
    version: str
    facts: Mapping[str, Any] = field(default_factory=dict)  # Any: fields of Model as manifests write them
    of_version: Mapping[str, Any] = field(default_factory=dict)  # Any: as above, of ModelVersion


def document_of(card: ForeignCard, importer: Importer) -> dict[str, Any]:
    """The Model document; what is wrong with it is told by the rules of manifests. Any: as manifests write it.

    Raises:
        CardUnreadable: the importer's file is another one than the card's.
    """
    name = importer.name or _NAME.sub("-", card.name.rpartition("/")[2].lower()).strip("-.")[:NAME_CHARS_MAX]
    version: dict[str, Any] = {
        "version": importer.version or _VERSION.sub("-", card.version) or "1",
        **{key: value for key, value in card.of_version.items() if key not in NOT_TAKEN},
        "status": ModelStatus.TEST.value,
    }
    if importer.provider:
        version |= {"provider": importer.provider, "upstream_id": importer.upstream_id or card.name}
        version.pop("engine", None)
        version.pop("sha256", None)
    elif importer.artifact:
        if str(version.get("sha256", importer.sha256)).lower() != importer.sha256.lower():
            raise CardUnreadable(f"{importer.artifact} is not the file that the card names: its SHA-256 differs")
        version |= {"engine": version.get("engine", Engine.GGUF.value)}
        version |= {"artifact": importer.artifact, "sha256": importer.sha256}
        for key in ("provider", "upstream_id", "operations"):
            version.pop(key, None)
    facts = {key: value for key, value in card.facts.items() if value not in ("", None, [], ())}
    return {"kind": Kind.MODEL.value, "name": name, **facts, "owner": importer.owner, "versions": [version]}
