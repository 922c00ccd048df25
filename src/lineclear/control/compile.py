"""Compiles control's state into the sections of a snapshot. Pure: the same state gives the same bytes.

In: nouns, deployments, keys, credentials. Out: sections and sealed sections as bytes. Refuses a state that gateways
could not serve; nothing of it is published then.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from lineclear.base.secret import Secret
from lineclear.config.manifest_names import reference_of, secret_name
from lineclear.config.manifest_rules import RESERVED_PROVIDER
from lineclear.control.desired import Desired
from lineclear.control.guardrails import rules_of
from lineclear.control.policy_entries import policy_entries
from lineclear.control.prices.book import PriceBook, manifest_price_version, price_of_row
from lineclear.control.releases import named_versions, release_entry, release_id
from lineclear.control.under_way import Stored
from lineclear.domain.capability import askable_operations, engine_operations
from lineclear.domain.catalogue import HOSTED_REGION, UNKNOWN_REGION, Engine, ModelStatus, instant_s
from lineclear.domain.exchange import Dialect, Operation
from lineclear.domain.manifest import Budget, Limits, Model, ModelVersion, Provider, model_version_id
from lineclear.domain.money import Price, nano_usd
from lineclear.domain.rollout import RolloutState, StepKind, gate_of, gate_run
from lineclear.domain.shadow import ShadowSpec
from lineclear.domain.snapshot import (
    ACCESS_SHARDS,
    AccessShard,
    AccountLimits,
    AppEntry,
    AppsSection,
    BudgetLimit,
    CatalogueSection,
    CredentialEntry,
    CredentialsSection,
    EnvironmentEntry,
    EnvironmentsSection,
    KeyEntry,
    LimitsSection,
    ModelVersionEntry,
    PoliciesSection,
    ProviderEntry,
    ProvidersSection,
    RouteSection,
    RuntimeSpec,
    RuntimesSection,
    Section,
    ShadowEntry,
    StopEntry,
    StopsSection,
    access_section_name,
    access_shard,
    route_section_name,
)
from lineclear.domain.vendors import vendor_expires, vendor_state
from lineclear.store.control_rows import DeploymentRow, KeyRow
from lineclear.store.override_rows import StopRow

RUNTIME_BASE_URL = "runtime:"
RUNTIME_NAME_CHARS_MAX = 40
KEYS_MAX = 100_000
"""Stated ceiling of keys that are not revoked. Source: design decision 47."""
_NOT_RUNNING = frozenset({ModelStatus.RETIRED, ModelStatus.BLOCKED})


class CompileRefused(Exception):
    """The state cannot be served; the message names what is at fault."""


@dataclass(frozen=True)
class State:
    """Everything that a snapshot is compiled from."""

    desired: Desired
    deployments: Mapping[tuple[str, str], DeploymentRow]
    """By (environment, route)."""
    releases: Mapping[str, str]
    """Release manifests by digest; every digest that a deployment names."""
    keys: Sequence[KeyRow]
    pepper: str
    credentials: Mapping[str, Secret]
    """Values of the variables and secrets that providers name, by reference (`config.manifest_names`)."""
    stops: Sequence[StopRow] = ()
    rollouts: Mapping[tuple[str, str], Stored] = field(default_factory=dict)
    """Those under way, by (environment, route); `releases` has their candidates."""


@dataclass(frozen=True)
class Compiled:
    """Sections ready to publish, as canonical bytes by name."""

    sections: Mapping[str, bytes]
    sealed: Mapping[str, bytes]
    prices: Mapping[str, Price | None]
    """By `name@version`, as they stand in the catalogue section; None = unpriced."""


def compile_state(state: State, prices: PriceBook) -> Compiled:
    """All sections of a state.

    Raises:
        CompileRefused: if something that a section names is not there.
    """
    desired = state.desired
    _check_pins(state)
    runtimes = runtime_names(desired)
    catalogue = _catalogue(desired, runtimes, prices)
    sections: dict[str, Section] = {
        "environments": EnvironmentsSection(
            {
                name: EnvironmentEntry(
                    name,
                    item.class_,
                    rules_of(item.guardrails, desired.guardrails),
                    item.allowed_data_classes,
                    drill_every_s=item.drill_every_s,
                )
                for name, item in sorted(desired.environments.items())
            }
        ),
        "apps": AppsSection({name: AppEntry(name, app.team, app.routes) for name, app in sorted(desired.apps.items())}),
        "providers": ProvidersSection(_providers(desired)),
        "catalogue": CatalogueSection(catalogue),
        "limits": LimitsSection(dict(sorted(_limits(desired).items()))),
        "policies": PoliciesSection(policy_entries(desired.policies)),
        "runtimes": RuntimesSection(_runtimes(state, runtimes)),
        "stops": StopsSection(
            {row.scope: StopEntry(row.scope, row.actor, row.reason, row.at_us) for row in state.stops}
        ),
        **_routes(state),
        **_access(state),
    }
    credentials = CredentialsSection(state.pepper, _credentials(state), _egress_proxies(state))
    encoder = msgspec.json.Encoder(order="deterministic")
    return Compiled(
        {name: encoder.encode(section) for name, section in sections.items()},
        {"sealed/credentials": encoder.encode(credentials)},
        {id_: entry.price for id_, entry in catalogue.items()},
    )


def runtime_names(desired: Desired) -> dict[str, str]:
    """The runtime of each hosted model version by `name@version`: file-name-safe, unique, at most 40 characters."""
    hosted = [id_ for id_, (_, version) in desired.versions.items() if version.engine is not None]
    short = {id_: re.sub(r"[^a-z0-9._-]", "-", id_.lower()) for id_ in hosted}
    taken = Counter(short.values())
    return {
        id_: name if taken[name] == 1 and len(name) <= RUNTIME_NAME_CHARS_MAX else _hashed(name, id_)
        for id_, name in short.items()
    }


def _hashed(name: str, id_: str) -> str:
    return f"{name[: RUNTIME_NAME_CHARS_MAX - 9]}-{hashlib.sha256(id_.encode()).hexdigest()[:8]}"


def _check_pins(state: State) -> None:
    known = state.desired.versions
    for (environment, route), deployment in state.deployments.items():
        for digest in (*_candidate(state, (environment, route)), deployment.stable, *deployment.previous):
            missing = named_versions(state.releases[digest]) - known.keys()
            if missing:
                raise CompileRefused(
                    f"release {digest[:16]} of route {route!r} in {environment} names {sorted(missing)!r}, "
                    "which the catalogue no longer holds"
                )


def _providers(desired: Desired) -> dict[str, ProviderEntry]:
    entries = {
        name: ProviderEntry(
            name,
            tuple(Dialect(dialect.value) for dialect in provider.dialects),
            provider.base_url.rstrip("/"),
            provider.private_network,
            (provider.egress_proxy or "").rstrip("/"),
        )
        for name, provider in sorted(desired.providers.items())
    }
    entries[RESERVED_PROVIDER] = ProviderEntry(RESERVED_PROVIDER, tuple(Dialect), RUNTIME_BASE_URL, True)
    return entries


def _catalogue(desired: Desired, runtimes: Mapping[str, str], prices: PriceBook) -> dict[str, ModelVersionEntry]:
    return {
        id_: ModelVersionEntry(
            id=id_,
            model=model.name,
            version=version.version,
            provider=version.provider or RESERVED_PROVIDER,
            upstream_id=version.upstream_id or model.name,
            runtime=runtimes.get(id_),
            replicas=version.replicas,
            status=version.status,
            approved_uses=model.approved_uses,
            data_classes=model.data_classes,
            cost_tier=model.cost_tier,
            risk_tier=model.risk_tier,
            price=price_of_version(version, desired.providers, prices),
            max_output_tokens=version.max_tokens,
            slow=version.slow,
            successor=version.successor,
            operations=_offered(version),
            deprecated_at=_date(version.deprecated_at),
            sunset=_date(version.sunset),
            end_of_life=_date(version.end_of_life),
            prohibited_uses=model.prohibited_uses,
            context=version.context,
            brownouts=_brownouts(version),
            capabilities=version.capabilities,
            **_vendor(desired.providers.get(version.provider or "")),
        )
        for id_, (model, version) in sorted(desired.versions.items())
    }


def _vendor(provider: Provider | None) -> dict[str, Any]:
    """What policies may look at of a version's vendor; None for a hosted one. Any: fields of several types."""
    if provider is None:
        return {"region": HOSTED_REGION}
    return {
        "region": provider.region or UNKNOWN_REGION,
        "vendor": vendor_state(provider),
        "vendor_expires": vendor_expires(provider),
    }


def _brownouts(version: ModelVersion) -> tuple[tuple[int, int], ...]:
    if version.status is not ModelStatus.DEPRECATED:
        return ()
    return tuple((instant_s(window.starts), instant_s(window.ends)) for window in version.brownouts)


def _date(text: str | None) -> int | None:
    return None if text is None else instant_s(text)


def _offered(version: ModelVersion) -> tuple[Operation, ...] | None:
    """What the version says of itself, or its engine of it; None = whatever the provider's dialects spell."""
    if version.engine is not None:
        return engine_operations(Engine(version.engine.value), version.settings)
    return version.operations or None


def operations_of(desired: Desired, id_: str) -> tuple[Operation, ...]:
    """What a model version can be asked to do, by its engine, or by its card and its provider's dialects."""
    _, version = desired.versions[id_]
    named = tuple(Dialect) if version.provider is None else desired.providers[version.provider].dialects
    return askable_operations(_offered(version), tuple(Dialect(dialect.value) for dialect in named))


def price_of_version(version: ModelVersion, providers: Mapping[str, Provider], prices: PriceBook) -> Price | None:
    """The manifest's own price, else the price file's, else None = unpriced."""
    if version.price is not None:
        return price_of_row(version.price, manifest_price_version(version.price))
    provider = providers.get(version.provider or "")
    if provider is None or version.upstream_id is None:
        return None
    return prices.price(provider.name, provider.base_url, version.upstream_id)


def _limits(desired: Desired) -> dict[str, AccountLimits]:
    accounts: dict[str, AccountLimits | None] = {}
    zones = {name: team.time_zone for name, team in desired.teams.items()}
    for team in desired.teams.values():
        accounts[f"team:{team.name}"] = _account(team.limits, team.budget, team.time_zone)
    for app in desired.apps.values():
        accounts[f"app:{app.name}"] = _account(app.limits, app.budget, zones[app.team])
    for route in desired.routes.values():
        for environment, deployed in route.environments.items():
            account = _account(deployed.limits, deployed.budget, zones[route.team])
            accounts[f"route:{environment}/{route.name}"] = account
    return {name: account for name, account in accounts.items() if account is not None}


def _account(limits: Limits, budget: Budget | None, time_zone: str) -> AccountLimits | None:
    if limits == Limits() and budget is None:
        return None
    return AccountLimits(
        limits.requests_per_minute,
        limits.tokens_per_minute,
        limits.concurrency,
        None if budget is None else BudgetLimit(nano_usd(budget.usd_per_month), time_zone),
    )


def _routes(state: State) -> dict[str, RouteSection]:
    sections: dict[str, RouteSection] = {}
    for (environment, name), deployment in sorted(state.deployments.items()):
        route = state.desired.routes[name]
        under_way = state.rollouts.get((environment, name))
        tried = {} if under_way is None else _tried(state, under_way)
        sections[route_section_name(environment, name)] = RouteSection(
            route=name,
            environment=environment,
            team=route.team,
            tasks=route.tasks,
            data_class=route.data_class,
            description=route.description,
            generation=deployment.generation,
            stable=release_entry(deployment.stable, state.releases[deployment.stable]),
            previous=tuple(release_entry(digest, state.releases[digest]) for digest in deployment.previous),
            rolled_back_from=""
            if under_way is not None or deployment.stable == deployment.asked
            else release_id(deployment.asked),
            **tried,
        )
    return sections


def _tried(state: State, under_way: Stored) -> dict[str, Any]:
    """The fields of a route's section that a rollout fills. Any: they are of several types."""
    digest = under_way.row.candidate
    return {
        "candidate": release_entry(digest, state.releases[digest]),
        "weight_bp": under_way.weight_bp,
        "rollout": under_way.row.id,
        "lease_s": float(under_way.course.lease_s),
        "shadow": _shadow(under_way),
    }


def _shadow(under_way: Stored) -> ShadowEntry | None:
    """What is copied while a step of that kind runs; nothing while it is held."""
    step, progress = gate_of(under_way.course, under_way.progress), under_way.progress
    if step is None or step.kind is not StepKind.SHADOW or progress.state is not RolloutState.RUNNING:
        return None
    spec = msgspec.json.decode(step.gate, type=ShadowSpec)
    return ShadowEntry(gate_run(under_way.row.id, progress), spec.share_bp, spec.spend_cap_nano_usd)


def _candidate(state: State, deployment: tuple[str, str]) -> tuple[str, ...]:
    under_way = state.rollouts.get(deployment)
    return () if under_way is None else (under_way.row.candidate,)


def _access(state: State) -> dict[str, AccessShard]:
    shards: list[dict[str, KeyEntry]] = [{} for _ in range(ACCESS_SHARDS)]
    live = [key for key in state.keys if key.revoked_us is None]
    if len(live) > KEYS_MAX:
        raise CompileRefused(f"more than {KEYS_MAX} keys; revoke those that nobody uses")
    for key in live:
        entry = KeyEntry(key.id, key.mac, key.app, key.environment, key.expires_at)
        shards[access_shard(key.id)][key.id] = entry
    return {access_section_name(at): AccessShard(keys) for at, keys in enumerate(shards)}


def _credentials(state: State) -> dict[str, tuple[CredentialEntry, ...]]:
    entries: dict[str, tuple[CredentialEntry, ...]] = {}
    for provider in state.desired.providers.values():
        for environment, reference in credential_references(provider, state.desired.environments).items():
            value = state.credentials.get(reference)
            if value is None and secret_name(reference) is not None:
                # It was taken away by force: the vendor refuses the calls from now on, and `providers list` says why.
                continue
            if value is None:
                raise CompileRefused(f"the variable {reference} of provider {provider.name!r} has no value")
            entry = CredentialEntry(f"{provider.name}/{reference}", value.reveal(), 1)
            entries[f"{provider.name}/{environment}"] = (entry,)
    return entries


def _egress_proxies(state: State) -> dict[str, CredentialEntry]:
    entries: dict[str, CredentialEntry] = {}
    for provider in state.desired.providers.values():
        if provider.egress_proxy_credential is not None:
            reference = _reference(provider.egress_proxy_credential)
            value = state.credentials.get(reference)
            if value is not None:
                entries[provider.name] = CredentialEntry(f"{provider.name}/{reference}", value.reveal(), 1)
            elif secret_name(reference) is None:
                raise CompileRefused(f"the variable {reference} of provider {provider.name!r} has no value")
    return entries


def credential_references(provider: Provider, environments: Mapping[str, object]) -> dict[str, str]:
    """The variable or secret that holds the credential, by environment."""
    if provider.credential is None:
        return {}
    if isinstance(provider.credential, dict):
        return {environment: _reference(text) for environment, text in provider.credential.items()}
    return dict.fromkeys(environments, _reference(provider.credential))


def _reference(text: str) -> str:
    reference = reference_of(text)
    if reference is None:
        raise CompileRefused("a credential is written neither as ${VARIABLE} nor as secret:NAME")
    return reference


def _runtimes(state: State, names: Mapping[str, str]) -> tuple[RuntimeSpec, ...]:
    """What the supervisor runs: hosted versions of stable releases and candidates, unless retired or blocked."""
    wanted: set[str] = set()
    for key, deployment in state.deployments.items():
        for digest in (deployment.stable, *_candidate(state, key)):
            wanted |= named_versions(state.releases[digest])
    versions = state.desired.versions
    return tuple(
        _runtime(model, version, names[model_version_id(model.name, version.version)], version.engine.value)
        for model, version in (versions[id_] for id_ in sorted(wanted))
        if version.engine is not None and version.status not in _NOT_RUNNING
    )


def _runtime(model: Model, version: ModelVersion, name: str, engine: str) -> RuntimeSpec:
    return RuntimeSpec(
        name=name,
        model=model_version_id(model.name, version.version),
        engine=Engine(engine),
        artifact=None if version.artifact is None else str(Path(version.artifact).absolute()),
        sha256=version.sha256,
        settings=version.settings,
        upstream_id=version.upstream_id or model.name,
        replicas=version.replicas,
    )
