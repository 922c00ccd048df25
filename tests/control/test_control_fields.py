"""No field is accepted and ignored: each field of each kind has its effect, is a documented fact, or is refused.

The table says where. It is compared with the nouns, so a new field needs a row; a change of value proves each row.
"""

import ast
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from lineclear.base.secret import Secret
from lineclear.config.manifest import InvalidManifest, read_values
from lineclear.config.manifest_fields import file_name
from lineclear.control.compile import State, compile_state
from lineclear.control.desired import Desired, plain
from lineclear.control.noun_fields import field_changes
from lineclear.control.prices.book import committed_prices
from lineclear.control.releases import build_releases, move
from lineclear.control.under_way import course_of
from lineclear.domain import snapshot
from lineclear.domain.manifest import KIND_CLASSES, Noun
from lineclear.domain.runtimes import ENGINE_SETTINGS, RuntimeSettings
from lineclear.domain.snapshot import Section
from lineclear.testing.every_field import LIMITS, OTHERS, PRICES, every_field

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "lineclear"
PAGE = (ROOT / "docs" / "manifests.md").read_text(encoding="utf-8")


class Where(StrEnum):
    """Where the effect of a field is."""

    APPS = "apps"
    PROVIDERS = "providers"
    CREDENTIALS = "sealed/credentials"
    CATALOGUE = "catalogue"
    ENVIRONMENTS = "environments"
    LIMITS = "limits"
    POLICIES = "policies"
    ROUTES = "routes/"
    RUNTIMES = "runtimes"
    FACT = "fact"
    """For people: shown by API and command line, said so in docs/manifests.md."""
    PROTECTION = "protection"
    """Control holds changes to it; `test_control_requests` shows how."""
    COURSE = "course"
    """What a rollout is held to; `test_domain_rollout` and `test_e2e_rollouts` show how."""
    NOTICES = "notices"
    """Where a team is told what happens; `test_control_notices` shows how."""
    REFUSED = "refused"
    """Other values are `not_yet_supported`."""


@dataclass(frozen=True)
class Effect:
    where: Where
    value: Any
    """Another value than the document has."""
    document: str = ""
    """The document to change; the kind's own if empty."""
    is_name: bool = False
    """The value is changed wherever it is named."""


def limits_of(root: str) -> dict[str, Effect]:
    return {
        **{f"{root}.limits.{name}": Effect(Where.LIMITS, 9) for name in LIMITS},
        f"{root}.budget.usd_per_month": Effect(Where.LIMITS, "9"),
        f"{root}.budget.mode": Effect(Where.REFUSED, "soft"),
    }


def fact(value: Any = "b") -> Effect:
    return Effect(Where.FACT, value)


VERDICTS = {"margin": 0.2, "ratio": 2, "alpha": 0.05}

EFFECTS: Mapping[str, Effect] = {
    "Team.name": Effect(Where.LIMITS, "other", is_name=True),
    "Team.description": fact(),
    "Team.time_zone": Effect(Where.LIMITS, "Asia/Tokyo"),
    **limits_of("Team"),
    "Team.notices.*.name": Effect(Where.NOTICES, "b"),
    "Team.notices.*.webhook": Effect(Where.NOTICES, "https://hooks.example/b", "Team hooked"),
    "Team.notices.*.secret": Effect(Where.NOTICES, "secret:hook-2", "Team hooked"),
    "Team.notices.*.slack": Effect(Where.NOTICES, "secret:hook-2", "Team in Slack"),
    "Team.notices.*.email": Effect(Where.NOTICES, ["b@b.example"]),
    "Team.notices.*.on": Effect(Where.NOTICES, ["block"]),
    "App.name": Effect(Where.APPS, "other", is_name=True),
    "App.team": Effect(Where.APPS, "default"),
    "App.purpose": fact(),
    "App.description": fact(),
    "App.routes": Effect(Where.APPS, ["chat"]),
    **limits_of("App"),
    "Provider.name": Effect(Where.PROVIDERS, "other", is_name=True),
    "Provider.dialects": Effect(Where.PROVIDERS, ["anthropic"]),
    "Provider.base_url": Effect(Where.PROVIDERS, "https://b.example"),
    "Provider.description": fact(),
    "Provider.credential": Effect(Where.CREDENTIALS, "${KEY_B}"),
    "Provider.private_network": Effect(Where.PROVIDERS, value=True),
    "Provider.egress_proxy": Effect(Where.PROVIDERS, "http://other.example:3128"),
    "Provider.egress_proxy_credential": Effect(Where.CREDENTIALS, "${KEY_B}"),
    "Provider.region": Effect(Where.CATALOGUE, "unknown"),
    "Provider.vendor_record.agreements": Effect(Where.CATALOGUE, []),
    "Provider.vendor_record.retention_days": fact(0),
    "Provider.vendor_record.training_use": fact("none"),
    "Provider.vendor_record.evidence.*.name": fact("b"),
    "Provider.vendor_record.evidence.*.expires": Effect(Where.CATALOGUE, "2026-12-31"),
    "Provider.vendor_record.sub_processors": fact(["b"]),
    "Provider.vendor_record.exit_plan": Effect(Where.CATALOGUE, ""),
    "Provider.vendor_record.review_by": Effect(Where.CATALOGUE, "2026-12-31"),
    "Provider.vendor_record.incident_contact": fact("b"),
    "Model.name": Effect(Where.CATALOGUE, "other", is_name=True),
    "Model.owner": fact("default"),
    "Model.purpose": fact(),
    "Model.approved_uses": Effect(Where.CATALOGUE, ["y"]),
    "Model.prohibited_uses": Effect(Where.CATALOGUE, ["w"]),
    "Model.limitations": fact(),
    "Model.licence": fact(),
    "Model.risks": fact(),
    "Model.data_classes": Effect(Where.CATALOGUE, ["internal"]),
    "Model.cost_tier": Effect(Where.CATALOGUE, "high"),
    "Model.risk_tier": Effect(Where.CATALOGUE, "high"),
    "Model.links.*.name": fact(),
    "Model.links.*.url": fact("https://b.example"),
    "Model.versions.*.capabilities": Effect(Where.CATALOGUE, ["vision"]),
    "Model.versions.*.version": Effect(Where.CATALOGUE, "9"),
    "Model.versions.*.provider": Effect(Where.CATALOGUE, "second"),
    "Model.versions.*.upstream_id": Effect(Where.CATALOGUE, "b"),
    "Model.versions.*.engine": Effect(Where.RUNTIMES, "simulated", "Model hosted"),
    "Model.versions.*.artifact": Effect(Where.RUNTIMES, "/b.gguf", "Model hosted"),
    "Model.versions.*.sha256": Effect(Where.RUNTIMES, "b" * 64, "Model hosted"),
    "Model.versions.*.replicas": Effect(Where.RUNTIMES, 2, "Model hosted"),
    "Model.versions.*.settings": Effect(Where.RUNTIMES, {"threads": 2}, "Model hosted"),
    "Model.versions.*.status": Effect(Where.CATALOGUE, "retired"),
    **{f"Model.versions.*.price.{name}": Effect(Where.CATALOGUE, "2") for name in PRICES},
    "Model.versions.*.max_tokens": Effect(Where.CATALOGUE, 2),
    "Model.versions.*.context": Effect(Where.CATALOGUE, 3),
    "Model.versions.*.slow": Effect(Where.CATALOGUE, value=True),
    "Model.versions.*.operations": Effect(Where.CATALOGUE, ["embeddings"]),
    "Model.versions.*.successor": Effect(Where.CATALOGUE, "own@1"),
    "Model.versions.*.deprecated_at": Effect(Where.CATALOGUE, "2026-01-02", "Model leaving"),
    "Model.versions.*.sunset": Effect(Where.CATALOGUE, "2026-06-01T08:00:00Z", "Model leaving"),
    "Model.versions.*.end_of_life": Effect(Where.CATALOGUE, "2026-07-02", "Model leaving"),
    "Model.versions.*.brownouts.*.starts": Effect(Where.CATALOGUE, "2026-05-01T08:30:00Z", "Model leaving"),
    "Model.versions.*.brownouts.*.ends": Effect(Where.CATALOGUE, "2026-05-02", "Model leaving"),
    "Prompt.name": Effect(Where.ROUTES, "other", is_name=True),
    "Prompt.text": Effect(Where.ROUTES, "b"),
    "Prompt.mode": Effect(Where.ROUTES, "replace"),
    "Prompt.description": fact(),
    "Policy.name": Effect(Where.POLICIES, "other", is_name=True),
    "Policy.description": fact(),
    "Policy.rules.*.id": Effect(Where.POLICIES, "other"),
    "Policy.rules.*.then": Effect(Where.POLICIES, "allow", "Policy plain"),
    "Policy.rules.*.route": Effect(Where.POLICIES, "tagged"),
    "Policy.rules.*.description": Effect(Where.POLICIES, "b"),
    "Policy.rules.*.when.team": Effect(Where.POLICIES, ["default"]),
    "Policy.rules.*.when.app": Effect(Where.POLICIES, ["other"]),
    "Policy.rules.*.when.task": Effect(Where.POLICIES, ["y"]),
    "Policy.rules.*.when.environment": Effect(Where.POLICIES, ["live"]),
    "Policy.rules.*.when.data_class": Effect(Where.POLICIES, ["internal"]),
    "Policy.rules.*.when.tag": Effect(Where.POLICIES, ["b"]),
    "Policy.rules.*.when.model": Effect(Where.POLICIES, ["own@1"]),
    "Policy.rules.*.when.cost_tier": Effect(Where.POLICIES, ["high"]),
    "Policy.rules.*.when.risk_tier": Effect(Where.POLICIES, ["high"]),
    "Policy.rules.*.when.provider_region": Effect(Where.POLICIES, ["local"]),
    "Policy.rules.*.when.vendor_record": Effect(Where.POLICIES, ["expired"]),
    "Policy.rules.*.when.time.zone": Effect(Where.POLICIES, "Asia/Tokyo"),
    "Policy.rules.*.when.time.days": Effect(Where.POLICIES, ["tue"]),
    "Policy.rules.*.when.time.hours": Effect(Where.POLICIES, "08:00-24:00"),
    "Guardrail.name": Effect(Where.ROUTES, "other", is_name=True),
    "Guardrail.description": fact(),
    "Guardrail.rules.*.id": Effect(Where.ROUTES, "other"),
    "Guardrail.rules.*.on": Effect(Where.ROUTES, ["input"]),
    "Guardrail.rules.*.action": Effect(Where.ROUTES, "block"),
    "Guardrail.rules.*.whole_words": Effect(Where.ROUTES, value=True, document="Guardrail words"),
    "Guardrail.rules.*.detect": Effect(Where.ROUTES, ["secrets"]),
    "Guardrail.rules.*.deny": Effect(Where.ROUTES, ["c"], "Guardrail words"),
    "Guardrail.rules.*.max_bytes": Effect(Where.ENVIRONMENTS, 10, "Guardrail size"),
    "Guardrail.rules.*.json_schema": Effect(Where.ROUTES, {"type": "object"}, "Guardrail shape"),
    "Environment.name": Effect(Where.ENVIRONMENTS, "other", is_name=True),
    "Environment.class": Effect(Where.ENVIRONMENTS, "live"),
    "Environment.approvals": Effect(Where.PROTECTION, 2),
    "Environment.approver_roles": Effect(Where.PROTECTION, ["operator"]),
    "Environment.approver_teams": Effect(Where.PROTECTION, ["default"]),
    "Environment.freeze.*.from": Effect(Where.PROTECTION, "2026-12-19T00:00:00Z"),
    "Environment.freeze.*.to": Effect(Where.PROTECTION, "2026-12-28T00:00:00Z"),
    "Environment.freeze.*.reason": Effect(Where.PROTECTION, "b"),
    "Environment.allowed_statuses": Effect(Where.PROTECTION, ["approved", "test"]),
    "Environment.allowed_data_classes": Effect(Where.ENVIRONMENTS, ["restricted"]),
    "Environment.description": fact(),
    "Environment.guardrails": Effect(Where.ENVIRONMENTS, ["house"]),
    "Environment.drill_every_s": Effect(Where.ENVIRONMENTS, 3600),
    "Route.name": Effect(Where.ROUTES, "other", is_name=True),
    "Route.team": Effect(Where.ROUTES, "default"),
    "Route.tasks": Effect(Where.ROUTES, ["y"]),
    "Route.data_class": Effect(Where.ROUTES, "internal"),
    "Route.description": fact(),
    "Route.environments.*.targets.*.model": Effect(Where.ROUTES, "small@0"),
    "Route.environments.*.targets.*.weight": Effect(Where.ROUTES, 2),
    "Route.environments.*.strategy": Effect(Where.REFUSED, "latency"),
    "Route.environments.*.fallback.*.model": Effect(Where.ROUTES, "small@0"),
    "Route.environments.*.prompt": Effect(Where.ROUTES, "quiet"),
    "Route.environments.*.max_tokens": Effect(Where.ROUTES, 6),
    **limits_of("Route.environments.*"),
    **{
        f"Route.environments.*.timeouts.{name}": Effect(Where.ROUTES, 2.0)
        for name in ("connect_s", "first_event_s", "between_events_s", "total_s")
    },
    "Route.environments.*.capture": Effect(Where.REFUSED, "full"),
    "Route.environments.*.guardrails": Effect(Where.ROUTES, ["words"]),
    **{
        f"Route.environments.*.parameters.{name}": Effect(Where.ROUTES, value)
        for name, value in {
            **dict.fromkeys(("temperature", "top_p", "frequency_penalty", "presence_penalty"), 0.75),
            "max_tokens": 6,
            "stop": ["b"],
            "seed": 2,
            "reasoning_effort": "high",
        }.items()
    },
    "Route.environments.*.retrieval": Effect(Where.ROUTES, {"index": "letters"}),
    "Route.environments.*.tools.mode": Effect(Where.ROUTES, "replace"),
    "Route.environments.*.tools.definitions.*.name": Effect(Where.ROUTES, "order"),
    "Route.environments.*.tools.definitions.*.description": Effect(Where.ROUTES, "b"),
    "Route.environments.*.tools.definitions.*.parameters": Effect(Where.ROUTES, {}),
    "Route.environments.*.rollout": Effect(Where.COURSE, "quick"),
    "Eval.name": Effect(Where.COURSE, "other", is_name=True),
    "Eval.team": Effect(Where.COURSE, "default"),
    "Eval.dataset": Effect(Where.COURSE, "words"),
    "Eval.app": Effect(Where.COURSE, "other"),
    "Eval.spend_usd": Effect(Where.COURSE, "2"),
    "Eval.description": fact(),
    "Eval.at_least": Effect(Where.COURSE, 0.75),
    "Eval.checks.*.id": Effect(Where.COURSE, "other"),
    "Eval.checks.*.exact.ignore_case": Effect(Where.COURSE, value=False),
    "Eval.checks.*.regex": Effect(Where.COURSE, "b", "Eval pattern"),
    "Eval.checks.*.json_schema": Effect(Where.COURSE, {"type": "object"}, "Eval shape"),
    "Eval.checks.*.numeric.tolerance": Effect(Where.COURSE, 0.25, "Eval number"),
    "Eval.checks.*.numeric.relative": Effect(Where.COURSE, 0.25, "Eval number"),
    "Eval.checks.*.similarity.route": Effect(Where.COURSE, "tagged", "Eval near"),
    "Eval.checks.*.similarity.at_least": Effect(Where.COURSE, 0.25, "Eval near"),
    "Eval.checks.*.judge.route": Effect(Where.COURSE, "tagged", "Eval judged"),
    "Eval.checks.*.judge.question": Effect(Where.COURSE, "b", "Eval judged"),
    "Eval.checks.*.judge.repeats": Effect(Where.COURSE, 3, "Eval judged"),
    "Eval.checks.*.python": Effect(Where.COURSE, "other", "Eval code"),
    **{f"Eval.verdict.{name}": Effect(Where.COURSE, value) for name, value in VERDICTS.items()},
    "Rollout.steps.*.eval": Effect(Where.COURSE, "pattern", "Rollout gated"),
    "Rollout.steps.*.replay.dataset": Effect(Where.COURSE, "words", "Rollout replayed"),
    "Rollout.steps.*.replay.app": Effect(Where.COURSE, "other", "Rollout replayed"),
    "Rollout.steps.*.replay.max_changed": Effect(Where.COURSE, 0.25, "Rollout replayed"),
    "Rollout.steps.*.replay.spend_usd": Effect(Where.COURSE, "2", "Rollout replayed"),
    **{
        f"Rollout.steps.*.replay.verdict.{name}": Effect(Where.COURSE, value, "Rollout replayed")
        for name, value in VERDICTS.items()
    },
    "Rollout.name": Effect(Where.COURSE, "other", is_name=True),
    "Rollout.description": fact(),
    "Rollout.alpha": Effect(Where.COURSE, 0.02),
    "Rollout.hold_at": Effect(Where.COURSE, 80.0),
    "Rollout.lease_s": Effect(Where.COURSE, 60),
    "Rollout.steps.*.weight.percent": Effect(Where.COURSE, 6),
    "Rollout.steps.*.weight.bake_s": Effect(Where.COURSE, 6),
    "Rollout.steps.*.weight.min_requests": Effect(Where.COURSE, 6),
    "Rollout.steps.*.weight.max_wait_s": Effect(Where.COURSE, 6),
    "Rollout.steps.*.approval": Effect(Where.COURSE, value=True),
    "Rollout.steps.*.holdback.percent": Effect(Where.COURSE, 6, "Rollout last"),
    "Rollout.steps.*.holdback.duration_s": Effect(Where.COURSE, 6, "Rollout last"),
    **{
        f"Rollout.guards.{guard}.{name}": Effect(Where.COURSE, 2 if name == "ratio" else 0.2)
        for guard in ("error", "slow", "contract")
        for name in ("ratio", "floor")
    },
    "Rollout.guards.cost.ratio": Effect(Where.COURSE, 2),
    **{
        f"Rollout.steps.*.shadow.{name}": Effect(Where.COURSE, value, "Rollout shadow")
        for name, value in {
            "percent": 6,
            "min_copies": 6,
            "max_wait_s": 6,
            "spend_usd": "6",
            "margin": 0.06,
            "ratio": 3,
            "alpha": 0.2,
        }.items()
    },
    "Rollout.guards.review.ratio": Effect(Where.COURSE, 2),
    "Rollout.guards.review.floor": Effect(Where.COURSE, 0.2),
    "Rollout.guards.review.min_reviews": Effect(Where.COURSE, 6),
}


def leaves(noun: type[Noun], root: str) -> Iterator[str]:
    """The path of every field that is no noun itself; `*` stands for each item."""
    for field in fields(noun):  # type: ignore[arg-type]  # every noun but the base is a dataclass
        kind, path = typing.get_type_hints(noun)[field.name], f"{root}.{file_name(field.name)}"
        if isinstance(kind, types.UnionType):
            kind = next((arm for arm in typing.get_args(kind) if arm is not type(None)), kind)
        items = [arm for arm in typing.get_args(kind) if isinstance(arm, type) and issubclass(arm, Noun)]
        if isinstance(kind, type) and issubclass(kind, Noun):
            yield from leaves(kind, path)
        elif items:
            yield from leaves(items[0], f"{path}.*")
        else:
            yield path


def documents(path: str = "", effect: Effect | None = None) -> list[dict[str, Any]]:
    """Every document, with the field at `path` changed."""
    made = every_field()
    if effect is not None:
        kind, *parts = path.split(".")
        holder: Any = made[effect.document or kind]
        for part in parts[:-1]:
            holder = holder[("stage" if isinstance(holder, dict) else 0) if part == "*" else part]
        before = holder[parts[-1]]
        assert before != effect.value
        holder[parts[-1]] = effect.value
        if effect.is_name:
            made = {name: renamed(item, before, effect.value) for name, item in made.items()}
        if path == "Model.versions.*.version":
            made = {name: renamed(item, "small@1", "small@9") for name, item in made.items()}
        if path == "Rollout.steps.*.approval":
            del holder["weight"]
        if effect.value == "simulated":
            for name in ("artifact", "sha256", "settings"):
                del holder[name]
    return [*made.values(), *OTHERS]


def renamed(value: Any, before: str, after: str) -> Any:
    """The value with a name changed wherever it stands as a name, a key, or before an `@`."""
    if isinstance(value, dict):
        return {renamed(key, before, after): renamed(item, before, after) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, before, after) for item in value]
    if isinstance(value, str):
        return re.sub(rf"^{re.escape(before)}(?=@|$)", after, value)
    return value


def compiled(made: list[dict[str, Any]]) -> Mapping[str, bytes]:
    """What gateways, accountant and supervisor are handed."""
    desired = Desired().merged(document.manifest for document in read_values(made, "documents"))
    releases = build_releases(desired)
    deployments = {key: move(None, key[0], release, "chg", 0) for key, release in releases.items()}
    state = State(
        desired=desired,
        deployments={key: row for key, row in deployments.items() if row is not None},
        releases={release.digest: release.manifest for release in releases.values()},
        keys=(),
        pepper="0" * 64,
        credentials={"KEY_A": Secret("a"), "KEY_B": Secret("b")},
    )
    result = compile_state(state, committed_prices())
    return {**result.sections, **result.sealed}


def courses(made: list[dict[str, Any]]) -> list[object]:
    """What rollouts would be held to, and which routes would have which."""
    desired = Desired().merged(document.manifest for document in read_values(made, "documents"))
    named = [deployed.rollout for route in desired.routes.values() for deployed in route.environments.values()]
    return [*(course_of(item, desired.evals) for item in desired.rollouts.values()), *named]


def test_the_table_has_every_field_and_no_other() -> None:
    known = [path for kind, noun in KIND_CLASSES.items() for path in leaves(noun, kind.value)]
    assert sorted(EFFECTS) == sorted(known)


@pytest.mark.parametrize("path", [path for path, effect in EFFECTS.items() if effect.where is not Where.REFUSED])
def test_a_change_of_the_field_is_seen(path: str) -> None:
    effect = EFFECTS[path]
    before, after = documents(), documents(path, effect)
    was, will_be = compiled(before), compiled(after)
    if effect.where is Where.COURSE:
        assert courses(before) != courses(after)
    elif effect.where not in (Where.FACT, Where.PROTECTION, Where.NOTICES):
        changed = {name for name in was.keys() | will_be.keys() if was.get(name) != will_be.get(name)}
        assert [name for name in changed if name.startswith(effect.where)], changed
    old, new = (
        Desired().merged(item.manifest for item in read_values(made, "documents")).nouns for made in (before, after)
    )
    assert [change for key in old.keys() | new.keys() for change in field_changes(old.get(key), new.get(key))]


@pytest.mark.parametrize("path", [path for path, effect in EFFECTS.items() if effect.where is Where.REFUSED])
def test_a_value_without_an_effect_is_refused(path: str) -> None:
    with pytest.raises(InvalidManifest) as caught:
        read_values(documents(path, EFFECTS[path]), "documents")
    (finding,) = caught.value.findings
    assert finding.code == "not_yet_supported"
    assert finding.path.endswith(path.rpartition("*.")[2].partition(".")[2] or path.rpartition(".")[2])


@pytest.mark.parametrize("path", [path for path, effect in EFFECTS.items() if effect.where is Where.FACT])
def test_a_fact_is_shown_and_documented_as_one(path: str) -> None:
    kind, *parts = path.split(".")
    made = documents(path, EFFECTS[path])
    shown: Any = plain(next(item.manifest for item in read_values(made, "documents") if item.kind == kind))
    for part in parts:
        shown = shown[0 if part == "*" else part]
    assert shown == EFFECTS[path].value
    field, section = parts[-1], {1: kind, 2: "VendorRecord", 3: "CardLink", 4: "Evidence"}[len(parts)]
    table = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    (row,) = re.findall(rf"^\| \**`{field}`\** \| (.*) \|$", table, re.MULTILINE)
    assert "for people" in row


def read_attributes(*rooms: str) -> set[str]:
    """Every attribute that code of these rooms reads."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for room in rooms for path in (PACKAGE / room).rglob("*.py"))
    return {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_what_is_handed_over_is_read_there() -> None:
    read = read_attributes("gateway", "accountant", "serving", "compose", "providers", "domain", "handover")
    facts = {path.partition(".")[2] for path, effect in EFFECTS.items() if effect.where is Where.FACT}
    # No field of a manifest: it counts moves of a deployment, and an override names the count that it was decided on.
    facts.add("generation")
    unread = {
        f"{name}.{field}"
        for name, section in vars(snapshot).items()
        if isinstance(section, type) and issubclass(section, Section)
        for field in section.__struct_fields__
        if field not in read | facts
    }
    assert unread == set()


def test_every_setting_of_an_engine_is_read_by_its_runtime() -> None:
    read = read_attributes("serving", "compose")
    assert set(RuntimeSettings.__struct_fields__) <= read
    assert {name for settings in ENGINE_SETTINGS.values() for name in settings} <= set(
        RuntimeSettings.__struct_fields__
    )


def test_the_strategies_that_are_built_differ() -> None:
    before, after = documents(), documents()
    deployed = next(item for item in after if item["kind"] == "Route")["environments"]["stage"]
    deployed["strategy"] = "priority"
    del deployed["targets"][0]["weight"]
    assert compiled(before)["routes/stage/chat"] != compiled(after)["routes/stage/chat"]
