"""What a new release may name: no version that is on its way out; releases that stand keep theirs.

In: the state before and wanted, the releases that would be deployed, the documents that make the difference. Out:
findings at the places of the names. Pure.
"""

from collections.abc import Collection, Iterator, Sequence

from lineclear.config.manifest import Document
from lineclear.config.yaml_tree import PlainPath
from lineclear.control.desired import Desired
from lineclear.domain.catalogue import ModelStatus
from lineclear.domain.findings import Finding
from lineclear.domain.manifest import Kind, ModelVersion

NOT_ANEW = frozenset({ModelStatus.DEPRECATED, ModelStatus.RETIRED})


def check_pins(
    before: Desired, wanted: Desired, new: Collection[tuple[str, str]], documents: Sequence[Document]
) -> Iterator[Finding]:
    """Each place where a new release would name a deprecated or retired version.

    A version that comes with the change itself is not held against it: an estate is taken over as it stands.

    Args:
        before: the state now.
        wanted: the state with the documents taken in.
        new: (environment, route) of deployments that would get a release which they never had.
        documents: what is to be applied.
    """
    written = {document.name: document for document in documents if document.kind is Kind.ROUTE}
    known, versions = before.versions, wanted.versions
    for environment, name in sorted(new):
        deployed = wanted.routes[name].environments[environment]
        root: PlainPath = ("environments", environment)
        named = [((*root, "targets", at, "model"), target.model) for at, target in enumerate(deployed.targets)]
        named += [((*root, "fallback", at, "model"), item.model) for at, item in enumerate(deployed.fallback)]
        for path, id_ in named:
            version = versions[id_][1]
            if id_ in known and version.status in NOT_ANEW:
                yield _finding(written.get(name), name, path, id_, version)


def _finding(document: Document | None, route: str, path: PlainPath, id_: str, version: ModelVersion) -> Finding:
    instead = f"; name {version.successor} instead" if version.successor else ""
    words = f"{id_} is {version.status.value} and no new release may name it{instead}"
    if document is not None and document.manifest.name == route:
        return document.finding(path, version.status.value, words)
    place = ".".join([f"Route/{route}", *map(str, path)])
    return Finding(version.status.value, f"{words} (in {place}, whose release changes with these files)", path=place)
