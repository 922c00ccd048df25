"""Versions that a change gives another status: whether each move is one, where it stands, who may make it.

In: the state before and wanted, the documents that make the difference. Out: moves, and findings at their places. Pure.
"""

from collections.abc import Iterator, Sequence

from lineclear.config.manifest import Document
from lineclear.control.desired import Desired
from lineclear.domain.findings import Finding
from lineclear.domain.manifest import Model, model_version_id
from lineclear.domain.status_moves import STATUS_MOVES, StatusMove, no_move_words


def status_moves(before: Desired, wanted: Desired) -> tuple[StatusMove, ...]:
    """Every version whose status changes, and every new one, by name."""
    known = before.versions
    return tuple(
        StatusMove(id_, model.owner, known[id_][1].status if id_ in known else None, version.status)
        for id_, (model, version) in sorted(wanted.versions.items())
        if id_ not in known or known[id_][1].status is not version.status
    )


def check_status_moves(before: Desired, documents: Sequence[Document]) -> Iterator[Finding]:
    """Each status in a document that does not follow the one that the version has."""
    known = before.versions
    for document in documents:
        if not isinstance(document.manifest, Model):
            continue
        for at, version in enumerate(document.manifest.versions):
            id_ = model_version_id(document.name, version.version)
            path = ("versions", at, "status")
            was = known[id_][1].status if id_ in known else version.status
            if was is version.status or (was, version.status) in STATUS_MOVES or document.is_muted(path):
                continue
            yield document.finding(path, "status_move", no_move_words(id_, was, version.status))
