"""Manifest files as checked nouns: every mistake of every document, at file, line and column.

In: texts with the names people know them by, or plain values. Out: `Document`s and all findings, or `InvalidManifest`.
Knows fields and their own rules; whether a name exists elsewhere is control's knowledge.
"""

import codecs
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lineclear.config.manifest_fields import check_fields, is_muted, near_words
from lineclear.config.manifest_rules import check_rules
from lineclear.config.yaml_tree import PlainPath, Tree, read_trees
from lineclear.domain.findings import Finding
from lineclear.domain.manifest import KIND_CLASSES, Kind, Manifest, Model, kind_of

FINDINGS_MAX = 100
"""Findings told at once; the rest is counted."""
DOCUMENTS_MAX = 5_000
_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class ManifestFile:
    """One file as it was read."""

    name: str
    """As the person wrote it; findings repeat it."""
    text: str
    directory: str = ""
    """Absolute path that relative artefact paths start from; empty = they are refused."""


@dataclass(frozen=True)
class Document:
    """One manifest with the places of its fields."""

    manifest: Manifest
    file: str = ""
    tree: Tree = field(default_factory=lambda: Tree(None))
    muted: frozenset[PlainPath] = frozenset()
    """Fields that hold a placeholder because what was written there is wrong; nothing more is said about them."""

    @property
    def kind(self) -> Kind:
        return kind_of(self.manifest)

    @property
    def name(self) -> str:
        return self.manifest.name

    def is_muted(self, path: PlainPath) -> bool:
        """Whether a mistake of the field at `path` has been told already."""
        return is_muted(path, self.muted)

    def finding(self, path: PlainPath, code: str, message: str, *, at_key: bool = False) -> Finding:
        """A finding about the value of a field of this document, or about its key."""
        name = self.tree.value.get("name", "?") if isinstance(self.tree.value, dict) else self.name
        return _finding(self.file, self.tree, f"{self.kind.value}/{name}", path, code, message, at_key=at_key)


@dataclass(frozen=True)
class Reading:
    """What files hold, mistakes included."""

    documents: tuple[Document, ...]
    """Every document that could be read at all; one with mistakes as far as it could."""
    findings: tuple[Finding, ...]
    """Mistakes of texts, fields and values; names that lead elsewhere are not looked at yet."""
    files: tuple[str, ...] = ()
    """Names in the order given; findings are told in it."""

    def checked(self) -> tuple[Document, ...]:
        """The documents.

        Raises:
            InvalidManifest: if there is any mistake.
        """
        if self.findings:
            raise InvalidManifest(in_order(self.findings, self.files))
        return self.documents


class InvalidManifest(Exception):
    """At least one document cannot be accepted; nothing of the set is."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(f"{len(findings)} mistakes in manifests")
        self.findings = tuple(findings[:FINDINGS_MAX])
        self.left_out = max(0, len(findings) - FINDINGS_MAX)


def in_order(findings: Iterable[Finding], files: Sequence[str]) -> list[Finding]:
    """Findings as a person goes through the files; those without a place last."""
    at = {name: number for number, name in enumerate(files)}
    return sorted(findings, key=lambda item: (not item.line, at.get(item.file, len(at)), item.line, item.column))


def read_file(path: Path) -> ManifestFile:
    """A manifest file from disk.

    Raises:
        InvalidManifest: if it cannot be read or is not UTF-8.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        words = f"cannot read the file: {error.strerror}"
        raise InvalidManifest([Finding("unreadable", words, str(path))]) from error
    return ManifestFile(str(path), manifest_text(content, str(path)), str(path.parent.resolve()))


def manifest_text(content: bytes, source: str) -> str:
    """The text of a manifest file's bytes, with one kind of line end.

    Raises:
        InvalidManifest: if they are not UTF-8.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        known = "it is UTF-16" if content.startswith(_UTF_16_MARKS) else f"byte {error.start + 1} is none of it"
        words = f"the file is no text in UTF-8: {known}; save it as UTF-8"
        raise InvalidManifest([Finding("unreadable", words, source)]) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_manifests(files: Sequence[ManifestFile]) -> Reading:
    """Every document of the files with everything that is wrong with texts, fields and values."""
    documents: list[Document] = []
    findings: list[Finding] = []
    for file in files:
        trees = read_trees(file.name, file.text)
        findings += trees.findings
        for tree in trees.trees:
            _take(tree, file.name, file.directory, documents, findings)
    findings.extend(_twice(documents))
    if len(documents) > DOCUMENTS_MAX:
        findings.append(Finding("too_large", f"more than {DOCUMENTS_MAX} documents in one change"))
    return Reading(tuple(documents), tuple(findings), tuple(file.name for file in files))


def read_values(values: Iterable[Mapping[str, Any]], source: str) -> tuple[Document, ...]:
    """Documents from plain values in manifest form, e.g. of bundled models; artefact paths must be absolute.

    Raises:
        InvalidManifest: with the findings of all documents.
    """
    documents: list[Document] = []
    findings: list[Finding] = []
    for value in values:
        _take(Tree(value), source, "", documents, findings)
    return Reading(tuple(documents), tuple(findings)).checked()


def _take(tree: Tree, file: str, directory: str, documents: list[Document], findings: list[Finding]) -> None:
    kind, wrong_kind = _kind(tree, file)
    if wrong_kind is not None:
        findings.append(wrong_kind)
    if kind is None:
        return
    values = {name: value for name, value in tree.value.items() if name != "kind"}
    checked = check_fields(kind, values, f"?{len(documents)}")
    label = f"{kind.value}/{values.get('name', '?')}"
    findings.extend(
        _finding(file, tree, label, mistake.path, mistake.code, mistake.message, at_key=mistake.is_about_key)
        for mistake in checked.mistakes
    )
    if checked.noun is None:
        return
    document = Document(_with_absolute_artifacts(checked.noun, directory), file, tree, checked.muted)
    for path, code, message in check_rules(document.manifest):
        if not document.is_muted(path):
            findings.append(document.finding(path, code, message))
    documents.append(document)


def _kind(tree: Tree, file: str) -> tuple[Kind | None, Finding | None]:
    """The kind that a document is read as, and what is wrong with how it is written.

    A kind that is nearly one is read as that one, so that the rest of the document is checked as well.
    """
    if not isinstance(tree.value, dict):
        message = "a document is a mapping that begins with `kind:`"
        return None, _finding(file, tree, "document", (), "syntax", message)
    names = [kind.value for kind in KIND_CLASSES]
    kind = tree.value.get("kind")
    if kind is None:
        message = f"`kind` is missing; one of {', '.join(names)}"
        return None, _finding(file, tree, "document", ("kind",), "missing_field", message)
    if kind in names:
        return Kind(kind), None
    near = near_words(kind, names) if isinstance(kind, str) else ""
    message = f"{kind!r} is not a kind; {near or 'one of ' + ', '.join(names)}"
    meant = next((name for name in names if f"`{name}`" in near), None)
    return Kind(meant) if meant else None, _finding(file, tree, "document", ("kind",), "unknown_kind", message)


def _with_absolute_artifacts(manifest: Manifest, directory: str) -> Manifest:
    if not isinstance(manifest, Model) or not directory:
        return manifest
    versions = tuple(
        dataclasses.replace(version, artifact=str(Path(directory) / version.artifact)) if version.artifact else version
        for version in manifest.versions
    )
    return dataclasses.replace(manifest, versions=versions)


def _twice(documents: Sequence[Document]) -> Iterator[Finding]:
    seen: dict[tuple[Kind, str], Document] = {}
    for document in documents:
        first = seen.setdefault((document.kind, document.name), document)
        if first is not document:
            place = first.tree.value_position(())
            message = f"{document.kind.value} {document.name!r} stands twice; first at {first.file}:{place.line}"
            yield document.finding(("name",), "duplicate", message)


def _finding(
    file: str, tree: Tree, label: str, path: PlainPath, code: str, message: str, *, at_key: bool = False
) -> Finding:
    position = tree.key_position(path) if at_key else tree.value_position(path)
    where = ".".join([label, *(str(part) for part in path)])
    return Finding(code, message, file, position.line, position.column, where)
