"""What the platform should be: every noun of control by kind and name, and how written documents change it.

In: rows of the store, checked documents. Out: a new `Desired`. Pure. Nothing is ever deleted here: model
versions and route environments that a file leaves out are kept and reported.
"""

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from lineclear.base.canonical import JSONValue, digest_hex
from lineclear.domain.access_rules import ANYBODY, Approvers
from lineclear.domain.manifest import (
    KIND_CLASSES,
    App,
    Environment,
    Eval,
    Guardrail,
    Kind,
    Manifest,
    Model,
    ModelVersion,
    Policy,
    Prompt,
    Provider,
    Rollout,
    Route,
    Team,
    kind_of,
    model_version_id,
)

N = TypeVar("N", Team, App, Provider, Model, Prompt, Policy, Guardrail, Eval, Rollout, Environment, Route)


@dataclass(frozen=True)
class Desired:
    """Every noun by (kind, name)."""

    nouns: Mapping[tuple[Kind, str], Manifest] = field(default_factory=dict)

    @property
    def teams(self) -> dict[str, Team]:
        return self._of(Team)

    @property
    def apps(self) -> dict[str, App]:
        return self._of(App)

    @property
    def providers(self) -> dict[str, Provider]:
        return self._of(Provider)

    @property
    def models(self) -> dict[str, Model]:
        return self._of(Model)

    @property
    def prompts(self) -> dict[str, Prompt]:
        return self._of(Prompt)

    @property
    def policies(self) -> dict[str, Policy]:
        return self._of(Policy)

    @property
    def guardrails(self) -> dict[str, Guardrail]:
        return self._of(Guardrail)

    @property
    def evals(self) -> dict[str, Eval]:
        return self._of(Eval)

    @property
    def rollouts(self) -> dict[str, Rollout]:
        return self._of(Rollout)

    @property
    def environments(self) -> dict[str, Environment]:
        return self._of(Environment)

    @property
    def routes(self) -> dict[str, Route]:
        return self._of(Route)

    @property
    def versions(self) -> dict[str, tuple[Model, ModelVersion]]:
        """Model versions by `name@version`, with their card."""
        return {
            model_version_id(model.name, version.version): (model, version)
            for model in self.models.values()
            for version in model.versions
        }

    def _of(self, kind: type[N]) -> dict[str, N]:
        return {noun.name: noun for noun in self.nouns.values() if isinstance(noun, kind)}

    def get(self, kind: Kind, name: str) -> Manifest | None:
        return self.nouns.get((kind, name))

    def approvers(self, environment: str) -> Approvers:
        """Whom an environment wants to approve what changes there, of all who may."""
        found = self.environments.get(environment)
        return ANYBODY if found is None else Approvers(found.approver_roles, found.approver_teams)

    def merged(self, documents: Iterable[Manifest]) -> "Desired":
        """This state with documents taken in, each noun replaced by its document."""
        nouns = dict(self.nouns)
        for document in documents:
            key = (kind_of(document), document.name)
            nouns[key] = with_kept_parts(nouns.get(key), document)
        return Desired(nouns)


def with_kept_parts(before: Manifest | None, after: Manifest) -> Manifest:
    """`after` with the parts of `before` that a file cannot delete: model versions, route environments."""
    if isinstance(before, Model) and isinstance(after, Model):
        named = {version.version for version in after.versions}
        kept = tuple(version for version in before.versions if version.version not in named)
        return dataclasses.replace(after, versions=(*after.versions, *kept))
    if isinstance(before, Route) and isinstance(after, Route):
        return dataclasses.replace(after, environments={**before.environments, **after.environments})
    return after


def kept_parts(before: Manifest | None, written: Manifest) -> list[str]:
    """Names of what `with_kept_parts` keeps although the file does not have it."""
    if isinstance(before, Model) and isinstance(written, Model):
        named = {version.version for version in written.versions}
        return [f"version {version.version}" for version in before.versions if version.version not in named]
    if isinstance(before, Route) and isinstance(written, Route):
        return [f"environment {name}" for name in before.environments if name not in written.environments]
    return []


def without_other_parts(noun: Manifest, pinned: Collection[str]) -> Manifest | None:
    """A model with only those of its versions that are pinned (`name@version`); None if there are none."""
    if not isinstance(noun, Model):
        return None
    kept = tuple(item for item in noun.versions if model_version_id(noun.name, item.version) in pinned)
    return dataclasses.replace(noun, versions=kept) if kept else None


def plain(noun: Manifest) -> dict[str, Any]:
    """The noun as JSON values with the field names of files, `kind` first."""
    fields: dict[str, Any] = msgspec.json.decode(encode(noun))
    if isinstance(noun, Environment):
        fields["freeze"] = [_file_names(window) for window in fields["freeze"]]
    return {"kind": kind_of(noun).value, **_file_names(fields)}


def _file_names(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removesuffix("_"): value for name, value in fields.items()}


def noun_digest(noun: Manifest) -> str:
    """SHA-256 of the noun's canonical JSON."""
    return digest_hex(_exact(plain(noun)))


def encode(noun: Manifest) -> str:
    """How the store keeps a noun: every field, also those that its document of an earlier version did not have.

    msgspec leaves defaults that a document does not have out of the instance, and so out of what it encodes; without
    them a noun from before a field came would differ from the same one read from a file today.
    """
    return msgspec.json.encode(dataclasses.asdict(noun)).decode()


def decode(kind: str, document: str) -> Manifest:
    """A noun as the store kept it.

    Raises:
        msgspec.ValidationError: if it was written by a program with other fields.
    """
    return msgspec.json.decode(document, type=KIND_CLASSES[Kind(kind)])


def _exact(value: Any) -> JSONValue:
    # Canonical JSON has no floats; the shortest text of a float is exact.
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return {name: _exact(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_exact(item) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    raise TypeError(f"{type(value).__name__} does not stand in a noun")
