"""The names of other nouns that a manifest mentions, with the place of each.

In: one noun. Out: `Mention`s. Pure; whether the named thing exists is for whoever knows files and state.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from lineclear.config.manifest_fields import near_words
from lineclear.config.manifest_rules import SECRET_REFERENCE, SECRET_SCHEME, VARIABLE
from lineclear.config.rollout_rules import IMMEDIATE
from lineclear.config.yaml_tree import PlainPath
from lineclear.domain.catalogue import HOSTED_REGION, UNKNOWN_REGION
from lineclear.domain.manifest import (
    App,
    Environment,
    Eval,
    Guardrail,
    Kind,
    Manifest,
    Model,
    Policy,
    Prompt,
    Provider,
    Rollout,
    Route,
    Team,
    kind_of,
    model_version_id,
)


class Named(StrEnum):
    """What a name may stand for; the values are the words of messages."""

    TEAM = "team"
    APP = "app"
    TASK = "task"
    MODEL = "model"
    PROVIDER = "provider"
    MODEL_VERSION = "model version"
    PROMPT = "prompt"
    GUARDRAIL = "guardrail"
    EVAL = "eval"
    ROLLOUT = "rollout"
    ENVIRONMENT = "environment"
    ROUTE = "route"
    REGION = "region of a provider"


@dataclass(frozen=True)
class Mention:
    """One name in one place."""

    path: PlainPath
    what: Named
    name: str

    @property
    def is_key(self) -> bool:
        """Whether the name is the key of a mapping and not a value."""
        return self.what is Named.ENVIRONMENT and "when" not in self.path


Known: TypeAlias = Mapping[Named, Collection[str]]
"""Every name there is."""

_NAMED_KINDS = {
    Kind.TEAM: Named.TEAM,
    Kind.APP: Named.APP,
    Kind.MODEL: Named.MODEL,
    Kind.PROVIDER: Named.PROVIDER,
    Kind.PROMPT: Named.PROMPT,
    Kind.GUARDRAIL: Named.GUARDRAIL,
    Kind.EVAL: Named.EVAL,
    Kind.ROLLOUT: Named.ROLLOUT,
    Kind.ENVIRONMENT: Named.ENVIRONMENT,
    Kind.ROUTE: Named.ROUTE,
}


def mentions_of(manifest: Manifest) -> Iterator[Mention]:  # noqa: C901 - one case for each kind
    """Every name of another noun, in the order of the fields."""
    match manifest:
        case App():
            yield from _mentions_of_app(manifest)
        case Provider():
            if isinstance(manifest.credential, dict):
                for name in manifest.credential:
                    yield Mention(("credential", name), Named.ENVIRONMENT, name)
        case Model():
            yield from _mentions_of_model(manifest)
        case Route():
            yield from _mentions_of_route(manifest)
        case Policy():
            yield from _mentions_of_policy(manifest)
        case Environment():
            for at, team in enumerate(manifest.approver_teams):
                yield Mention(("approver_teams", at), Named.TEAM, team)
            yield from _guardrails(manifest.guardrails, ())
        case Eval():
            yield from _mentions_of_eval(manifest)
        case Rollout():
            yield from _mentions_of_rollout(manifest)
        case Team() | Prompt() | Guardrail():
            return


def _mentions_of_app(app: App) -> Iterator[Mention]:
    yield Mention(("team",), Named.TEAM, app.team)
    for at, route in enumerate(app.routes):
        if route != "*":
            yield Mention(("routes", at), Named.ROUTE, route)


def _guardrails(names: Iterable[str], root: PlainPath) -> Iterator[Mention]:
    for at, name in enumerate(names):
        yield Mention((*root, "guardrails", at), Named.GUARDRAIL, name)


def _mentions_of_eval(one: Eval) -> Iterator[Mention]:
    yield Mention(("team",), Named.TEAM, one.team)
    yield Mention(("app",), Named.APP, one.app)
    for at, check in enumerate(one.checks):
        for field in ("similarity", "judge"):
            asked = getattr(check, field)
            if asked is not None:
                yield Mention(("checks", at, field, "route"), Named.ROUTE, asked.route)


def _mentions_of_rollout(rollout: Rollout) -> Iterator[Mention]:
    for at, step in enumerate(rollout.steps):
        if step.eval is not None:
            yield Mention(("steps", at, "eval"), Named.EVAL, step.eval)
        if step.replay is not None:
            yield Mention(("steps", at, "replay", "app"), Named.APP, step.replay.app)


def _mentions_of_policy(policy: Policy) -> Iterator[Mention]:
    for at, rule in enumerate(policy.rules):
        root: PlainPath = ("rules", at, "when")
        for field, what in (
            ("team", Named.TEAM),
            ("app", Named.APP),
            ("task", Named.TASK),
            ("environment", Named.ENVIRONMENT),
            ("provider_region", Named.REGION),
        ):
            for place, name in enumerate(getattr(rule.when, field)):
                yield Mention((*root, field, place), what, name)
        for place, name in enumerate(rule.when.model):
            yield Mention((*root, "model", place), Named.MODEL_VERSION if "@" in name else Named.MODEL, name)
        if rule.route is not None:
            yield Mention(("rules", at, "route"), Named.ROUTE, rule.route)


def _mentions_of_model(model: Model) -> Iterator[Mention]:
    yield Mention(("owner",), Named.TEAM, model.owner)
    for at, version in enumerate(model.versions):
        if version.provider is not None:
            yield Mention(("versions", at, "provider"), Named.PROVIDER, version.provider)
        if version.successor is not None:
            yield Mention(("versions", at, "successor"), Named.MODEL_VERSION, version.successor)


def _mentions_of_route(route: Route) -> Iterator[Mention]:
    yield Mention(("team",), Named.TEAM, route.team)
    for name, deployed in route.environments.items():
        root: PlainPath = ("environments", name)
        yield Mention(root, Named.ENVIRONMENT, name)
        for field, models in (
            ("targets", [target.model for target in deployed.targets]),
            ("fallback", [entry.model for entry in deployed.fallback]),
        ):
            for at, model in enumerate(models):
                yield Mention((*root, field, at, "model"), Named.MODEL_VERSION, model)
        if deployed.prompt is not None:
            yield Mention((*root, "prompt"), Named.PROMPT, deployed.prompt)
        yield from _guardrails(deployed.guardrails, root)
        if deployed.rollout != IMMEDIATE:
            yield Mention((*root, "rollout"), Named.ROLLOUT, deployed.rollout)


def known_names(manifests: Iterable[Manifest]) -> Known:
    """What can be named, if these nouns are all there is."""
    known: dict[Named, set[str]] = {what: set() for what in Named}
    known[Named.REGION] |= {UNKNOWN_REGION, HOSTED_REGION}
    for manifest in manifests:
        what = _NAMED_KINDS.get(kind_of(manifest))
        if what is not None:
            known[what].add(manifest.name)
        if isinstance(manifest, Provider) and manifest.region:
            known[Named.REGION].add(manifest.region)
        if isinstance(manifest, Route):
            known[Named.TASK] |= set(manifest.tasks)
        if isinstance(manifest, Model):
            known[Named.TASK] |= set(manifest.approved_uses)
            known[Named.MODEL_VERSION] |= {model_version_id(manifest.name, item.version) for item in manifest.versions}
    return known


def unknown_words(mention: Mention, known: Known) -> str | None:
    """What is wrong with a mention, with the name that may be meant; None if it is known."""
    names = known[mention.what]
    if mention.name in names:
        return None
    also = near_words(mention.name, names)
    if not also and mention.what is Named.MODEL_VERSION:
        model = mention.name.partition("@")[0]
        versions = sorted(name.partition("@")[2] for name in names if name.partition("@")[0] == model)
        also = f"{model!r} has the versions {', '.join(versions)}" if versions else ""
    return f"there is no {mention.what.value} {mention.name!r}" + (f"; {also}" if also else "")


def secret_name(reference: str) -> str | None:
    """The secret that a reference names; None for a variable."""
    return reference.removeprefix(SECRET_SCHEME) if reference.startswith(SECRET_SCHEME) else None


def reference_of(text: str) -> str | None:
    """What a credential written as `${VARIABLE}` or `secret:NAME` refers to: `VARIABLE`, or `secret:NAME` as it is.

    No variable's name has a colon, so the two cannot be mistaken for each other. None for any other text.
    """
    match = VARIABLE.fullmatch(text)
    if match is not None:
        return match.group(1)
    return text if SECRET_REFERENCE.fullmatch(text) else None


def variables_of(provider: Provider) -> dict[str, PlainPath]:
    """The variables that a provider's credentials name, each with the first place that names it."""
    return {name: path for name, path in credentials_of(provider).items() if secret_name(name) is None}


def credentials_of(provider: Provider) -> dict[str, PlainPath]:
    """The references of a provider's credentials, its proxy's included each with the first place that names it.

    Written as `reference_of` says.
    """
    credential = provider.credential
    references: dict[PlainPath, str] = {("credential",): credential} if isinstance(credential, str) else {}
    if isinstance(credential, dict):
        references = {("credential", name): text for name, text in credential.items()}
    if provider.egress_proxy_credential is not None:
        references["egress_proxy_credential",] = provider.egress_proxy_credential
    found: dict[str, PlainPath] = {}
    for path, text in references.items():
        reference = reference_of(text)
        if reference is not None:
            found.setdefault(reference, path)
    return found
