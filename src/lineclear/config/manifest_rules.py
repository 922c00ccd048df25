"""What a manifest's fields must be on their own: names, ranges, money, and what is not built yet.

In: one noun. Out: (path, code, message) per mistake. Pure; whether a named thing exists is control's knowledge.
"""

import re
import zoneinfo
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import assert_never
from urllib.parse import urlsplit

from lineclear.config.component_rules import check_parameters, check_retrieval, check_tools
from lineclear.config.eval_rules import check_eval, check_replay_step
from lineclear.config.guardrail_rules import check_guardrail
from lineclear.config.manifest_dates import Mistake, check_dates, check_vendor_record
from lineclear.config.notice_rules import check_channels
from lineclear.config.policy_rules import check_policy
from lineclear.config.rollout_rules import IMMEDIATE, check_rollout
from lineclear.config.yaml_tree import PlainPath
from lineclear.domain.catalogue import Engine, EnvironmentClass
from lineclear.domain.drills import DRILL_EVERY_S_MAX, DRILL_EVERY_S_MIN
from lineclear.domain.exchange import Dialect
from lineclear.domain.manifest import (
    App,
    Budget,
    BudgetMode,
    CaptureMode,
    CardLink,
    Environment,
    Eval,
    FreezeWindow,
    Guardrail,
    Limits,
    Manifest,
    Model,
    ModelVersion,
    Policy,
    PriceRow,
    Prompt,
    Provider,
    Rollout,
    Route,
    RouteEnvironment,
    Strategy,
    Team,
    model_version_id,
)
from lineclear.domain.money import nano_usd
from lineclear.domain.prompts import prompt_segments
from lineclear.domain.runtimes import REPLICAS_MAX, artifact_problem, setting_problem, settings_problems

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
ROUTE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*(?:/[A-Za-z0-9][A-Za-z0-9._:-]*)*")
ROUTE_NAME_CHARS_MAX = 128
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,62}")
ENVIRONMENT_NAME = re.compile(r"[a-z][a-z0-9]{0,11}")
"""Source: design decision 29; it stands inside every key."""
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
SECRET_SCHEME = "secret:"  # noqa: S105 - how a reference begins
SECRET_REFERENCE = re.compile(SECRET_SCHEME + f"({NAME.pattern})")
SHA256 = re.compile(r"[0-9a-f]{64}")

BUILT_IN_ENVIRONMENTS = {"test": EnvironmentClass.TEST, "live": EnvironmentClass.LIVE}
RESERVED_PROVIDER = "local"
"""The provider of hosted models."""
BUILT_STRATEGIES = frozenset({Strategy.WEIGHTED, Strategy.PRIORITY})
LIMIT_MAX = 1_000_000_000_000
TIMEOUT_S_MAX = 3_600.0
WEIGHT_MAX = 1_000_000
APPROVALS_MAX = 10
LINK = re.compile(r"https?://[^\s/\"<>]+[^\s\"<>]*")
TEXT_CHARS_MAX = 262_144


def check_rules(manifest: Manifest) -> Iterator[Mistake]:  # noqa: C901 - one case for each kind
    """Every mistake of one noun."""
    if not isinstance(manifest, Environment | Route):
        yield from _name(manifest.name)
    match manifest:
        case Team():
            yield from _team(manifest)
        case App():
            yield from _app(manifest)
        case Provider():
            yield from _provider(manifest)
        case Model():
            yield from _model(manifest)
        case Prompt():
            yield from _prompt(manifest)
        case Policy():
            yield from _policy(manifest)
        case Guardrail():
            yield from _guardrail(manifest)
        case Eval():
            yield from _eval(manifest)
        case Rollout():
            yield from _rollout(manifest)
        case Environment():
            yield from _environment(manifest)
        case Route():
            yield from _route(manifest)
        case _:
            assert_never(manifest)


def _name(name: str) -> Iterator[Mistake]:
    if not NAME.fullmatch(name):
        yield ("name",), "invalid_value", f"{name!r} is not a name: lower-case letters, digits, . _ -, at most 63"


def _team(team: Team) -> Iterator[Mistake]:
    # Membership in the list first: ZoneInfo itself would open any path-like key.
    if team.time_zone not in zoneinfo.available_timezones():
        yield ("time_zone",), "invalid_value", f"{team.time_zone!r} is not an IANA time zone such as Europe/Berlin"
    yield from _account(team.limits, team.budget, ())
    yield from check_channels(team.notices)


def _app(app: App) -> Iterator[Mistake]:
    for at, route in enumerate(app.routes):
        if route != "*":
            yield from _route_name(route, ("routes", at))
    yield from _unique(app.routes, ("routes",))
    yield from _account(app.limits, app.budget, ())


def _provider(provider: Provider) -> Iterator[Mistake]:
    if provider.name == RESERVED_PROVIDER:
        yield ("name",), "invalid_value", f"{RESERVED_PROVIDER!r} is the provider of hosted models; take another name"
    if not provider.dialects:
        yield ("dialects",), "invalid_value", "at least one dialect is needed"
    built = {dialect.value for dialect in Dialect}
    for at, dialect in enumerate(provider.dialects):
        if dialect.value not in built:
            yield ("dialects", at), "not_yet_supported", f"the dialect {dialect.value!r} is not yet supported"
    yield from _base_url(provider)
    yield from _credential(provider)
    yield from _egress_proxy(provider)
    if provider.vendor_record is not None:
        for path, code, message in check_vendor_record(provider.vendor_record):
            yield ("vendor_record", *path), code, message


def _egress_proxy(provider: Provider) -> Iterator[Mistake]:
    if provider.egress_proxy_credential is not None:
        yield from _reference(provider.egress_proxy_credential, ("egress_proxy_credential",))
    if provider.egress_proxy is None:
        if provider.egress_proxy_credential is not None:
            yield ("egress_proxy_credential",), "invalid_value", "there is no egress_proxy that it could be for"
        return
    if not _is_proxy_url(provider.egress_proxy):
        # The text may hold a user and a password, so it is not repeated.
        words = "must be http://host:port, without a user, a path or a query; what the proxy asks for is named by"
        yield ("egress_proxy",), "invalid_value", f"{words} egress_proxy_credential"


def _is_proxy_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        is_place = url.scheme == "http" and bool(url.hostname) and bool(url.port) and url.username is None
    except ValueError:
        return False
    return is_place and text.isascii() and text.removesuffix("/") == f"http://{url.netloc}" and " " not in text


def _base_url(provider: Provider) -> Iterator[Mistake]:
    path = ("base_url",)
    try:
        url = urlsplit(provider.base_url)
        _ = url.port
    except ValueError as error:
        yield path, "invalid_value", f"not a URL: {error}"
        return
    if url.scheme not in ("http", "https") or not url.hostname or not provider.base_url.isascii():
        yield path, "invalid_value", "must be an http:// or https:// URL"
    elif url.username is not None or url.query or url.fragment or re.search(r"[\s\x00-\x1f]", provider.base_url):
        yield path, "invalid_value", "must not hold a user, a query, a fragment or white space"
    elif url.scheme == "http" and not provider.private_network:
        yield path, "invalid_value", "http:// would send the credential in clear; use https:// or private_network: true"


def _credential(provider: Provider) -> Iterator[Mistake]:
    if isinstance(provider.credential, dict):
        for environment, reference in provider.credential.items():
            yield from _reference(reference, ("credential", environment))
    elif provider.credential is not None:
        yield from _reference(provider.credential, ("credential",))


def _reference(reference: str, path: PlainPath) -> Iterator[Mistake]:
    # The text may be a real secret, so it is not repeated.
    if reference.startswith(SECRET_SCHEME) and not SECRET_REFERENCE.fullmatch(reference):
        yield path, "invalid_value", "after secret: stands a name: lower-case letters, digits, . _ -, at most 63"
    elif not reference.startswith(SECRET_SCHEME) and not VARIABLE.fullmatch(reference):
        yield path, "invalid_value", "must be ${VARIABLE} or secret:NAME; a credential never stands in a file"


def _model(model: Model) -> Iterator[Mistake]:
    if not model.versions:
        yield ("versions",), "invalid_value", "at least one version is needed"
    yield from _unique([version.version for version in model.versions], ("versions",), "version")
    for at, task in enumerate(model.approved_uses):
        yield from _word(task, ("approved_uses", at))
    for at, task in enumerate(model.prohibited_uses):
        yield from _word(task, ("prohibited_uses", at))
        if task in model.approved_uses:
            yield ("prohibited_uses", at), "invalid_value", f"{task!r} is an approved use too"
    yield from _links(model.links)
    for at, version in enumerate(model.versions):
        yield from _unique(version.capabilities, ("versions", at, "capabilities"))
        for path, code, message in (*_version(version), *check_dates(version)):
            yield ("versions", at, *path), code, message
        if version.successor == model_version_id(model.name, version.version):
            yield ("versions", at, "successor"), "invalid_value", "a version does not follow itself"


def _links(links: Sequence[CardLink]) -> Iterator[Mistake]:
    yield from _unique([link.name for link in links], ("links",), "name")
    for at, link in enumerate(links):
        if not link.name.strip():
            yield ("links", at, "name"), "invalid_value", "a link needs a name"
        if not LINK.fullmatch(link.url):
            yield (
                ("links", at, "url"),
                "invalid_value",
                f"{link.url!r} is no address that begins with https:// or http://",
            )


def _version(version: ModelVersion) -> Iterator[Mistake]:
    if not VERSION.fullmatch(version.version):
        yield ("version",), "invalid_value", f"{version.version!r} is not a version: letters, digits, . _ + -"
    if (version.provider is None) == (version.engine is None):
        yield (
            ("engine",),
            "invalid_value",
            "a version has either `provider` (a vendor's model) or `engine` (a hosted one)",
        )
    elif version.engine is None:
        yield from _vendor_version(version)
    else:
        yield from _hosted_version(version)
    for name in ("max_tokens", "context"):
        if getattr(version, name) is not None and getattr(version, name) < 1:
            yield (name,), "invalid_value", "must be at least 1"
    if version.successor is not None and "@" not in version.successor:
        yield ("successor",), "invalid_value", "must be name@version"
    if version.price is not None:
        yield from _price(version.price)


def _vendor_version(version: ModelVersion) -> Iterator[Mistake]:
    if not version.upstream_id:
        yield ("upstream_id",), "missing_field", "`upstream_id` is missing: what the provider calls this version"
    for name, given in (
        ("artifact", version.artifact is not None),
        ("sha256", version.sha256 is not None),
        ("settings", bool(version.settings)),
        ("replicas", version.replicas != 1),
    ):
        if given:
            yield (name,), "invalid_value", f"`{name}` belongs to hosted versions, and this one has a provider"


def _hosted_version(version: ModelVersion) -> Iterator[Mistake]:
    name = version.engine.value if version.engine else ""
    if name not in {item.value for item in Engine}:
        yield ("engine",), "not_yet_supported", f"the engine {name!r} is not yet supported"
        return
    engine = Engine(name)
    if version.operations:
        message = "`operations` belongs to vendors' versions: what a hosted one does is its engine's to say"
        yield ("operations",), "invalid_value", message
    if not 1 <= version.replicas <= REPLICAS_MAX:
        yield ("replicas",), "invalid_value", f"must be from 1 to {REPLICAS_MAX}"
    alone = [(setting, setting_problem(engine, setting, value)) for setting, value in version.settings.items()]
    wrong = [(setting, problem) for setting, problem in alone if problem is not None]
    for setting, problem in wrong or settings_problems(engine, version.settings):
        yield ("settings", *((setting,) if setting in version.settings else ())), "invalid_value", problem
    yield from _artifact(version, engine)


def _artifact(version: ModelVersion, engine: Engine) -> Iterator[Mistake]:
    if engine is Engine.SIMULATED:
        for name, value in (("artifact", version.artifact), ("sha256", version.sha256)):
            if value is not None:
                yield (name,), "invalid_value", f"a simulated model has no `{name}`"
        return
    if not version.artifact:
        yield ("artifact",), "missing_field", "`artifact` is missing: the path of the model file"
    elif not version.artifact.startswith("/"):
        yield ("artifact",), "invalid_value", "must be an absolute path here"
    elif problem := artifact_problem(engine, version.artifact):
        yield ("artifact",), "invalid_value", problem
    if version.sha256 is None:
        yield ("sha256",), "missing_field", "`sha256` of the model file is missing"
    elif not SHA256.fullmatch(version.sha256):
        yield ("sha256",), "invalid_value", "must be 64 lower-case hex digits"


def _price(price: PriceRow) -> Iterator[Mistake]:
    for name in PriceRow.__dataclass_fields__:
        text = getattr(price, name)
        if text is not None:
            yield from _money(text, ("price", name))


def _money(text: str, path: PlainPath) -> Iterator[Mistake]:
    try:
        amount = nano_usd(text)
    except ValueError as error:
        yield path, "invalid_value", str(error)
        return
    if not 0 <= amount <= LIMIT_MAX * 1_000:
        yield path, "invalid_value", "must be between 0 and 1,000,000 US dollars"


def _prompt(prompt: Prompt) -> Iterator[Mistake]:
    if not prompt.text.strip():
        yield ("text",), "invalid_value", "must not be empty"
    if len(prompt.text) > TEXT_CHARS_MAX:
        yield ("text",), "too_large", f"longer than {TEXT_CHARS_MAX} characters"
    try:
        prompt_segments(prompt.text)
    except ValueError as error:
        yield ("text",), "invalid_value", str(error)


def _policy(policy: Policy) -> Iterator[Mistake]:
    yield from check_policy(policy)
    yield from _unique([rule.id for rule in policy.rules], ("rules",), "id")
    for at, rule in enumerate(policy.rules):
        yield from _word(rule.id, ("rules", at, "id"))


def _guardrail(guardrail: Guardrail) -> Iterator[Mistake]:
    yield from check_guardrail(guardrail)
    yield from _unique([rule.id for rule in guardrail.rules], ("rules",), "id")
    for at, rule in enumerate(guardrail.rules):
        yield from _word(rule.id, ("rules", at, "id"))


def _eval(one: Eval) -> Iterator[Mistake]:
    yield from check_eval(one)
    yield from _money(one.spend_usd, ("spend_usd",))
    yield from _unique([check.id for check in one.checks], ("checks",), "id")
    for at, check in enumerate(one.checks):
        yield from _word(check.id, ("checks", at, "id"))


def _rollout(rollout: Rollout) -> Iterator[Mistake]:
    if rollout.name == IMMEDIATE:
        yield ("name",), "invalid_value", f"{IMMEDIATE!r} is how changes go without a Rollout; take another name"
    yield from check_rollout(rollout)
    for at, step in enumerate(rollout.steps):
        if step.replay is not None:
            yield from check_replay_step(step.replay, ("steps", at, "replay"))
            yield from _money(step.replay.spend_usd, ("steps", at, "replay", "spend_usd"))


def _environment(environment: Environment) -> Iterator[Mistake]:
    if not ENVIRONMENT_NAME.fullmatch(environment.name):
        yield ("name",), "invalid_value", "must be a lower-case letter, then letters and digits, at most 12 in all"
    built_in = BUILT_IN_ENVIRONMENTS.get(environment.name)
    if built_in not in (None, environment.class_):
        yield ("class",), "invalid_value", f"the environment {environment.name!r} has class {environment.name}"
    if not 0 <= environment.approvals <= APPROVALS_MAX:
        yield ("approvals",), "invalid_value", f"must be from 0 to {APPROVALS_MAX}"
    for name in ("approver_roles", "approver_teams"):
        if getattr(environment, name) and environment.approvals == 0:
            words = "says who approves where nothing waits for approval; set `approvals` to 1 or more"
            yield (name,), "invalid_value", words
        yield from _unique(getattr(environment, name), (name,))
    for at, window in enumerate(environment.freeze):
        yield from _freeze(window, ("freeze", at))
    yield from _unique(environment.allowed_statuses, ("allowed_statuses",))
    yield from _unique(environment.allowed_data_classes, ("allowed_data_classes",))
    yield from _unique(environment.guardrails, ("guardrails",))
    every_s = environment.drill_every_s
    if every_s is not None and not DRILL_EVERY_S_MIN <= every_s <= DRILL_EVERY_S_MAX:
        yield ("drill_every_s",), "invalid_value", f"must be from {DRILL_EVERY_S_MIN} to {DRILL_EVERY_S_MAX}"


def _freeze(window: FreezeWindow, path: PlainPath) -> Iterator[Mistake]:
    moments = {"from": window.from_, "to": window.to}
    flaws = {name: _moment_flaw(text) for name, text in moments.items()}
    for name, flaw in flaws.items():
        if flaw:
            yield (*path, name), "invalid_value", flaw
    if not any(flaws.values()) and datetime.fromisoformat(window.from_) >= datetime.fromisoformat(window.to):
        yield (*path, "to"), "invalid_value", "must be later than `from`"


def _moment_flaw(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return f"{text!r} is no time such as 2026-12-20T00:00:00+01:00"
    return "" if moment.tzinfo is not None else f"{text!r} names no offset; write e.g. {text}+00:00"


def _route(route: Route) -> Iterator[Mistake]:
    yield from _route_name(route.name, ("name",))
    for at, task in enumerate(route.tasks):
        yield from _word(task, ("tasks", at))
    yield from _unique(route.tasks, ("tasks",))
    if not route.environments:
        yield ("environments",), "invalid_value", "at least one environment is needed"
    for name, deployed in route.environments.items():
        for path, code, message in _route_environment(deployed):
            yield ("environments", name, *path), code, message


def _route_name(name: str, path: PlainPath) -> Iterator[Mistake]:
    if "*" in name:
        yield path, "not_yet_supported", f"the pattern {name!r} is not yet supported; name one route"
    elif not ROUTE_NAME.fullmatch(name) or len(name) > ROUTE_NAME_CHARS_MAX:
        yield path, "invalid_value", f"{name!r} is not a route name: letters, digits, . _ : - in parts joined by /"


def _route_environment(deployed: RouteEnvironment) -> Iterator[Mistake]:
    if deployed.strategy not in BUILT_STRATEGIES:
        message = f"the strategy {deployed.strategy.value!r} is not yet supported; weighted and priority are"
        yield ("strategy",), "not_yet_supported", message
    if deployed.capture is not CaptureMode.NONE:
        yield ("capture",), "not_yet_supported", "capture other than none is not yet supported"
    if deployed.rollout != IMMEDIATE:
        yield from _word(deployed.rollout, ("rollout",))
    if deployed.max_tokens is not None and deployed.max_tokens < 1:
        yield ("max_tokens",), "invalid_value", "must be at least 1"
    yield from _unique(deployed.guardrails, ("guardrails",))
    yield from check_parameters(deployed.parameters)
    yield from check_retrieval(deployed.retrieval)
    if deployed.tools is not None:
        yield from check_tools(deployed.tools)
    yield from _targets(deployed)
    yield from _timeouts(deployed)
    yield from _account(deployed.limits, deployed.budget, ())


def _targets(deployed: RouteEnvironment) -> Iterator[Mistake]:
    if not deployed.targets:
        yield ("targets",), "invalid_value", "at least one target is needed"
    for at, target in enumerate(deployed.targets):
        yield from _version_name(target.model, ("targets", at, "model"))
        if target.weight is not None:
            yield from _weight(target.weight, deployed.strategy, ("targets", at, "weight"))
    if deployed.targets and all(target.weight == 0 for target in deployed.targets):
        yield ("targets",), "invalid_value", "at least one weight must be above 0"
    yield from _unique([target.model for target in deployed.targets], ("targets",), "model")
    for at, fallback in enumerate(deployed.fallback):
        yield from _version_name(fallback.model, ("fallback", at, "model"))
    yield from _unique([fallback.model for fallback in deployed.fallback], ("fallback",), "model")


def _weight(weight: int, strategy: Strategy, path: PlainPath) -> Iterator[Mistake]:
    if strategy not in BUILT_STRATEGIES:
        return
    if strategy is not Strategy.WEIGHTED:
        yield path, "invalid_value", f"a weight has no effect with the strategy {strategy.value!r}; leave it out"
    elif not 0 <= weight <= WEIGHT_MAX:
        yield path, "invalid_value", f"must be from 0 to {WEIGHT_MAX}"


def _version_name(text: str, path: PlainPath) -> Iterator[Mistake]:
    name, at, version = text.partition("@")
    if not (at and NAME.fullmatch(name) and VERSION.fullmatch(version)):
        yield path, "invalid_value", f"{text!r} must name a version, as name@version"


def _timeouts(deployed: RouteEnvironment) -> Iterator[Mistake]:
    for name in ("connect_s", "first_event_s", "between_events_s", "total_s"):
        value = getattr(deployed.timeouts, name)
        if value is not None and not 0.001 <= value <= TIMEOUT_S_MAX:
            yield ("timeouts", name), "invalid_value", f"must be from 0.001 to {TIMEOUT_S_MAX:.0f} seconds"


def _account(limits: Limits, budget: Budget | None, path: PlainPath) -> Iterator[Mistake]:
    for name in ("requests_per_minute", "tokens_per_minute", "concurrency"):
        value = getattr(limits, name)
        if value is not None and not 1 <= value <= LIMIT_MAX:
            yield (*path, "limits", name), "invalid_value", "must be at least 1; leave it out for no limit"
    if budget is not None:
        yield from _money(budget.usd_per_month, (*path, "budget", "usd_per_month"))
        if budget.mode is not BudgetMode.STRICT:
            yield (*path, "budget", "mode"), "not_yet_supported", "a budget mode other than strict is not yet supported"


def _word(word: str, path: PlainPath) -> Iterator[Mistake]:
    if not NAME.fullmatch(word):
        yield path, "invalid_value", f"{word!r} is not a name: lower-case letters, digits, . _ -, at most 63"


def _unique(names: Sequence[str] | Iterable[str], path: PlainPath, field: str = "") -> Iterator[Mistake]:
    seen: set[str] = set()
    for at, name in enumerate(names):
        if name in seen:
            yield (*path, at, *([field] if field else [])), "duplicate", f"{str(name)!r} stands twice"
        seen.add(name)
