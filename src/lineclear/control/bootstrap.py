"""What a data directory holds from its first start on: environments, the default team and app with two keys, and
the bundled models. Audited under the actor `bootstrap`; what people changed since is left alone.

In: bundled documents. Out: nouns, and the texts of the first keys, once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from lineclear.config.manifest import Document, Reading, read_values
from lineclear.control.changes.apply import Author, Changes
from lineclear.control.changes.plan import ChangeTerms
from lineclear.control.keys.keys import Keys
from lineclear.control.publish import Publisher, read_desired
from lineclear.domain.manifest import Kind, ManagedBy
from lineclear.store import control_rows as rows

ACTOR = Author("bootstrap", ChangeTerms(ManagedBy.BOOTSTRAP))
DEFAULT = "default"
"""Name of the first team and the first app."""
ENVIRONMENTS = ("test", "live")

_FIRST_DOCUMENTS: Sequence[Mapping[str, Any]] = (
    *({"kind": "Environment", "name": name, "class": name} for name in ENVIRONMENTS),
    {"kind": "Team", "name": DEFAULT, "description": "made at the first start"},
    {
        "kind": "App",
        "name": DEFAULT,
        "team": DEFAULT,
        "purpose": "made at the first start, to try the platform with",
        "routes": ["*"],
    },
)


def bootstrap(publisher: Publisher, changes: Changes, bundled: Sequence[Mapping[str, Any]]) -> None:
    """Create what is missing and bring up to date what nobody changed since."""
    documents = _own(publisher, read_values([*_FIRST_DOCUMENTS, *bundled], "bundled"))
    if documents:
        changes.apply(Reading(tuple(documents), ()), {}, ACTOR, note="models that come with the product")


def make_first_keys(publisher: Publisher, keys: Keys, of_app: str | None = None) -> dict[str, str] | None:
    """Two keys of the default app where there never was a key; with `of_app`, where that app never had one.

    Returns:
        The texts by environment at the first start, None ever after.
    """
    with publisher.database.read() as tx:
        if any(of_app in (None, key.app) for key in rows.read_keys(tx)):
            return None

    def work(tx: Connection) -> dict[str, str]:
        return {name: keys.add(tx, ACTOR.name, DEFAULT, name)[1] for name in ENVIRONMENTS}

    texts, _ = publisher.commit("first keys", work)
    return texts


def _own(publisher: Publisher, documents: Sequence[Document]) -> list[Document]:
    """The documents of nouns that are new or still as bootstrap left them; a noun of a file is the file's."""
    with publisher.database.read() as tx:
        owners = {(row.kind, row.name): row.owner for row in rows.read_manifests(tx)}
        desired = read_desired(tx)
    if (Kind.APP.value, DEFAULT) in owners:
        # Only models and routes come anew with the product; the rest is the people's from the first start on.
        documents = [document for document in documents if document.kind in (Kind.MODEL, Kind.ROUTE)]
        if DEFAULT not in desired.teams:
            return []
    return [
        document
        for document in documents
        if owners.get((document.kind.value, document.name), ManagedBy.BOOTSTRAP.value) == ManagedBy.BOOTSTRAP.value
    ]
