"""The admin API's reading endpoints for everything that manifests describe, and for releases."""

import json
from dataclasses import dataclass
from typing import Any

from lineclear.config.manifest_fields import near_words
from lineclear.config.manifest_rules import RESERVED_PROVIDER
from lineclear.control.compile import operations_of, price_of_version
from lineclear.control.desired import Desired, plain
from lineclear.control.endpoint import API_ROOT, AdminCode, Call, Endpoint, Reach, Refused
from lineclear.control.prices.book import PriceBook
from lineclear.control.publish import read_desired
from lineclear.control.releases import release_id
from lineclear.control.seen import Seen
from lineclear.domain.exchange import Operation
from lineclear.domain.manifest import KIND_CLASSES, Kind, Manifest, Route
from lineclear.domain.money import Price, usd_text
from lineclear.domain.permissions import Permission
from lineclear.store import control_rows as rows
from lineclear.store.database import Database


@dataclass(frozen=True)
class NounFacts:
    """One noun as it stands, with who keeps it."""

    kind: str
    name: str
    managed_by: str
    """bootstrap | file | console | cli"""
    change: str
    manifest: Any  # Any: the noun's fields as files write them


@dataclass(frozen=True)
class NounList:
    items: list[NounFacts]


@dataclass(frozen=True)
class VersionFacts:
    """One model version with what it costs, wherever the price comes from."""

    model: str
    """`name@version`"""
    provider: str
    upstream_id: str
    engine: str | None
    """What serves it here; None for a vendor's."""
    replicas: int
    """Processes behind it; 1 for a vendor's."""
    status: str
    owner: str
    input_per_mtok_usd: str | None
    """None = unpriced."""
    output_per_mtok_usd: str | None
    price_version: str | None
    routes: list[str]
    """`environment/route` of every deployment whose file names it."""
    operations: list[Operation]
    """What it can be asked to do."""


@dataclass(frozen=True)
class VersionList:
    versions: list[VersionFacts]


@dataclass(frozen=True)
class ReleaseFacts:
    """A release and where it stands."""

    id: str
    digest: str
    route: str
    environments: list[str]
    """Where it is the stable one."""
    change: str
    manifest: Any  # Any: the release manifest that the digest is of


@dataclass(frozen=True)
class ReleaseList:
    releases: list[ReleaseFacts]


_PLURALS = {
    Kind.TEAM: "teams",
    Kind.APP: "apps",
    Kind.PROVIDER: "providers",
    Kind.MODEL: "models",
    Kind.PROMPT: "prompts",
    Kind.POLICY: "policies",
    Kind.GUARDRAIL: "guardrails",
    Kind.EVAL: "evals",
    Kind.ROLLOUT: "rollout-plans",
    Kind.ENVIRONMENT: "environments",
}


def endpoints(database: Database, prices: PriceBook) -> tuple[Endpoint, ...]:
    """One list per kind, one noun by name, model versions with prices, releases."""
    made: list[Endpoint] = []
    for kind in KIND_CLASSES:
        permission = Permission.ROUTE_READ if kind is Kind.ROUTE else Permission.CATALOGUE_READ
        plural = _PLURALS.get(kind, "routes")
        made.append(
            Endpoint("GET", f"{API_ROOT}/{plural}", permission, _lister(database, kind), f"Every {kind.value}",
                     answer=NounList, reach=Reach.OBJECT)
        )  # fmt: skip
        if kind is not Kind.ROUTE:
            made.append(
                Endpoint("GET", f"{API_ROOT}/{plural}/{{name}}", permission, _getter(database, kind),
                         f"One {kind.value}", answer=NounFacts, reach=Reach.OBJECT)
            )  # fmt: skip
    made += [
        Endpoint("GET", f"{API_ROOT}/model-versions", Permission.CATALOGUE_READ, _versions(database, prices),
                 "Model versions with status and price", answer=VersionList, reach=Reach.OBJECT),
        Endpoint("GET", f"{API_ROOT}/releases", Permission.ROUTE_READ, _releases(database),
                 "Releases, and where each is the stable one", answer=ReleaseList, reach=Reach.OBJECT),
        Endpoint("GET", f"{API_ROOT}/releases/{{release}}", Permission.ROUTE_READ, _release(database),
                 "One release by id or digest", answer=ReleaseFacts, reach=Reach.OBJECT),
    ]  # fmt: skip
    return tuple(made)


def _lister(database: Database, kind: Kind) -> Any:
    def list_nouns(call: Call) -> NounList:
        return NounList(_nouns(call, database, kind))

    return list_nouns


def _getter(database: Database, kind: Kind) -> Any:
    def get_noun(call: Call) -> NounFacts:
        name = call.path["name"]
        found = {item.name: item for item in _nouns(call, database, kind)}
        if name in found:
            return found[name]
        hint = near_words(name, found) or f"`lineclear {_PLURALS.get(kind, 'routes')} list` shows names"
        raise Refused(AdminCode.NOT_FOUND, f"there is no {kind.value.lower()} {name!r}", hint=hint)

    return get_noun


def _nouns(call: Call, database: Database, kind: Kind) -> list[NounFacts]:
    with database.read() as tx:
        found, desired = rows.read_manifests(tx), read_desired(tx)
    seen = Seen(call, desired)
    return [
        NounFacts(row.kind, row.name, row.owner, row.change_id, _shown(seen, desired.nouns[kind, row.name]))
        for row in found
        if row.kind == kind.value and seen.is_noun(desired.nouns[kind, row.name])
    ]


def _shown(seen: Seen, noun: Manifest) -> dict[str, Any]:
    """The noun as files write it; of a route only the environments that are seen."""
    shown = plain(noun)
    if isinstance(noun, Route):
        environments = seen.environments_of(noun)
        shown["environments"] = {name: item for name, item in shown["environments"].items() if name in environments}
    return shown


def _versions(database: Database, prices: PriceBook) -> Any:
    def list_versions(call: Call) -> VersionList:
        with database.read() as tx:
            desired = read_desired(tx)
        seen = Seen(call, desired)
        used = _deployed_where(desired, seen)
        return VersionList(
            [
                _version_facts(desired, id_, price_of_version(version, desired.providers, prices), used.get(id_, []))
                for id_, (model, version) in sorted(desired.versions.items())
                if seen.is_noun(model)
            ]
        )

    return list_versions


def _version_facts(desired: Desired, id_: str, price: Price | None, routes: list[str]) -> VersionFacts:
    model, version = desired.versions[id_]
    return VersionFacts(
        model=id_,
        provider=version.provider or RESERVED_PROVIDER,
        upstream_id=version.upstream_id or model.name,
        engine=None if version.engine is None else version.engine.value,
        replicas=version.replicas,
        status=version.status.value,
        owner=model.owner,
        input_per_mtok_usd=usd_text(price.input_per_mtok) if price else None,
        output_per_mtok_usd=usd_text(price.output_per_mtok) if price else None,
        price_version=price.version if price else None,
        routes=routes,
        operations=list(operations_of(desired, id_)),
    )


def _deployed_where(desired: Desired, seen: Seen) -> dict[str, list[str]]:
    used: dict[str, list[str]] = {}
    for route in desired.routes.values():
        for environment, deployed in route.environments.items():
            if not seen.is_deployment(environment, route.name):
                continue
            named = [*(item.model for item in deployed.targets), *(item.model for item in deployed.fallback)]
            for id_ in dict.fromkeys(named):
                used.setdefault(id_, []).append(f"{environment}/{route.name}")
    return used


def _releases(database: Database) -> Any:
    def list_releases(call: Call) -> ReleaseList:
        return ReleaseList(_release_facts(call, database))

    return list_releases


def _release(database: Database) -> Any:
    def get_release(call: Call) -> ReleaseFacts:
        wanted = call.path["release"]
        for item in _release_facts(call, database):
            if wanted in (item.id, item.digest):
                return item
        raise Refused(
            AdminCode.NOT_FOUND, f"there is no release {wanted!r}", hint="`lineclear releases list` shows ids"
        )

    return get_release


def _release_facts(call: Call, database: Database) -> list[ReleaseFacts]:
    with database.read() as tx:
        releases, deployments, desired = rows.read_releases(tx), rows.read_deployments(tx), read_desired(tx)
    seen = Seen(call, desired)
    return [
        ReleaseFacts(
            id=release_id(row.digest),
            digest=row.digest,
            route=row.route,
            environments=sorted(
                env
                for (env, route), item in deployments.items()
                if item.stable == row.digest and seen.is_deployment(env, route)
            ),
            change=row.change_id,
            manifest=json.loads(row.manifest),
        )
        for row in sorted(releases.values(), key=lambda row: (row.route, -row.created_us, row.digest))
        if seen.is_route(row.route)
    ]
