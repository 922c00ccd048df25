"""Whether everything that is named exists, and whether what must not change has not.

In: the state before, the state wanted, the documents that make the difference. Out: findings at their places; what
breaks in a noun that no document holds is told by its path. Pure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lineclear.config.manifest import Document
from lineclear.config.manifest_names import Known, Mention, Named, known_names, mentions_of, unknown_words
from lineclear.config.manifest_rules import BUILT_IN_ENVIRONMENTS
from lineclear.config.yaml_tree import PlainPath
from lineclear.control.desired import Desired
from lineclear.domain.catalogue import Engine
from lineclear.domain.findings import Finding
from lineclear.domain.manifest import Environment, Kind, Manifest, Model, ModelVersion, kind_of
from lineclear.domain.runtimes import RUNTIME_PROCESSES_MAX, identity_settings


@dataclass(frozen=True)
class Broken:
    """One mistake in the state as a whole."""

    path: PlainPath
    message: str
    code: str = "unknown_reference"
    is_key: bool = False


def check_references(
    before: Desired, wanted: Desired, documents: Sequence[Document], held: Sequence[Document]
) -> Iterator[Finding]:
    """Every dangling name and every forbidden change.

    Args:
        before: the state now.
        wanted: the state with the documents taken in.
        documents: what is to be applied.
        held: documents that are left aside, since their nouns are managed elsewhere.
    """
    known = known_names(wanted.nouns.values())
    written: set[tuple[Kind, str]] = set()
    for document in (*documents, *held):
        written.add((document.kind, document.name))
        for broken in (*_dangling(document.manifest, known, held), *_immutable(before, document.manifest)):
            if not document.is_muted(broken.path):
                yield document.finding(broken.path, broken.code, broken.message, at_key=broken.is_key)
    for key, noun in wanted.nouns.items():
        if key not in written:
            for broken in _dangling(noun, known, held):
                path = ".".join([f"{key[0].value}/{key[1]}", *map(str, broken.path)])
                yield Finding(broken.code, f"{broken.message} (in {path}, which is not in these files)", path=path)
    yield from _too_many_runtimes(wanted, documents)


def _dangling(noun: Manifest, known: Known, held: Sequence[Document]) -> Iterator[Broken]:
    for mention in mentions_of(noun):
        words = unknown_words(mention, known)
        if words is not None:
            yield Broken(mention.path, words + _held_words(mention, held), is_key=mention.is_key)


def _held_words(mention: Mention, held: Sequence[Document]) -> str:
    """Why a name that a file does define is unknown all the same."""
    if mention.what is Named.MODEL_VERSION:
        for document in held:
            if document.kind is Kind.MODEL and document.name == mention.name.partition("@")[0]:
                return f"; Model/{document.name} is managed elsewhere and its file is left aside: `lineclear drift`"
    return ""


def _too_many_runtimes(wanted: Desired, documents: Sequence[Document]) -> Iterator[Finding]:
    found = [
        (model.name, version.replicas) for model, version in wanted.versions.values() if version.engine is not None
    ]
    if sum(replicas for _, replicas in found) <= RUNTIME_PROCESSES_MAX:
        return
    hosted = [name for name, _ in found]
    message = f"more than {RUNTIME_PROCESSES_MAX} processes of hosted model versions, replicas counted"
    for document in documents:
        if document.kind is Kind.MODEL and document.name in hosted:
            yield document.finding(("versions",), "too_large", message)
            return
    yield Finding("too_large", message, path=f"Model/{hosted[-1]}.versions")


def _immutable(before: Desired, noun: Manifest) -> Iterator[Broken]:
    was = before.get(kind_of(noun), noun.name)
    if isinstance(was, Model) and isinstance(noun, Model):
        yield from _changed_versions(was, noun)
    if (
        isinstance(was, Environment)
        and isinstance(noun, Environment)
        and was.class_ is not noun.class_
        and noun.name not in BUILT_IN_ENVIRONMENTS
    ):
        message = f"the class of {noun.name!r} is {was.class_.value}; keys and statuses rest on it"
        yield Broken(("class",), message, "immutable")


def _changed_versions(known: Model, model: Model) -> Iterator[Broken]:
    earlier = {version.version: version for version in known.versions}
    for at, version in enumerate(model.versions):
        was = earlier.get(version.version)
        if was is None:
            continue
        for field in ("provider", "upstream_id", "engine", "sha256"):
            if _fact(was, field) != _fact(version, field):
                message = (
                    f"{model.name}@{version.version} is immutable: its {field} is {_fact(was, field)!r};"
                    " give the new one a version of its own"
                )
                yield Broken(("versions", at, field), message, "immutable")
        yield from _changed_settings(f"{model.name}@{version.version}", at, was, version)


def _changed_settings(name: str, at: int, was: ModelVersion, version: ModelVersion) -> Iterator[Broken]:
    if was.engine is None or was.engine is not version.engine:
        return
    engine = Engine(was.engine.value)
    now = identity_settings(engine, version.settings)
    for setting, value in identity_settings(engine, was.settings).items():
        if value != now[setting]:
            message = (
                f"{name} is immutable: its setting {setting} is {value!r} and decides what the model computes;"
                " give the new one a version of its own"
            )
            path: PlainPath = ("versions", at, "settings", *([setting] if setting in version.settings else []))
            yield Broken(path, message, "immutable")


def _fact(version: ModelVersion, field: str) -> str | None:
    value = getattr(version, field)
    return None if value is None else str(value)
