"""What control tells gateways, accountant and supervisor: sections, each content-addressed on its own.

Sections are JSON on disk, decoded with unknown fields refused: an ignored deny rule is a vanished one.
Names: `environments`, `apps`, `access/00`…`access/3f`, `catalogue`, `providers`, `sealed/credentials`,
`limits`, `policies`, `routes/<environment>/<route>`, `runtimes`, `stops`.
"""

import zlib
from typing import Any

import msgspec

from lineclear.domain.catalogue import (
    UNKNOWN_REGION,
    Capability,
    CostTier,
    DataClass,
    Engine,
    EnvironmentClass,
    ModelStatus,
    RiskTier,
    VendorState,
)
from lineclear.domain.exchange import Dialect, Operation
from lineclear.domain.guardrails import GuardrailRule
from lineclear.domain.money import Price
from lineclear.domain.parameters import ParameterValue
from lineclear.domain.policy_rules import PolicyEntry
from lineclear.domain.tools import ToolsEntry

ACCESS_SHARDS = 64
READER_VERSION = 3
"""The newest section format this program reads; a manifest with a higher `min_reader` is refused."""


class Section(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Base of everything that stands in a section."""


class KeyEntry(Section, frozen=True):
    """One API key as gateways see it; the key itself is nowhere."""

    id: str
    mac: str
    """HMAC-SHA-256(pepper, whole key text), 64 hex digits."""
    app: str
    environment: str
    expires_at: int | None
    """Unix seconds; None = does not expire."""


class AccessShard(Section, frozen=True):
    """The keys whose id falls into this shard."""

    keys: dict[str, KeyEntry]


class AppEntry(Section, frozen=True):
    """Who calls, and what it may call."""

    name: str
    team: str
    routes: tuple[str, ...]
    """Route names, or `*` for all of its environment. Empty means none."""


class AppsSection(Section, frozen=True):
    apps: dict[str, AppEntry]


class EnvironmentEntry(Section, frozen=True):
    name: str
    environment_class: EnvironmentClass
    guardrails: tuple[GuardrailRule, ...] = ()
    """In force on every route of it, whatever its release says; no rollback touches them."""
    data_classes: tuple[DataClass, ...] = ()
    """Of calls in it; the most sensitive one is the limit. Empty = any."""
    drill_every_s: int | None = None
    """How often control drills the rollback of every route of it; None = never by itself. Gateways do not care."""


class EnvironmentsSection(Section, frozen=True):
    environments: dict[str, EnvironmentEntry]


class ModelVersionEntry(Section, frozen=True):
    """One immutable callable thing, with the facts that gate it."""

    id: str
    """`name@version`."""
    model: str
    version: str
    provider: str
    """Provider name; `local` for a hosted model."""
    upstream_id: str
    """What the provider calls it."""
    runtime: str | None
    """The runtime's name for a hosted model; None for a vendor's."""
    status: ModelStatus
    approved_uses: tuple[str, ...]
    """Tasks it may serve; empty means any."""
    data_classes: tuple[DataClass, ...]
    """Data classes it may see; empty means any."""
    cost_tier: CostTier
    risk_tier: RiskTier
    price: Price | None
    """None = `unpriced`."""
    max_output_tokens: int | None
    """The most it can put out; None if unknown."""
    slow: bool
    """First events may take up to 60 s although another candidate exists (decision 26)."""
    successor: str | None
    """`name@version` or a route to use instead once retired."""
    operations: tuple[Operation, ...] | None = None
    """What it can be asked to do; None = whatever its provider's dialects spell."""
    replicas: int = 1
    """Runtime processes behind it; 1 for a vendor's."""
    deprecated_at: int | None = None
    """Unix seconds; None unless it is deprecated."""
    sunset: int | None = None
    """Unix seconds: when it is to be retired; None if that was not announced."""
    end_of_life: int | None = None
    """Unix seconds: when its vendor stops serving it; None if that was not announced."""
    prohibited_uses: tuple[str, ...] = ()
    """Tasks it must not serve."""
    context: int | None = None
    """Tokens of input and output together that it can hold; None if unknown."""
    brownouts: tuple[tuple[int, int], ...] = ()
    """Begin and end in unix seconds of the times in which it is not served; empty unless it is deprecated."""
    region: str = UNKNOWN_REGION
    """Of its provider; `local` for a hosted model."""
    vendor: VendorState = VendorState.VALID
    """How its vendor's record stands before `vendor_expires`."""
    vendor_expires: int | None = None
    """Unix seconds: when the first thing in its vendor's record runs out; None if nothing does."""
    capabilities: tuple[Capability, ...] = ()
    """What it can do beyond text; empty if its card does not say."""


class CatalogueSection(Section, frozen=True):
    versions: dict[str, ModelVersionEntry]


class ProviderEntry(Section, frozen=True):
    """Where a vendor is reached and how it speaks. Hosted models use the provider `local`, base_url `runtime:`."""

    name: str
    dialects: tuple[Dialect, ...]
    base_url: str
    private_network: bool
    egress_proxy: str = ""
    """`http://host:port`; empty = straight."""


class ProvidersSection(Section, frozen=True):
    providers: dict[str, ProviderEntry]


class CredentialEntry(Section, frozen=True):
    """One secret bound to a provider's origin. Lives only inside the sealed section."""

    id: str
    secret: str
    weight: int


class CredentialsSection(Section, frozen=True):
    """Content of `sealed/credentials`."""

    pepper: str
    """Hex of the key HMAC pepper."""
    credentials: dict[str, tuple[CredentialEntry, ...]]
    """By `provider/environment`; a provider without an entry is called without a credential."""
    egress_proxies: dict[str, CredentialEntry] = {}  # msgspec copies it for each struct
    """By provider: what its egress proxy is given, `user:password`; none for a proxy without an entry."""


class BudgetLimit(Section, frozen=True):
    nano_usd_per_month: int
    time_zone: str
    """IANA zone whose calendar month is the period."""


class AccountLimits(Section, frozen=True):
    """The limits of one account; None = no limit of that kind."""

    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrency: int | None
    budget: BudgetLimit | None


class LimitsSection(Section, frozen=True):
    """By account id: `team:NAME`, `app:NAME`, `route:ENVIRONMENT/NAME`. Only accounts that have a limit."""

    accounts: dict[str, AccountLimits]


class PoliciesSection(Section, frozen=True):
    """Every policy, sorted by name."""

    policies: tuple[PolicyEntry, ...] = ()


class TargetEntry(Section, frozen=True):
    model: str
    """`name@version`."""
    weight: int
    """Share among the targets, ≥ 0; 0 = drained but still a fallback."""


class Timeouts(Section, frozen=True):
    """Deadlines in seconds; None in first_event_s means the rule of decision 26 (12 s or 60 s)."""

    connect_s: float = 3.0
    first_event_s: float | None = None
    between_events_s: float = 60.0
    total_s: float = 600.0


class PromptEntry(Section, frozen=True):
    """A prompt compiled into segments: literal, variable, literal, … always starting with a literal."""

    name: str
    digest: str
    mode: str
    """`prepend` or `replace`."""
    segments: tuple[str, ...]
    """Literals at even places, variable names at odd places."""


class ReleaseEntry(Section, frozen=True):
    """The immutable manifest of one route, as gateways need it."""

    id: str
    """`rel_` + 16 hex of the digest."""
    digest: str
    targets: tuple[TargetEntry, ...]
    fallback: tuple[str, ...]
    """`name@version`, in order."""
    strategy: str
    """`weighted` or `priority`."""
    prompt: PromptEntry | None
    timeouts: Timeouts
    max_tokens: int | None
    """Output cap injected where a strict budget needs one and the caller gave none."""
    guardrails: tuple[GuardrailRule, ...] = ()
    parameters: dict[str, ParameterValue] = {}  # msgspec copies it for each struct
    """Set in requests whose caller set nothing, by `domain.parameters.Parameter`."""
    retrieval: dict[str, Any] = {}
    """Settings for the app, which fetches them with its configuration."""
    tools: ToolsEntry | None = None


class ShadowEntry(Section, frozen=True):
    """Copies of a route's calls are asked of its candidate, and nobody gets the answers."""

    run: str
    """Of the step; what comes of the copies is put on record under it."""
    share_bp: int
    """Of stable's calls, in basis points."""
    spend_cap_nano_usd: int


class RouteSection(Section, frozen=True):
    """One route in one environment."""

    route: str
    environment: str
    team: str
    tasks: tuple[str, ...]
    data_class: DataClass
    description: str
    generation: int
    stable: ReleaseEntry
    previous: tuple[ReleaseEntry, ...] = ()
    """What served before, at most ten, in the order in which a rollback takes them."""
    rolled_back_from: str = ""
    """Release id that was asked for and was rolled back; empty where the one asked for serves."""
    candidate: ReleaseEntry | None = None
    """The release that a rollout tries beside `stable`; None without one."""
    weight_bp: int = 0
    """The candidate's share of units in basis points, up to 9,999; at 0 nothing is dealt."""
    rollout: str = ""
    """Rollout id, the salt of the arms; empty without a candidate."""
    lease_s: float = 300.0
    """A gateway that has not seen control for so long gives the candidate nothing."""
    shadow: ShadowEntry | None = None
    """None while nothing is copied."""


class StopEntry(Section, frozen=True):
    """AI is stopped for a scope; who did it and why is told to whoever is refused."""

    scope: str
    """`all`, `app:NAME`, `route:ENVIRONMENT/NAME` or `provider:NAME`."""
    actor: str
    reason: str
    at_us: int
    """Unix microseconds."""


class StopsSection(Section, frozen=True):
    """Stops in force by scope."""

    stops: dict[str, StopEntry]


class RuntimeSpec(Section, frozen=True):
    """One hosted model version and how to run it. The supervisor reads this with the standard library."""

    name: str
    """File-name-safe and unique, e.g. `smollm2-135m-q4`; its socket is `rt-<name>.sock` in the run directory."""
    model: str
    """`name@version`."""
    engine: Engine
    artifact: str | None
    """Absolute path of the model file; None for `simulated`."""
    sha256: str | None
    settings: dict[str, int | str | bool]
    upstream_id: str
    replicas: int = 1
    """Processes behind the one endpoint; the supervisor starts each with a spec without this."""


class RuntimesSection(Section, frozen=True):
    runtimes: tuple[RuntimeSpec, ...]


class SnapshotManifest(Section, frozen=True):
    """The file `CURRENT`: which sections make up this revision."""

    epoch: int
    """Rises only by a restore; a lower revision is refused unless it rose."""
    revision: int
    min_reader: int
    created_at: str
    """ISO 8601, UTC."""
    sections: dict[str, str]
    """Section name to SHA-256 hex of its bytes on disk."""
    mac: str
    """HMAC-SHA-256 over the canonical JSON of the other fields, 64 hex digits."""
    overrides_folded: int = 0
    """The highest entry of the override journal that is part of this; readers apply those above it."""


def access_shard(key_id: str) -> int:
    """Which of the 64 access sections holds a key."""
    return zlib.crc32(key_id.encode()) % ACCESS_SHARDS


def access_section_name(shard: int) -> str:
    return f"access/{shard:02x}"


def route_section_name(environment: str, route: str) -> str:
    return f"routes/{environment}/{route}"
