"""The snapshot as the walk reads it: sections compiled into lookups once per revision, never per request.

In: section bytes. Out: Snapshot, immutable. What a request needs (head bytes, exclusions, accounts,
response fields) is prepared here. Must not: read files, clocks or the network.
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec

from lineclear.base.secret import Secret
from lineclear.domain.admission import Exclusion, judge_target, refusal_of, refused_there, release_models
from lineclear.domain.catalogue import DATA_CLASS_ORDER, DataClass, EnvironmentClass, data_class_rank
from lineclear.domain.errors import ErrorCode
from lineclear.domain.evidence import WEIGHT_BP_MAX
from lineclear.domain.exchange import OPERATION_DIALECT, Dialect, Operation
from lineclear.domain.guardrails import GuardrailRule
from lineclear.domain.ledger import CandidateRecord
from lineclear.domain.money import Price, dearest_input_per_mtok, dearest_output_per_mtok
from lineclear.domain.overlay import Ground, overlay
from lineclear.domain.overrides import STOP_ALL, Drill, OverrideEntry
from lineclear.domain.parameters import UNAFFECTED, Parameter, ParameterValue, request_fields
from lineclear.domain.policy import Asked, Caller, exclusion_by, fits_caller, is_within, left_of
from lineclear.domain.policy_rules import PolicyEntry, PolicyRule
from lineclear.domain.runtimes import socket_name
from lineclear.domain.snapshot import (
    ACCESS_SHARDS,
    AccessShard,
    AccountLimits,
    AppEntry,
    AppsSection,
    CatalogueSection,
    CredentialEntry,
    CredentialsSection,
    EnvironmentEntry,
    EnvironmentsSection,
    KeyEntry,
    LimitsSection,
    ModelVersionEntry,
    PoliciesSection,
    PromptEntry,
    ProviderEntry,
    ProvidersSection,
    ReleaseEntry,
    RouteSection,
    Section,
    SnapshotManifest,
    StopEntry,
    StopsSection,
    Timeouts,
    access_section_name,
)
from lineclear.domain.tools import WITH_TOOLS, ToolsEntry, ToolsMode, tools_field
from lineclear.gateway.deprecation import deprecation_fields
from lineclear.gateway.guardrails import Guardrails, compile_guardrails
from lineclear.gateway.live import Live, TargetHealth
from lineclear.gateway.replicas import Replicas
from lineclear.gateway.shadow import ShadowView
from lineclear.gateway.split import Split, split_of
from lineclear.net.upstream import Origin
from lineclear.providers.address import Address, address, provider_origin
from lineclear.wire.splice import encoded

SectionT = TypeVar("SectionT", bound=Section)


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """One model version as it is reached from one environment."""

    model: str
    """`name@version`."""
    provider: str
    upstream_id: str
    is_hosted: bool
    addresses: dict[Operation, tuple[Address, ...]]
    """By operation; one address per credential, heaviest first."""
    price: Price | None
    price_version: str
    max_output_tokens: int | None
    slow: bool
    fields: str
    """Response header lines that name the model and its provider, and say until when it is there."""
    health: TargetHealth
    """What this worker has seen of it; outlives the snapshot."""
    brownouts: tuple[tuple[int, int], ...]
    """Begin and end in unix seconds of the times in which it is not served; empty for nearly every one."""
    successor: str | None
    replicas: Replicas | None
    """Set if there are several processes; `addresses` then has one for each, in their order."""


class Order(msgspec.Struct, frozen=True, gc=False):
    """Allowed candidates in the order in which they are tried if all are healthy."""

    candidates: tuple[Candidate, ...]
    considered: tuple[CandidateRecord, ...]
    """The same with scores, and the excluded ones with their reasons, for `explain`."""
    dearest: Price
    """The highest rate of each bucket among the candidates: an upper bound for the reservation."""
    output_cap: int | None
    """The smallest output limit among the candidates' cards."""


class Admission(msgspec.Struct, frozen=True, gc=False):
    """Which targets of a release may serve a call of one operation, task and data class."""

    weights: tuple[int, ...]
    """Share of each order; a single 1 where nothing is split."""
    total_weight: int
    orders: tuple[Order, ...]
    """One per allowed target that the split may choose first; the others follow as backups, then fallbacks."""
    excluded: tuple[CandidateRecord, ...]
    refusal: Exclusion | None
    """Set if no candidate is left; then `orders` is empty."""
    defaults: tuple[tuple[str, msgspec.Raw], ...] = ()
    """Request fields that the release's parameters set where the caller does not, with their JSON text."""
    output_default: int | None = None
    """The output cap among them."""
    tools: msgspec.Raw | None = None
    """The request field `tools` of the release; None = it has none for requests."""
    tools_replace: bool = False
    """Whether the caller's own give way to them."""
    tools_bytes: int = 0
    rules: tuple[str, ...] = ()
    """Ids of the policy rules that decided about a model."""
    varying: "Varying | None" = None
    """Set if policies look at the caller too: then it says which admission is the call's, and this is none's."""


VARIANTS_MAX = 256
"""Admissions of one kind of call that are kept ready; when there are more, they are made anew."""


class Varying(msgspec.Struct, frozen=True):
    """Admissions that differ by which of the caller's rules hold; each is made when it is first needed."""

    rules: tuple[PolicyRule, ...]
    make: Callable[[frozenset[PolicyRule]], Admission]
    """From those that hold."""
    made: dict[tuple[bool, ...], Admission]

    def admission(self, caller: Caller) -> Admission:
        """What is so for this caller now."""
        holds = tuple([fits_caller(rule, caller) for rule in self.rules])
        found = self.made.get(holds)
        if found is None:
            if len(self.made) >= VARIANTS_MAX:
                self.made.clear()
            found = self.make(frozenset(rule for rule, held in zip(self.rules, holds, strict=True) if held))
            self.made[holds] = found
        return found


class Accounts(msgspec.Struct, frozen=True, gc=False):
    """Accounts with limits, and which kinds need more than counting the request."""

    ids: tuple[str, ...] = ()
    has_budget: bool = False
    has_tokens: bool = False


class AppView(msgspec.Struct, frozen=True, gc=False):
    """One app, ready for the walk."""

    name: str
    team: str
    all_routes: bool
    granted: tuple[str, ...]
    accounts: Accounts
    """The team's and the app's own accounts, as far as they have limits."""
    stop: StopEntry | None
    """Set if AI is stopped for it or for everybody."""


class RouteView(msgspec.Struct, frozen=True, gc=False):
    """One route in one environment, ready for the walk."""

    name: str
    environment: str
    team: str
    tasks: tuple[str, ...]
    data_class: DataClass
    description: str
    release: str
    split_hash: blake2b
    """The split's hash before any unit, to be copied: 8 bytes, keyed by the release digest's first 16."""
    strategy: str
    models: tuple[str, ...]
    """Every model version that its release names."""
    digest: str
    """Of the release."""
    prompt: PromptEntry | None
    parameters: dict[str, ParameterValue]
    retrieval: dict[str, Any]
    tools: ToolsEntry | None
    timeouts: Timeouts
    max_tokens: int | None
    admissions: dict[tuple[Operation, str, DataClass], Admission]
    operations: tuple[Operation, ...]
    """What it can be asked to do in at least one task and data class."""
    accounts: Accounts
    """The route's own account, if it has a limit."""
    fields: str
    """Response header lines: route, release, revision, environment."""
    guardrails: Guardrails | None
    """Rules of its environment and its release; None where there are none."""
    stop: StopEntry | None
    """Set if AI is stopped on it."""
    split: Split | None = None
    """How calls are dealt to this release and to `candidate`; None without a rollout under way."""
    candidate: "RouteView | None" = None
    """The same route with the release that a rollout tries; without `split` only control calls it."""
    shadow: ShadowView | None = None
    """Set while copies of its calls are asked of `candidate`."""


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """Everything a gateway decides from. One reference per exchange."""

    epoch: int
    revision: int
    pepper: bytes
    environments: dict[str, EnvironmentClass]
    apps: dict[str, AppView]
    keys: tuple[dict[str, KeyEntry], ...]
    """64 shards; see `domain.snapshot.access_shard`."""
    routes: dict[tuple[str, str], RouteView]
    """By (environment, route name)."""
    route_names: dict[str, tuple[str, ...]]
    """Sorted names by environment."""
    limits: dict[str, AccountLimits]
    """By account id; only accounts that have a limit."""
    overrides: int
    """The last entry of the override journal that is in force here, part of the revision or applied over it."""
    complaints: tuple[str, ...]
    """In words, overrides that name what is not there."""
    versions: dict[str, ModelVersionEntry]
    """The catalogue, by `name@version`."""
    known_keys: dict[str, KeyEntry]
    """Keys whose HMAC was verified under this snapshot, by their text: a bounded memory of `identify`."""


class SnapshotError(Exception):
    """The sections do not fit together or do not decode; the snapshot before stays."""


def compile_snapshot(
    manifest: SnapshotManifest,
    sections: Mapping[str, bytes],
    socket_dir: str,
    live: Live,
    overrides: Sequence[OverrideEntry] = (),
    *,
    rehearse: bool = False,
) -> Snapshot:
    """Decode every section, apply what the journal says beyond it, and prepare the lookups.

    Args:
        manifest: of the revision.
        sections: their bytes.
        socket_dir: where runtimes listen.
        live: what this worker has seen of the targets.
        overrides: entries of the journal; those that are part of the revision are left out here.
        rehearse: drills count as rollbacks, those that are part of the revision too, and of the routes only theirs are
            prepared; the result is not to be served.

    Raises:
        SnapshotError: naming the section that does not decode or refers to something that is not there.
    """
    entries = _decode(sections, "environments", EnvironmentsSection).environments
    environments = {name: entry.environment_class for name, entry in entries.items()}
    credentials = _decode(sections, "sealed/credentials", CredentialsSection)
    limits = _decode(sections, "limits", LimitsSection).accounts
    folded = manifest.overrides_folded
    unfolded = [item for item in overrides if item.sequence > folded or (rehearse and isinstance(item.override, Drill))]
    ground, complaints = overlay(_ground(sections), unfolded, rehearse=rehearse)
    stops = ground.stops.stops
    book = _CandidateBook(
        versions=ground.catalogue.versions,
        stops=stops,
        providers=_decode(sections, "providers", ProvidersSection).providers,
        sealed=credentials,
        socket_dir=socket_dir,
        live=live,
        mandatory={name: entry.guardrails for name, entry in entries.items()},
        policies=_policies(sections),
    )
    routes: dict[tuple[str, str], RouteView] = {}
    drilled = {(d.environment, d.route) for item in unfolded if isinstance(d := item.override, Drill)}
    for name, section in ground.routes.items():
        if rehearse and (section.environment, section.route) not in drilled:
            continue
        entry = entries.get(section.environment)
        if entry is None:
            raise SnapshotError(f"section {name!r} names environment {section.environment!r}, which is not there")
        routes[section.environment, section.route] = _dealt_view(section, entry, book, limits, manifest.revision)
    names: dict[str, list[str]] = {}
    for environment, route in sorted(routes):
        names.setdefault(environment, []).append(route)
    return Snapshot(
        epoch=manifest.epoch,
        revision=manifest.revision,
        pepper=bytes.fromhex(credentials.pepper),
        environments=environments,
        apps={name: _app_view(app, limits, stops) for name, app in _decode(sections, "apps", AppsSection).apps.items()},
        keys=tuple(shard.keys for shard in ground.access.values()),
        routes=routes,
        route_names={environment: tuple(routed) for environment, routed in names.items()},
        limits=limits,
        overrides=max([manifest.overrides_folded, *(entry.sequence for entry in unfolded)]),
        complaints=tuple(complaints),
        versions=ground.catalogue.versions,
        known_keys={},
    )


def _policies(sections: Mapping[str, bytes]) -> tuple[PolicyEntry, ...]:
    if "policies" not in sections:
        return ()  # a revision of before policies were built
    policies = _decode(sections, "policies", PoliciesSection).policies
    for rule in (rule for policy in policies for rule in policy.rules):
        try:
            if rule.time is not None:
                is_within(rule.time, 0)
        except (KeyError, OSError) as error:
            raise SnapshotError(f"the time zone of policy rule {rule.whose} is not known here: {error}") from error
    return policies


def _ground(sections: Mapping[str, bytes]) -> Ground:
    """The sections that overrides change."""
    return Ground(
        catalogue=_decode(sections, "catalogue", CatalogueSection),
        routes={name: _decode(sections, name, RouteSection) for name in sections if name.startswith("routes/")},
        access={name: _decode(sections, name, AccessShard) for name in map(access_section_name, range(ACCESS_SHARDS))},
        # Revisions of before stops were built have no such section.
        stops=_decode(sections, "stops", StopsSection) if "stops" in sections else StopsSection({}),
    )


class _CandidateBook:
    """Makes each (environment, model version) pair once and judges it per kind of call."""

    def __init__(
        self,
        versions: dict[str, ModelVersionEntry],
        stops: dict[str, StopEntry],
        providers: dict[str, ProviderEntry],
        sealed: CredentialsSection,
        socket_dir: str,
        live: Live,
        mandatory: dict[str, tuple[GuardrailRule, ...]],
        policies: tuple[PolicyEntry, ...],
    ) -> None:
        self.policies = policies
        self._versions = versions
        self._stops = stops
        self._providers = providers
        self._credentials = sealed.credentials
        self._proxies = sealed.egress_proxies
        self._pepper = bytes.fromhex(sealed.pepper)
        self._socket_dir = socket_dir
        self._live = live
        self._made: dict[tuple[str, str], Candidate] = {}
        self._mandatory = mandatory
        self._guardrails: dict[tuple[GuardrailRule, ...], Guardrails | None] = {}
        self._tools: dict[tuple[str, Dialect], msgspec.Raw] = {}

    def candidate(self, environment: str, model: str) -> Candidate:
        made = self._made.get((environment, model))
        if made is None:
            made = self._made[environment, model] = self._make(environment, model)
        return made

    def judge(
        self,
        model: str,
        release: ReleaseEntry,
        environment_class: EnvironmentClass,
        operation: Operation,
        task: str,
        data_class: DataClass,
    ) -> Exclusion | None:
        version, provider = self._find(model)
        stop = self._stops.get(f"provider:{provider.name}")
        return judge_target(version, provider, stop, release, environment_class, operation, task, data_class)

    def rules(self, model: str, asked: Asked) -> tuple[tuple[PolicyRule, ...], ...]:
        """For each policy that has a say: the rules of which the first whose caller fits decides."""
        version, _ = self._find(model)
        found = (left_of(policy, asked, version) for policy in self.policies)
        return tuple(rules for rules in found if rules)

    def excluded_by(self, model: str, rules: Sequence[PolicyRule], asked: Asked) -> Exclusion | None:
        return exclusion_by(rules, asked, self._find(model)[0])

    def stop(self, scope: str) -> StopEntry | None:
        return self._stops.get(scope)

    def shadow(self, section: RouteSection) -> ShadowView | None:
        copied = section.shadow
        if copied is None:
            return None
        lease_ns = int(section.lease_s * 1e9)
        return ShadowView(copied.run, copied.share_bp, copied.spend_cap_nano_usd, lease_ns, self._live.exposure)

    def split(self, section: RouteSection) -> Split:
        return split_of(section.rollout, section.weight_bp, section.lease_s, self._pepper, self._live.exposure)

    def guardrails(self, environment: str, release: ReleaseEntry) -> Guardrails | None:
        """An environment's own rules, and those of a release; made once for all routes that have the same."""
        rules = (*self._mandatory[environment], *release.guardrails)
        if rules not in self._guardrails:
            try:
                self._guardrails[rules] = compile_guardrails(rules)
            except ValueError as error:
                raise SnapshotError(str(error)) from error
        return self._guardrails[rules]

    def tools_field(self, tools: ToolsEntry, operation: Operation) -> msgspec.Raw:
        """The request field `tools`; made once for all releases, tasks and data classes that have the same."""
        key = tools.digest, OPERATION_DIALECT[operation]
        made = self._tools.get(key)
        if made is None:
            made = self._tools[key] = msgspec.Raw(msgspec.json.encode(tools_field(operation, tools.definitions)))
        return made

    def _find(self, model: str) -> tuple[ModelVersionEntry, ProviderEntry]:
        version = self._versions.get(model)
        if version is None:
            raise SnapshotError(f"a release names model {model!r}, which the catalogue section does not hold")
        provider = self._providers.get(version.provider)
        if provider is None:
            raise SnapshotError(f"model {model!r} names provider {version.provider!r}, which is not there")
        return version, provider

    def _make(self, environment: str, model: str) -> Candidate:
        version, provider = self._find(model)
        try:
            proxy = self._proxies.get(provider.name)
            key = None if proxy is None else Secret(proxy.secret)
            origins = [provider_origin(provider, path, key) for path in self._socket_paths(version)]
        except ValueError as error:
            raise SnapshotError(str(error)) from error
        price = version.price
        return Candidate(
            model=version.id,
            provider=provider.name,
            upstream_id=version.upstream_id,
            is_hosted=version.runtime is not None,
            addresses={
                operation: tuple(
                    where for origin in origins for where in self._addresses(provider, environment, operation, origin)
                )
                for operation in Operation
                if OPERATION_DIALECT[operation] in provider.dialects
            },
            price=price,
            price_version=price.version if price is not None else "",
            max_output_tokens=version.max_output_tokens,
            slow=version.slow,
            fields=(
                f"x-lineclear-model: {version.id}\r\nx-lineclear-provider: {provider.name}\r\n"
                f"{deprecation_fields(version)}"
            ),
            health=self._live.target(environment, model),
            brownouts=version.brownouts,
            successor=version.successor,
            replicas=Replicas(len(origins), self._live.clock) if len(origins) > 1 else None,
        )

    def _socket_paths(self, version: ModelVersionEntry) -> list[str]:
        """One for each replica of a hosted model; one that is empty for a vendor's."""
        if version.runtime is None:
            return [""]
        return [f"{self._socket_dir}/{socket_name(version.runtime, replica)}" for replica in range(version.replicas)]

    def _addresses(
        self, provider: ProviderEntry, environment: str, operation: Operation, origin: Origin
    ) -> tuple[Address, ...]:
        entries = self._credentials.get(f"{provider.name}/{environment}", ())
        if not entries:
            return (address(provider, operation, origin, "", None),)
        heaviest_first = sorted(entries, key=lambda entry: -entry.weight)
        try:
            return tuple(
                address(provider, operation, origin, self._credential_id(entry), Secret(entry.secret))
                for entry in heaviest_first
            )
        except ValueError as error:
            raise SnapshotError(str(error)) from error

    def _credential_id(self, entry: CredentialEntry) -> str:
        """Another value is another credential: what was parked or pooled under the old one is not the new one's."""
        return f"{entry.id}#{hmac.digest(self._pepper, entry.secret.encode(), 'sha256').hex()[:8]}"


def _dealt_view(
    section: RouteSection,
    environment: EnvironmentEntry,
    book: _CandidateBook,
    limits: dict[str, AccountLimits],
    revision: int,
) -> RouteView:
    """The route with its stable release and, during a rollout, its candidate beside it; dealt if that has a share."""
    stable = _route_view(section, environment, book, limits, revision)
    if section.candidate is None:
        return stable
    tried = msgspec.structs.replace(section, stable=section.candidate)
    candidate = _route_view(tried, environment, book, limits, revision)
    stable = msgspec.structs.replace(stable, shadow=book.shadow(section))
    if section.weight_bp == 0:
        return msgspec.structs.replace(stable, candidate=candidate)
    if not (0 < section.weight_bp < WEIGHT_BP_MAX and section.rollout and section.lease_s > 0):
        raise SnapshotError(
            f"route {section.route!r} in {section.environment} has a candidate with a weight of {section.weight_bp} "
            f"basis points, a lease of {section.lease_s} s and the rollout {section.rollout!r}: no rollout at all"
        )
    return msgspec.structs.replace(stable, split=book.split(section), candidate=candidate)


def _route_view(
    section: RouteSection,
    environment: EnvironmentEntry,
    book: _CandidateBook,
    limits: dict[str, AccountLimits],
    revision: int,
) -> RouteView:
    release = section.stable
    rank = data_class_rank(section.data_class)
    admissions = {
        (operation, task, data_class): _admission(section, environment, book, operation, task, data_class)
        for operation in Operation
        for task in section.tasks or ("",)
        for data_class in DATA_CLASS_ORDER[rank:]
    }
    return RouteView(
        name=section.route,
        environment=section.environment,
        team=section.team,
        tasks=section.tasks,
        data_class=section.data_class,
        description=section.description,
        release=release.id,
        split_hash=blake2b(digest_size=8, key=bytes.fromhex(release.digest)[:16]),
        strategy=release.strategy,
        models=release_models(release),
        digest=release.digest,
        prompt=release.prompt,
        parameters=release.parameters,
        retrieval=release.retrieval,
        tools=release.tools,
        timeouts=release.timeouts,
        max_tokens=release.max_tokens,
        admissions={call: _with_offer(call, admission, admissions) for call, admission in admissions.items()},
        operations=tuple(
            operation
            for operation in Operation
            if any(call[0] is operation and admission.refusal is None for call, admission in admissions.items())
        ),
        accounts=_accounts([f"route:{section.environment}/{section.route}"], limits),
        fields=(
            f"x-lineclear-route: {section.route}\r\nx-lineclear-release: {release.id}\r\n"
            f"x-lineclear-revision: {revision}\r\nx-lineclear-environment: {section.environment}\r\n"
            "x-lineclear-cache: off\r\n"
        ),
        guardrails=book.guardrails(section.environment, release),
        stop=book.stop(f"route:{section.environment}/{section.route}"),
    )


def _with_offer(
    call: tuple[Operation, str, DataClass],
    admission: Admission,
    admissions: dict[tuple[Operation, str, DataClass], Admission],
) -> Admission:
    """A refused operation's refusal with what the route can be asked instead, in the same task and data class."""
    refusal = admission.refusal
    if refusal is None or refusal.code is not ErrorCode.OPERATION_NOT_SUPPORTED:
        return admission
    _, task, data_class = call
    offered = tuple(operation for operation in Operation if admissions[operation, task, data_class].refusal is None)
    return msgspec.structs.replace(admission, refusal=msgspec.structs.replace(refusal, offered=offered))


def _app_view(app: AppEntry, limits: dict[str, AccountLimits], stops: dict[str, StopEntry]) -> AppView:
    return AppView(
        name=app.name,
        team=app.team,
        all_routes="*" in app.routes,
        granted=app.routes,
        accounts=_accounts([f"team:{app.team}", f"app:{app.name}"], limits),
        stop=stops.get(STOP_ALL) or stops.get(f"app:{app.name}"),
    )


def _accounts(ids: list[str], limits: dict[str, AccountLimits]) -> Accounts:
    limited = {account: limits[account] for account in ids if account in limits}
    return Accounts(
        ids=tuple(limited),
        has_budget=any(limit.budget is not None for limit in limited.values()),
        has_tokens=any(limit.tokens_per_minute is not None for limit in limited.values()),
    )


def _admission(
    section: RouteSection,
    environment: EnvironmentEntry,
    book: _CandidateBook,
    operation: Operation,
    task: str,
    data_class: DataClass,
) -> Admission:
    refusal = refused_there(environment, data_class)
    if refusal is not None:
        return Admission((), 0, (), (), refusal)
    release = section.stable
    judged = {
        model: book.judge(model, release, environment.environment_class, operation, task, data_class)
        for model in release_models(release)
    }
    if not book.policies:
        return _assembled(section, book, operation, judged)
    asked = Asked(section.environment, section.route, task, data_class, section.data_class)
    # Policies are asked of what the cards allow.
    left = {model: book.rules(model, asked) for model, exclusion in judged.items() if exclusion is None}
    # By value: a rule about vendors' records is another one for each vendor's dates.
    by_caller = dict.fromkeys(
        rule for policies in left.values() for rules in policies for rule in rules if rule.rests_on_caller
    )

    def ruled(holding: frozenset[PolicyRule]) -> Admission:
        deciding = {model: _deciding(policies, holding) for model, policies in left.items()}
        against = {model: book.excluded_by(model, rules, asked) for model, rules in deciding.items()}
        took_part = dict.fromkeys(rule.id for rules in deciding.values() for rule in rules)
        return _assembled(section, book, operation, judged | against, tuple(took_part))

    if not by_caller:
        return ruled(frozenset())
    return msgspec.structs.replace(
        _assembled(section, book, operation, judged), varying=Varying(tuple(by_caller), ruled, {})
    )


def _deciding(policies: Sequence[Sequence[PolicyRule]], holding: frozenset[PolicyRule]) -> list[PolicyRule]:
    found = (next((rule for rule in rules if not rule.rests_on_caller or rule in holding), None) for rules in policies)
    return [rule for rule in found if rule is not None]


def _assembled(
    section: RouteSection,
    book: _CandidateBook,
    operation: Operation,
    judged: Mapping[str, Exclusion | None],
    rules: tuple[str, ...] = (),
) -> Admission:
    """The admission that these judgements of the release's models make."""
    release = section.stable
    allowed = {model: book.candidate(section.environment, model) for model, found in judged.items() if found is None}
    exclusions = {model: found for model, found in judged.items() if found is not None}
    excluded = [CandidateRecord(model, 0.0, found.reason) for model, found in exclusions.items()]
    if not allowed:
        refusal = refusal_of(tuple(exclusions.values()))
        return Admission((), 0, (), tuple(excluded), refusal, rules=rules)
    fallback = [allowed[model] for model in release.fallback if model in allowed]
    targets = [(allowed[target.model], target.weight) for target in release.targets if target.model in allowed]
    if release.strategy != "weighted" or sum(weight for _, weight in targets) == 0:
        # Nothing to split: in the order of the release. Drained targets are still backups.
        targets = [(candidate, 1 if place == 0 else 0) for place, (candidate, _) in enumerate(targets)]
    chosen_first = [(candidate, weight) for candidate, weight in targets if weight > 0]
    if not chosen_first:
        chosen_first = [(fallback[0], 1)]
    backups = [candidate for candidate, _ in sorted(targets, key=lambda pair: -pair[1])] + fallback
    return Admission(
        weights=tuple(weight for _, weight in chosen_first),
        total_weight=sum(weight for _, weight in chosen_first),
        orders=tuple(_order(first, backups, excluded) for first, _ in chosen_first),
        excluded=tuple(excluded),
        refusal=None,
        defaults=tuple((name, encoded(value)) for name, value in request_fields(operation, release.parameters).items()),
        output_default=_output_default(release, operation),
        rules=rules,
        **_tools(release, book, operation),
    )


def _tools(release: ReleaseEntry, book: _CandidateBook, operation: Operation) -> dict[str, Any]:
    """The fields of an admission that the release's tools fill. Any: they are of several types."""
    tools = release.tools
    if tools is None or not tools.are_sent or operation not in WITH_TOOLS:
        return {}
    field = book.tools_field(tools, operation)
    replaces = tools.mode is ToolsMode.REPLACE
    return {"tools": field, "tools_replace": replaces, "tools_bytes": memoryview(field).nbytes}


def _output_default(release: ReleaseEntry, operation: Operation) -> int | None:
    cap = release.parameters.get(Parameter.MAX_TOKENS)
    return cap if isinstance(cap, int) and operation not in UNAFFECTED else None


def _order(first: Candidate, backups: list[Candidate], excluded: list[CandidateRecord]) -> Order:
    candidates = list({candidate.model: candidate for candidate in [first, *backups]}.values())
    scored = [
        CandidateRecord(candidate.model, float(len(candidates) - place), "")
        for place, candidate in enumerate(candidates)
    ]
    caps = [candidate.max_output_tokens for candidate in candidates if candidate.max_output_tokens is not None]
    return Order(
        candidates=tuple(candidates),
        considered=(*scored, *excluded),
        dearest=_dearest([candidate.price for candidate in candidates if candidate.price is not None]),
        output_cap=min(caps, default=None),
    )


def _dearest(prices: list[Price]) -> Price:
    """A price row that is nowhere below any of these; unpriced candidates count as free."""
    return Price(
        version="dearest",
        input_per_mtok=max([dearest_input_per_mtok(price) for price in prices], default=0),
        output_per_mtok=max([dearest_output_per_mtok(price) for price in prices], default=0),
        per_request=max([price.per_request for price in prices], default=0),
    )


def _decode(sections: Mapping[str, bytes], name: str, section_type: type[SectionT]) -> SectionT:
    content = sections.get(name)
    if content is None:
        raise SnapshotError(f"section {name!r} is missing")
    try:
        return msgspec.json.decode(content, type=section_type)
    except msgspec.DecodeError as error:
        raise SnapshotError(f"section {name!r} does not decode: {error}") from error
