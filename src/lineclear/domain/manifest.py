"""What people write: the nouns of manifests as frozen values, one class per kind.

`config.manifest` reads files into these with every mistake at its position; `control` stores and compiles
them. Unknown fields are refused. A field listed here has an effect, or its value is refused as not yet built.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, TypeAlias

from lineclear.domain.access import Role
from lineclear.domain.catalogue import (
    Capability,
    CostTier,
    DataClass,
    EnvironmentClass,
    ModelStatus,
    RiskTier,
    VendorState,
)
from lineclear.domain.exchange import Operation
from lineclear.domain.guardrails import GuardrailAction, GuardrailSide
from lineclear.domain.notices import NoticeKind
from lineclear.domain.tools import ToolsMode


class Kind(StrEnum):
    """Kinds of manifest documents."""

    TEAM = "Team"
    APP = "App"
    PROVIDER = "Provider"
    MODEL = "Model"
    PROMPT = "Prompt"
    POLICY = "Policy"
    GUARDRAIL = "Guardrail"
    EVAL = "Eval"
    ROLLOUT = "Rollout"
    ENVIRONMENT = "Environment"
    ROUTE = "Route"


class Strategy(StrEnum):
    """How a route chooses among its targets."""

    WEIGHTED = "weighted"
    PRIORITY = "priority"
    LEAST_INFLIGHT = "least-inflight"
    LATENCY = "latency"
    COST = "cost"
    HEADROOM = "headroom"
    AFFINITY = "affinity"
    QUALITY = "quality"


class ProviderDialect(StrEnum):
    """Every dialect a manifest may name; `exchange.Dialect` holds those that are built."""

    OPENAI = "openai"
    OPENAI_RESPONSES = "openai-responses"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"
    BEDROCK = "bedrock"
    COHERE = "cohere"
    AZURE_OPENAI = "azure-openai"
    VERTEX = "vertex"
    OPEN_INFERENCE = "open-inference"


class EngineName(StrEnum):
    """Every engine a manifest may name; `catalogue.Engine` holds those that are built."""

    GGUF = "gguf"
    SIMULATED = "simulated"
    ONNX = "onnx"
    SKLEARN = "sklearn"
    PYTHON = "python"
    EXTERNAL = "external"


class PromptMode(StrEnum):
    """What a prompt does to the caller's own instructions."""

    PREPEND = "prepend"
    REPLACE = "replace"


class BudgetMode(StrEnum):
    """What happens when a budget is used up."""

    STRICT = "strict"
    SOFT = "soft"


class CaptureMode(StrEnum):
    """Whether prompts and answers are kept."""

    NONE = "none"
    REDACTED = "redacted"
    FULL = "full"


class PolicyThen(StrEnum):
    """What may follow when a rule of a policy holds; `policy_rules.PolicyAction` holds those that are built."""

    DENY = "deny"
    ALLOW = "allow"
    REQUIRE_ROUTE = "require_route"
    REQUIRE_REVIEW = "require_review"


class ManagedBy(StrEnum):
    """Where a noun is kept: who may change it without being told about drift."""

    BOOTSTRAP = "bootstrap"
    """Came with the product; anybody may take it over."""
    FILE = "file"
    CONSOLE = "console"
    CLI = "cli"


class Noun:
    """Base of everything written in a manifest."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}
    """Read by pydantic where files are checked: unknown fields and silent conversions are refused."""


@dataclass(frozen=True, kw_only=True)
class Limits(Noun):
    """Rates and concurrency of one account; None = no limit of that kind. All ≥ 1."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True, kw_only=True)
class Budget(Noun):
    """Money per calendar month in the team's time zone."""

    usd_per_month: str
    """Decimal text, at most nine digits after the point."""
    mode: BudgetMode = BudgetMode.STRICT


@dataclass(frozen=True, kw_only=True)
class NoticeChannel(Noun):
    """A way on which a team is told what happens to what it owns or calls. It has one of webhook, slack, email."""

    name: str
    webhook: str | None = None
    """URL that signed notices are posted to."""
    secret: str | None = None
    """`secret:NAME` of the key that webhooks are signed with."""
    slack: str | None = None
    """`secret:NAME` of the URL of an incoming webhook of Slack, which is a secret itself."""
    email: tuple[str, ...] = ()
    """Addresses."""
    on: tuple[NoticeKind, ...] = ()
    """What it gets; empty = all but `rollout`, `model` and `decision`."""


@dataclass(frozen=True, kw_only=True)
class Team(Noun):
    """Who owns and pays."""

    name: str
    description: str = ""
    time_zone: str = "UTC"
    """IANA name; months of the budgets of the team, its apps and its routes are counted there."""
    limits: Limits = Limits()
    budget: Budget | None = None
    notices: tuple[NoticeChannel, ...] = ()
    """Where the team is told what happens; its inbox has all of it anyway."""


@dataclass(frozen=True, kw_only=True)
class App(Noun):
    """A caller."""

    name: str
    team: str
    purpose: str = ""
    description: str = ""
    routes: tuple[str, ...] = ()
    """Route names it may call; `*` = all of its environment; empty = none."""
    limits: Limits = Limits()
    budget: Budget | None = None


class TrainingUse(StrEnum):
    """Whether a vendor trains on what it is sent."""

    NONE = "none"
    OPT_OUT = "opt-out"
    """Unless it is told not to, and it was told."""
    YES = "yes"


@dataclass(frozen=True, kw_only=True)
class Evidence(Noun):
    """A report or certificate that a vendor showed."""

    name: str
    """Such as `SOC 2 type II`."""
    expires: str
    """A day such as `2027-03-31`, or an instant; UTC."""


@dataclass(frozen=True, kw_only=True)
class VendorRecord(Noun):
    """What is known of a vendor's handling of what it is sent; the inventory says what is missing or has run out."""

    agreements: tuple[str, ...] = ()
    """Contracts in force, such as a data processing agreement."""
    retention_days: int | None = None
    """How long it keeps what it is sent; 0 = not at all, None = not known."""
    training_use: TrainingUse | None = None
    """Whether it trains on what it is sent; None = not known."""
    evidence: tuple[Evidence, ...] = ()
    sub_processors: tuple[str, ...] = ()
    """Who else gets it."""
    exit_plan: str = ""
    """How its models are left."""
    review_by: str | None = None
    """When all of this is to be looked at again; a day or an instant."""
    incident_contact: str = ""


@dataclass(frozen=True, kw_only=True)
class Provider(Noun):
    """A vendor or host."""

    name: str
    dialects: tuple[ProviderDialect, ...]
    base_url: str
    description: str = ""
    credential: str | dict[str, str] | None = None
    """`${VARIABLE}`, or one per environment; None = called without a credential."""
    private_network: bool = False
    """True permits loopback and private addresses."""
    egress_proxy: str | None = None
    """`http://host:port` of the proxy that every call to it goes through; None = straight."""
    egress_proxy_credential: str | None = None
    """`${VARIABLE}` or `secret:NAME` of the proxy's `user:password`; None = it asks for none."""
    region: str = ""
    """Where it handles what it is sent, such as `eu`; empty = not known."""
    vendor_record: VendorRecord | None = None


@dataclass(frozen=True, kw_only=True)
class PriceRow(Noun):
    """US dollars as decimal text: per million tokens of each bucket, and per answered request."""

    input_per_mtok: str = "0"
    output_per_mtok: str = "0"
    cache_read_per_mtok: str | None = None
    cache_write_per_mtok: str | None = None
    cache_write_1h_per_mtok: str | None = None
    audio_input_per_mtok: str | None = None
    audio_output_per_mtok: str | None = None
    per_request: str = "0"


@dataclass(frozen=True, kw_only=True)
class Brownout(Noun):
    """A time in which a deprecated version is not served, so that those who have not moved notice before it is gone."""

    starts: str
    """A day or an instant; UTC."""
    ends: str
    """As `starts`, and later."""


@dataclass(frozen=True, kw_only=True)
class ModelVersion(Noun):
    """One immutable callable thing: a vendor's model (`provider`) or a hosted one (`engine`)."""

    version: str
    provider: str | None = None
    upstream_id: str | None = None
    """What the provider calls it; the model's name for a hosted one."""
    engine: EngineName | None = None
    artifact: str | None = None
    """Path of the model file, relative to the manifest's directory; stored absolute."""
    sha256: str | None = None
    """Of the model file, 64 hex digits."""
    replicas: int = 1
    settings: dict[str, int | str | bool] = field(default_factory=dict)
    """The engine's own settings."""
    status: ModelStatus = ModelStatus.TEST
    price: PriceRow | None = None
    """None = from the price file where the vendor's model is known, else unpriced."""
    max_tokens: int | None = None
    """The most it can put out; None if unknown."""
    context: int | None = None
    """Tokens of input and output together that it can hold; None if unknown."""
    slow: bool = False
    operations: tuple[Operation, ...] = ()
    """What a vendor's model can be asked; empty = whatever its provider's dialects spell. Not for hosted ones."""
    successor: str | None = None
    """`name@version` to use instead once deprecated or retired."""
    deprecated_at: str | None = None
    """Since when callers are told to move: a day such as `2026-11-22`, or an instant; UTC. For deprecated versions."""
    sunset: str | None = None
    """When it is to be retired, as callers are told; not before `deprecated_at`, not after `end_of_life`."""
    end_of_life: str | None = None
    """When its vendor stops serving it; callers are told from now on, whatever the status."""
    brownouts: tuple[Brownout, ...] = ()
    """Times before the sunset in which it is not served. For deprecated versions."""
    capabilities: tuple[Capability, ...] = ()
    """What it can do beyond text; empty = not known."""


@dataclass(frozen=True, kw_only=True)
class CardLink(Noun):
    """Where more is said of a model."""

    name: str
    """Such as `licence`, `documentation` or `model card`."""
    url: str


@dataclass(frozen=True, kw_only=True)
class Model(Noun):
    """A catalogue card."""

    name: str
    owner: str
    """A team."""
    versions: tuple[ModelVersion, ...]
    purpose: str = ""
    approved_uses: tuple[str, ...] = ()
    """Tasks it may serve; empty = any."""
    prohibited_uses: tuple[str, ...] = ()
    """Tasks it must not serve."""
    limitations: str = ""
    risks: str = ""
    licence: str = ""
    """An SPDX name such as `Apache-2.0`, or the vendor's terms."""
    data_classes: tuple[DataClass, ...] = ()
    """Data classes it may see; empty = any."""
    cost_tier: CostTier = CostTier.STANDARD
    risk_tier: RiskTier = RiskTier.LIMITED
    links: tuple[CardLink, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Prompt(Noun):
    """Text put before or in place of the caller's instructions; `{{ name }}` stands for a variable."""

    name: str
    text: str
    mode: PromptMode = PromptMode.PREPEND
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class GuardrailCheck(Noun):
    """One rule of a guardrail: what it looks for, where, and what follows. It has one of the last four."""

    id: str
    """Its name inside the guardrail; refusals and records carry `guardrail/id`."""
    on: tuple[GuardrailSide, ...]
    action: GuardrailAction = GuardrailAction.BLOCK
    whole_words: bool = True
    """With `deny`: a phrase inside a longer word does not count."""
    detect: tuple[str, ...] = ()
    """Detectors by name; `secrets` is all formats of secrets."""
    deny: tuple[str, ...] = ()
    """Phrases that must not occur, whatever their case and spacing."""
    max_bytes: int | None = None
    """Most bytes of the request's body and variables, or of the answer's content; tokens are never more than bytes."""
    json_schema: dict[str, Any] | None = None
    """A JSON Schema that the answer's text has to meet."""


@dataclass(frozen=True, kw_only=True)
class Guardrail(Noun):
    """Checks of what is sent to models and of what they answer. Routes and environments name it."""

    name: str
    rules: tuple[GuardrailCheck, ...]
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class PolicyTimes(Noun):
    """A stretch of the week in one time zone. It has `days`, `hours` or both."""

    zone: str
    """IANA name."""
    days: tuple[str, ...] = ()
    """`mon` to `sun`; empty = every day."""
    hours: str | None = None
    """`08:00-18:00`; `22:00-06:00` ends on the next day and belongs to the day on which it begins. None = all day."""


@dataclass(frozen=True, kw_only=True)
class PolicyWhen(Noun):
    """When a rule holds: every condition that is given must, and of a list any one. None given = always."""

    team: tuple[str, ...] = ()
    """Of the app that calls."""
    app: tuple[str, ...] = ()
    task: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    data_class: tuple[DataClass, ...] = ()
    """Of the call."""
    tag: tuple[str, ...] = ()
    """Among those that the caller sends in `x-lineclear-tags`."""
    model: tuple[str, ...] = ()
    """`name` for all its versions, or `name@version`."""
    cost_tier: tuple[CostTier, ...] = ()
    risk_tier: tuple[RiskTier, ...] = ()
    provider_region: tuple[str, ...] = ()
    """Of the model's provider; `unknown` where it is not known, `local` for a hosted model."""
    vendor_record: tuple[VendorState, ...] = ()
    """How the record of the model's vendor stands when the call comes."""
    time: PolicyTimes | None = None


@dataclass(frozen=True, kw_only=True)
class PolicyCheck(Noun):
    """One rule of a policy. The first of a policy that holds decides."""

    id: str
    """Its name inside the policy; refusals and records carry `policy/id`."""
    when: PolicyWhen
    then: PolicyThen
    route: str | None = None
    """With `require_route`: through which such calls may go."""
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Policy(Noun):
    """Which models may serve which calls."""

    name: str
    rules: tuple[PolicyCheck, ...]
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class ExactCheck(Noun):
    """The answer is the text that the case expects, but for white space at its ends."""

    ignore_case: bool = False


@dataclass(frozen=True, kw_only=True)
class NumericCheck(Noun):
    """The last number of the answer is the one that the case expects, or as near as one of the tolerances."""

    tolerance: float = 0.0
    """How far off it may be."""
    relative: float = 0.0
    """The same as a share of the number that is expected."""


@dataclass(frozen=True, kw_only=True)
class SimilarityCheck(Noun):
    """The answer means what the case expects: the cosine between the vectors of the two texts."""

    route: str
    """Of embeddings."""
    at_least: float = 0.8


@dataclass(frozen=True, kw_only=True)
class JudgeCheck(Noun):
    """A model says how good the answer is, from 0 to 10, without being told which release it is of."""

    route: str
    """Of chats."""
    question: str
    """What it is asked of each answer."""
    repeats: int = 1
    """How often it is asked; the mean counts."""


@dataclass(frozen=True, kw_only=True)
class EvalCheck(Noun):
    """One thing that an answer is held to. It has one of the last seven."""

    id: str
    """Its name inside the Eval."""
    exact: ExactCheck | None = None
    regex: str = ""
    """A pattern that occurs in the answer."""
    json_schema: dict[str, Any] | None = None
    """A JSON Schema that the answer's text meets."""
    numeric: NumericCheck | None = None
    similarity: SimilarityCheck | None = None
    judge: JudgeCheck | None = None
    python: str = ""
    """An entry point of the group `lineclear.checks` among the packages of the server."""


@dataclass(frozen=True, kw_only=True)
class EvalVerdict(Noun):
    """What the answers of two releases to the same cases have to show."""

    margin: float = 0.02
    """Passed if the candidate's mean score is shown to be lower by less than this."""
    ratio: float = 1.25
    """Failed if among the cases that differ more than so many are shown to be worse for each better one."""
    alpha: float = 0.05
    """Each verdict is wrong with at most this probability."""


@dataclass(frozen=True, kw_only=True)
class Eval(Noun):
    """What the answers of a release to a dataset are held to, against those of another release."""

    name: str
    team: str
    dataset: str
    """`name` for what it holds when it is run, or `name@digest` for ever."""
    app: str
    """In whose name it calls; its limits and budget count."""
    checks: tuple[EvalCheck, ...] = ()
    """Beside that every case has to be answered at all."""
    verdict: EvalVerdict = EvalVerdict()
    spend_usd: str = "1"
    """The most that one run may cost, judges included."""
    description: str = ""
    at_least: float | None = None
    """What every check, `answered` too, has to score on average of a first release; None = it judges none by itself."""


@dataclass(frozen=True, kw_only=True)
class WeightStep(Noun):
    """A share of traffic for the candidate."""

    percent: float
    """Of units, from 0.01 to 99; each step has more than the one before."""
    bake_s: float = 600.0
    """It lasts at least so long."""
    min_requests: int = 200
    """The candidate has to have had so many requests at this share."""
    max_wait_s: float = 86_400.0
    """After so long without them it asks a person."""


@dataclass(frozen=True, kw_only=True)
class HoldbackStep(Noun):
    """The last step: nearly everything goes to the candidate, and the rest shows how it would have been."""

    percent: float = 5.0
    """Of units that stay on the release before."""
    duration_s: float = 86_400.0


@dataclass(frozen=True, kw_only=True)
class ShadowStep(Noun):
    """Copies of stable's calls are asked of the candidate, and nobody gets its answers."""

    percent: float = 10.0
    """Of stable's calls, by request."""
    min_copies: int = 300
    """Without so many it is not passed."""
    max_wait_s: float = 86_400.0
    """After so long without a verdict it asks a person."""
    spend_usd: str = "1.00"
    """What all copies together may cost; nobody's budget pays for them."""
    margin: float = 0.02
    """Passed if the candidate is shown to fail in a share of calls that is higher by less than this."""
    ratio: float = 1.25
    """Failed if among the calls that only one of them answers more than so many are stable's for each of the others."""
    alpha: float = 0.05
    """Each verdict is wrong with at most this probability."""


@dataclass(frozen=True, kw_only=True)
class ReplayStep(Noun):
    """A dataset goes through both releases; nobody but the dataset gets an answer of the candidate."""

    dataset: str
    """`name` or `name@digest`."""
    app: str
    """In whose name it calls; its limits and budget count."""
    max_changed: float = 1.0
    """The largest share of cases whose answers may differ; 1 = any."""
    spend_usd: str = "1"
    """The most that it may cost."""
    verdict: EvalVerdict = EvalVerdict()
    """Of the share of cases that are answered."""


@dataclass(frozen=True, kw_only=True)
class RolloutStep(Noun):
    """One step of a rollout; it has exactly one of these."""

    eval: str | None = None
    """An Eval that the candidate has to pass against stable."""
    replay: ReplayStep | None = None
    weight: WeightStep | None = None
    approval: bool = False
    """True: it waits until somebody else than who started it says yes."""
    shadow: ShadowStep | None = None
    holdback: HoldbackStep | None = None


@dataclass(frozen=True, kw_only=True)
class RolloutGuard(Noun):
    """What one guard tolerates."""

    ratio: float | None = None
    """How much worse than stable the candidate may be; None = the guard's own default."""
    floor: float | None = None
    """A rate up to this is no reason to roll back; None = the guard's own default."""


@dataclass(frozen=True, kw_only=True)
class RolloutCostGuard(Noun):
    """What the guard of the mean cost tolerates; there is no rate of it to compare with a floor."""

    ratio: float | None = None
    """How much dearer than stable the candidate may be; None = 1.1."""


@dataclass(frozen=True, kw_only=True)
class RolloutReviewGuard(Noun):
    """What the guard of people's reviews tolerates; an edit counts half."""

    ratio: float | None = None
    """How much worse than stable's the candidate's reviews may be; None = 1.25."""
    floor: float | None = None
    """A rate up to this is no reason to roll back; None = 0.005."""
    min_reviews: int = 0
    """Reviews of the candidate without which no weight step is over."""


@dataclass(frozen=True, kw_only=True)
class RolloutGuards(Noun):
    """What is watched; each one that is written may roll back."""

    error: RolloutGuard | None = None
    slow: RolloutGuard | None = None
    cost: RolloutCostGuard | None = None
    contract: RolloutGuard | None = None
    review: RolloutReviewGuard | None = None


@dataclass(frozen=True, kw_only=True)
class Rollout(Noun):
    """How a route's change reaches its callers. Routes name it; one under way keeps what it said at the start."""

    name: str
    steps: tuple[RolloutStep, ...]
    guards: RolloutGuards = RolloutGuards(error=RolloutGuard())
    alpha: float = 0.01
    """At most this share of harmless rollouts is rolled back."""
    hold_at: float = 20.0
    """Evidence, so many to 1, at which it is held."""
    lease_s: int = 300
    """A gateway that has not seen control for so long gives the candidate nothing."""
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class FreezeWindow(Noun):
    """A time in which nothing that serves in an environment is changed. In files `from_` is written `from`."""

    from_: str
    """ISO 8601 with its offset, e.g. `2026-12-20T00:00:00+01:00`."""
    to: str
    """As `from`, and later."""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Environment(Noun):
    """Where a route is deployed. In files `class_` is written `class`."""

    name: str
    class_: EnvironmentClass
    approvals: int = 0
    """How many other people have to approve what changes here; 0 = none, protection is off."""
    approver_roles: tuple[Role, ...] = ()
    """Of which an approver needs one besides the right to approve; empty = none."""
    approver_teams: tuple[str, ...] = ()
    """On one of which an approver needs a role of their own; empty = none."""
    freeze: tuple[FreezeWindow, ...] = ()
    """Times in which no change of routes, models, prompts or policies here is carried out; rollbacks are."""
    allowed_statuses: tuple[ModelStatus, ...] = ()
    """Statuses that a model version may have which a new release here names; empty = any."""
    allowed_data_classes: tuple[DataClass, ...] = ()
    """Of calls here; the most sensitive one is the limit. Empty = any."""
    description: str = ""
    guardrails: tuple[str, ...] = ()
    """In force on every route of it, whatever a release says."""
    drill_every_s: int | None = None
    """How often the rollback of every route here is drilled; None = only when somebody asks for it."""


@dataclass(frozen=True, kw_only=True)
class Target(Noun):
    """A model version and its share."""

    model: str
    """`name@version`."""
    weight: int | None = None
    """Share among weighted targets, 0 = drained; None = 1. Has no place where the order decides (priority)."""


@dataclass(frozen=True, kw_only=True)
class Fallback(Noun):
    """An ordered alternative."""

    model: str
    """`name@version`."""


@dataclass(frozen=True, kw_only=True)
class RouteTimeouts(Noun):
    """Deadlines in seconds; None = the default of `snapshot.Timeouts`."""

    connect_s: float | None = None
    first_event_s: float | None = None
    between_events_s: float | None = None
    total_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Parameters(Noun):
    """What a release sets in a request where the caller set nothing; a caller's own value wins."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    """The most tokens an answer may have."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer; for messages `stop_sequences`."""
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    reasoning_effort: str | None = None
    """How long a reasoning model thinks, in its vendor's words."""


@dataclass(frozen=True, kw_only=True)
class Tool(Noun):
    """One thing that a model may ask the app to do."""

    name: str
    description: str = ""
    """What it does, for the model."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """A JSON Schema of its arguments, of type object; empty = it takes none."""


@dataclass(frozen=True, kw_only=True)
class Tools(Noun):
    """The tools of a release, pinned with their definitions."""

    definitions: tuple[Tool, ...]
    mode: ToolsMode = ToolsMode.DEFAULT


@dataclass(frozen=True, kw_only=True)
class RouteEnvironment(Noun):
    """A route in one environment."""

    targets: tuple[Target, ...]
    strategy: Strategy = Strategy.WEIGHTED
    fallback: tuple[Fallback, ...] = ()
    prompt: str | None = None
    max_tokens: int | None = None
    """Output cap where a budget needs one and the caller gave none."""
    limits: Limits = Limits()
    budget: Budget | None = None
    timeouts: RouteTimeouts = RouteTimeouts()
    capture: CaptureMode = CaptureMode.NONE
    rollout: str = "immediate"
    """`immediate`, or a Rollout: how a change of it reaches callers. The first release is, once its gates let it."""
    guardrails: tuple[str, ...] = ()
    """Pinned in the release, with what they say now."""
    parameters: Parameters = Parameters()
    retrieval: dict[str, Any] = field(default_factory=dict)
    """Settings that the app fetches with its configuration; no request carries them."""
    tools: Tools | None = None


@dataclass(frozen=True, kw_only=True)
class Route(Noun):
    """The public name that apps send in the wire field `model`."""

    name: str
    team: str
    environments: dict[str, RouteEnvironment]
    tasks: tuple[str, ...] = ()
    data_class: DataClass = DataClass.INTERNAL
    description: str = ""


Manifest: TypeAlias = Team | App | Provider | Model | Prompt | Policy | Guardrail | Eval | Rollout | Environment | Route

KIND_CLASSES: dict[Kind, type[Manifest]] = {
    Kind.TEAM: Team,
    Kind.APP: App,
    Kind.PROVIDER: Provider,
    Kind.MODEL: Model,
    Kind.PROMPT: Prompt,
    Kind.POLICY: Policy,
    Kind.GUARDRAIL: Guardrail,
    Kind.EVAL: Eval,
    Kind.ROLLOUT: Rollout,
    Kind.ENVIRONMENT: Environment,
    Kind.ROUTE: Route,
}
"""Every kind."""


def kind_of(manifest: Manifest) -> Kind:
    """The kind of a noun."""
    return Kind(type(manifest).__name__)


def model_version_id(model: str, version: str) -> str:
    """`name@version`."""
    return f"{model}@{version}"
