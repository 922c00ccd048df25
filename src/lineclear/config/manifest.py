"""Manifest files as checked nouns: every mistake of every document, at file, line and column.

In: texts with the names people know them by, or plain values. Out: `Document`s, or `InvalidManifest` with all
findings. Knows fields and their own rules; whether a name exists elsewhere is control's knowledge.
"""

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lineclear.config.manifest_rules import check_rules
from lineclear.config.yaml_tree import PlainPath, Tree, UnreadableText, read_trees
from lineclear.domain.findings import Finding
from lineclear.domain.manifest import KIND_CLASSES, Kind, Manifest, Model, Noun, kind_of

FINDINGS_MAX = 100
"""Findings told at once; the rest is counted."""
DOCUMENTS_MAX = 5_000

FUTURE_FIELDS: Mapping[str, frozenset[str]] = {
    "Provider": frozenset({"egress_proxy", "region", "vendor_record"}),
    "Model": frozenset({"prohibited_uses", "licence", "links"}),
    "ModelVersion": frozenset({"capabilities", "vendor_dates", "sunset"}),
    "Route": frozenset({"contract"}),
    "RouteEnvironment": frozenset({"parameters", "retrieval", "tools", "guardrails", "cache", "review", "hedge"}),
    "Environment": frozenset({"freeze_windows", "approver_roles", "allowed_statuses"}),
}
"""Fields the design names whose effect is not built; they are refused as such and not as spelling mistakes."""

_FILE_NAMES = {"class_": "class", "class__": "class_"}


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
    """One checked manifest with the places of its fields."""

    manifest: Manifest
    file: str = ""
    tree: Tree = field(default_factory=lambda: Tree(None))

    @property
    def kind(self) -> Kind:
        return kind_of(self.manifest)

    @property
    def name(self) -> str:
        return self.manifest.name

    def finding(self, path: PlainPath, code: str, message: str) -> Finding:
        """A finding about a field of this document."""
        return _finding(self.file, self.tree, f"{self.kind.value}/{self.name}", path, code, message)


class InvalidManifest(Exception):
    """At least one document cannot be accepted; nothing of the set is."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(f"{len(findings)} mistakes in manifests")
        self.findings = tuple(findings[:FINDINGS_MAX])
        self.left_out = max(0, len(findings) - FINDINGS_MAX)


def read_file(path: Path) -> ManifestFile:
    """A manifest file from disk.

    Raises:
        InvalidManifest: if it cannot be read or is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidManifest([Finding("unreadable", f"cannot read the file: {error}", str(path))]) from error
    return ManifestFile(str(path), text, str(path.parent.resolve()))


def read_manifests(files: Sequence[ManifestFile]) -> tuple[Document, ...]:
    """Every document of the files, checked field by field and for one name standing twice.

    Raises:
        InvalidManifest: with the findings of all documents.
    """
    documents: list[Document] = []
    findings: list[Finding] = []
    for file in files:
        try:
            for tree in read_trees(file.name, file.text):
                _take(tree, file.name, file.directory, documents, findings)
        except UnreadableText as error:
            findings.append(error.finding)
    findings.extend(_twice(documents))
    if len(documents) > DOCUMENTS_MAX:
        findings.append(Finding("too_large", f"more than {DOCUMENTS_MAX} documents in one change"))
    if findings:
        raise InvalidManifest(findings)
    return tuple(documents)


def read_values(values: Iterable[Mapping[str, Any]], source: str) -> tuple[Document, ...]:
    """Documents from plain values in manifest form, e.g. of bundled models; artefact paths must be absolute.

    Raises:
        InvalidManifest: as `read_manifests`.
    """
    documents: list[Document] = []
    findings: list[Finding] = []
    for value in values:
        _take(Tree(value), source, "", documents, findings)
    if findings:
        raise InvalidManifest(findings)
    return tuple(documents)


def _take(tree: Tree, file: str, directory: str, documents: list[Document], findings: list[Finding]) -> None:
    before = len(findings)
    findings.extend(_kind_findings(tree, file))
    if len(findings) > before:
        return
    kind = Kind(tree.value["kind"])
    if kind is Kind.PROVIDER and isinstance(tree.value.get("credential"), list):
        message = "a list of credentials is not yet supported; name one, or one per environment"
        findings.append(
            _finding(
                file, tree, f"Provider/{tree.value.get('name', '?')}", ("credential",), "not_yet_supported", message
            )
        )
        return
    fields = {_field_name(kind, name): value for name, value in tree.value.items() if name != "kind"}
    label = f"{kind.value}/{fields.get('name', '?')}"
    try:
        manifest = _adapter(kind).validate_json(json.dumps(fields))
    except ValidationError as error:
        findings.extend(_field_findings(kind, error, file, tree, label))
        return
    manifest = _with_absolute_artifacts(manifest, directory)
    for path, code, message in check_rules(manifest):
        findings.append(_finding(file, tree, label, path, code, message))
    if len(findings) == before:
        documents.append(Document(manifest, file, tree))


def _kind_findings(tree: Tree, file: str) -> Iterator[Finding]:
    if not isinstance(tree.value, dict):
        yield _finding(file, tree, "document", (), "syntax", "a document is a mapping that begins with `kind:`")
        return
    kind = tree.value.get("kind")
    if kind is None:
        yield _finding(file, tree, "document", (), "missing_field", f"`kind` is missing; one of {_kind_names()}")
    elif kind == Kind.POLICY.value:
        yield _finding(file, tree, "Policy", ("kind",), "not_yet_supported", "kind Policy is not yet supported")
    elif kind not in {item.value for item in KIND_CLASSES}:
        near = _near(str(kind), [item.value for item in KIND_CLASSES])
        message = f"{kind!r} is not a kind; {near or f'one of {_kind_names()}'}"
        yield _finding(file, tree, "document", ("kind",), "unknown_kind", message)


def _kind_names() -> str:
    return ", ".join(kind.value for kind in KIND_CLASSES)


@cache
def _adapter(kind: Kind) -> TypeAdapter[Any]:
    return TypeAdapter(KIND_CLASSES[kind])


def _field_name(kind: Kind, name: str) -> str:
    # `class` is a word of the language; only Environment has it. The escaped form is no field of the file.
    if kind is Kind.ENVIRONMENT:
        return {"class": "class_", "class_": "class__"}.get(name, name)
    return name


def _field_findings(kind: Kind, error: ValidationError, file: str, tree: Tree, label: str) -> Iterator[Finding]:
    told: dict[tuple[PlainPath, str], list[str]] = {}
    for item in error.errors(include_url=False, include_context=True, include_input=False):
        path, missing = _known_path(tree.value, tuple(_FILE_NAMES.get(str(p), p) for p in item["loc"]))
        if item["type"] == "unexpected_keyword_argument":
            code, message = _unknown_field(kind, path)
        elif item["type"] in ("missing", "missing_argument"):
            code, message = "missing_field", f"`{missing}` is missing"
        else:
            code, message = "invalid_value", _plain_words(item["msg"], path)
        told.setdefault((path, code), []).append(message)
    for (path, code), messages in told.items():
        yield _finding(file, tree, label, path, code, " or ".join(dict.fromkeys(messages)))


def _known_path(value: Any, location: tuple[str | int, ...]) -> tuple[PlainPath, str]:
    """The part of a location that stands in the document, and the first name that does not.

    Locations of unions also hold the name of the alternative, which is nowhere in the document.
    """
    path: list[str | int] = []
    for part in location:
        in_mapping = isinstance(value, dict) and part in value
        in_list = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if not (in_mapping or in_list):
            return tuple(path), str(part)
        value = value[part]
        path.append(part)
    return tuple(path), ""


def _unknown_field(kind: Kind, path: PlainPath) -> tuple[str, str]:
    name = str(path[-1])
    noun = _class_at(KIND_CLASSES[kind], path[:-1])
    if noun is not None and name in FUTURE_FIELDS.get(noun.__name__, ()):
        return "not_yet_supported", f"`{name}` is not yet supported"
    known = [_FILE_NAMES.get(item.name, item.name) for item in dataclasses.fields(noun)] if noun is not None else []
    return "unknown_field", f"`{name}` is not a field here; {_near(name, known) or 'fields: ' + ', '.join(known)}"


def _class_at(noun: Any, path: PlainPath) -> Any:
    """The dataclass that holds the fields at `path`, None if there is none."""
    for part in path:
        if dataclasses.is_dataclass(noun):
            noun = typing.get_type_hints(noun).get(str(part))
        else:
            noun = typing.get_args(noun)[0 if isinstance(part, int) else 1]
        if isinstance(noun, types.UnionType):
            noun = next((arm for arm in typing.get_args(noun) if arm is not type(None)), None)
    return noun if isinstance(noun, type) and issubclass(noun, Noun) else None


def _near(name: str, known: Sequence[str]) -> str:
    longer = [item for item in known if item.startswith(name)]
    close = difflib.get_close_matches(name, known, n=1) or longer
    return f"did you mean `{close[0]}`?" if close else ""


_PLAIN_WORDS = (
    ("Input should be", "must be"),
    ("a valid string", "text"),
    ("a valid array", "a list"),
    ("a valid tuple", "a list"),
    ("a valid integer", "an integer"),
    ("a valid dictionary", "a mapping"),
    ("an object", "a mapping"),
    ("a valid ", "a "),
)


def _plain_words(message: str, path: PlainPath) -> str:
    for theirs, ours in _PLAIN_WORDS:
        message = message.replace(theirs, ours)
    if "must be text" in message and path and str(path[-1]).endswith(("_mtok", "per_month", "per_request", "version")):
        return message + '; put it in quotes, e.g. "0.15"'
    return message


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


def _finding(file: str, tree: Tree, label: str, path: PlainPath, code: str, message: str) -> Finding:
    at_key = code in ("unknown_field", "not_yet_supported") and path in tree.keys and not _is_value(path, message)
    position = tree.key_position(path) if at_key else tree.value_position(path)
    where = ".".join([label, *(str(part) for part in path)])
    return Finding(code, message, file, position.line, position.column, where)


def _is_value(path: PlainPath, message: str) -> bool:
    """Whether the message is about the value at `path` and not about the field itself."""
    return not message.startswith(f"`{path[-1]}` ")
