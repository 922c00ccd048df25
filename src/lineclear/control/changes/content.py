"""What came with a change request that has to wait: documents, values and how it was meant, sealed in the database.

In: a reading and values. Out: bytes, and the same again when the request is carried out. Values never leave it in
clear but for the transaction that needs them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from lineclear.base.secret import Secret
from lineclear.config.manifest import Document, Reading
from lineclear.control.changes.plan import ChangeTerms
from lineclear.control.desired import decode, encode
from lineclear.domain.access import Scope
from lineclear.domain.manifest import ManagedBy


@dataclass(frozen=True)
class Content:
    """Everything that is needed to work a change out again."""

    reading: Reading
    variables: Mapping[str, Secret] = field(repr=False)
    terms: ChangeTerms
    is_forced: bool = False
    """Callers who are there do not keep what they call from being deleted."""


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    documents: list[tuple[str, str, str]]
    """Kind, JSON of the noun, file."""
    variables: dict[str, str]
    managed_by: ManagedBy
    take_ownership: bool
    prune: tuple[str, str, str] | None
    is_forced: bool


def content_bytes(content: Content) -> bytes:
    """How it is stored, before it is sealed. The same content has the same bytes."""
    documents = content.reading.documents
    prune = content.terms.prune
    stored = _Stored(
        [(item.kind.value, encode(item.manifest), item.file) for item in documents],
        {name: value.reveal() for name, value in sorted(content.variables.items())},
        content.terms.managed_by,
        content.terms.take_ownership,
        None if prune is None else (prune.team, prune.environment, prune.route),
        content.is_forced,
    )
    return msgspec.json.encode(stored)


def read_content(stored: bytes) -> Content:
    """What `content_bytes` wrote."""
    found = msgspec.json.decode(stored, type=_Stored)
    documents = tuple(Document(decode(kind, noun), file) for kind, noun, file in found.documents)
    return Content(
        Reading(documents, ()),
        {name: Secret(value) for name, value in found.variables.items()},
        ChangeTerms(found.managed_by, found.take_ownership, None if found.prune is None else Scope(*found.prune)),
        found.is_forced,
    )
