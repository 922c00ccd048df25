"""Facts about exchanges, append-only: what gateways write to the spool and control ingests.

An intent is durable before a target is called, at most one settle follows it. A refusal is an exchange
that never reached an intent. Format changes raise `RECORD_VERSION`.
"""

from enum import StrEnum
from typing import Protocol, TypeAlias

import msgspec

from lineclear.domain.money import Usage

RECORD_VERSION = 1

INNER_KEY_PREFIX = "inner:"
"""How records name the key of a call that control made itself: `inner:replay`. No API key has a colon in its id."""

STEPS = ("head", "identify", "entry", "admit", "plan", "reserve", "attempt", "relay", "settle")
"""The walk's steps, in order; `steps_us` in records follows it."""


class Outcome(StrEnum):
    """How an exchange ended."""

    OK = "ok"
    REFUSED = "refused"
    """By us: policy, status, limit, budget, bad request."""
    REJECTED = "rejected"
    """The target answered 4xx to this request; passed on."""
    FAILED = "failed"
    """No target could answer."""
    TRUNCATED = "truncated"
    """Cut after content had gone out."""
    CLIENT_GONE = "client_gone"
    DEADLINE = "deadline"
    FAULT = "fault"
    """A defect or outage of ours."""
    UNKNOWN = "unknown"
    """The worker died; closed by control at the last checkpoint."""


class RecordBase(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """Arrays on the wire: order is the format."""


class Intent(RecordBase, frozen=True, tag="i"):
    """An exchange is about to call a target."""

    id: str
    at_us: int
    """Unix microseconds at which the request's head was complete."""
    environment: str
    team: str
    app: str
    key_id: str
    route: str
    release: str
    revision: int
    operation: str
    dialect: str
    task: str
    data_class: str
    stream: bool
    accounts: tuple[str, ...]
    """Account ids that took part in the reservation; empty if none has a limit."""
    reserved_nano_usd: int
    reserved_tokens: int
    model: str
    """First target, `name@version`."""
    provider: str
    price_version: str
    inbound_id: str
    """The caller's own request id, empty if none."""
    traceparent: str
    user_hash: str
    """Keyed hash of `x-lineclear-user`; empty if not given."""
    tags: str
    echo: str = ""
    """Release that the app says it was configured by; empty if it says nothing."""
    arm: str = ""
    """`stable` or `candidate`; empty where the route has no rollout under way."""
    rollout: str = ""
    weight_bp: int = 0
    """The candidate's weight in basis points when the arm was dealt; 0 while nobody watched."""
    unit_hash: str = ""
    """Keyed hash of whom the arm sticks to; empty where the request is its own unit."""


class Checkpoint(RecordBase, frozen=True, tag="c"):
    """Progress that must survive a crash: another attempt, or tokens streamed so far."""

    id: str
    at_us: int
    attempt: int
    """The attempt under way, from 1."""
    model: str
    provider: str
    usage: Usage
    cost_nano_usd: int
    """Cost of the exchange if it ended here."""


class AttemptRecord(RecordBase, frozen=True):
    """One try at one target."""

    attempt: int
    model: str
    provider: str
    attempt_class: str
    """AttemptClass."""
    status: int
    """The target's HTTP status; 0 if there was none."""
    error_code: str
    """ErrorCode; empty if it went well."""
    start_us: int
    """Since the start of the exchange."""
    duration_us: int
    upstream_id: str
    """The vendor's request id, empty if none."""
    cost_nano_usd: int
    """What this attempt cost; for all but the delivered one it goes to `waste`."""


class CandidateRecord(RecordBase, frozen=True):
    """One target considered, for `explain`."""

    model: str
    score: float
    """Rank within its strategy, higher first; 0 if excluded."""
    exclusion: str
    """Why it was left out; empty if it was not."""


class Settle(RecordBase, frozen=True, tag="s"):
    """The exchange ended; exactly one for each intent."""

    id: str
    at_us: int
    """Unix microseconds at the end."""
    outcome: str
    status: int
    """HTTP status sent to the caller; 0 if nothing was."""
    error_code: str
    model: str
    """The target that served it; empty if none did."""
    provider: str
    attempts: tuple[AttemptRecord, ...]
    candidates: tuple[CandidateRecord, ...]
    rules: tuple[str, ...]
    usage: Usage
    cost_nano_usd: int
    """Charged to the caller's accounts."""
    cost_basis: str
    waste_nano_usd: int
    """Cost of abandoned attempts, on nobody's budget."""
    price_version: str
    stop_reason: str
    model_echo: str
    response_id: str
    duration_us: int
    first_event_us: int
    """Until the first content event; 0 if none came."""
    steps_us: tuple[int, ...]
    request_bytes: int
    response_bytes: int
    malformed_events: int


class Refusal(RecordBase, frozen=True, tag="r"):
    """A known caller was turned away before any intent."""

    id: str
    at_us: int
    environment: str
    team: str
    app: str
    key_id: str
    route: str
    """As asked for; empty if the body named none."""
    release: str
    revision: int
    operation: str
    dialect: str
    status: int
    error_code: str
    rules: tuple[str, ...]
    candidates: tuple[CandidateRecord, ...]
    task: str
    duration_us: int
    inbound_id: str
    arm: str = ""
    """As in `Intent`, for a call that an arm's release refused."""
    rollout: str = ""
    weight_bp: int = 0
    unit_hash: str = ""
    data_class: str = ""
    """Of the call, once its route was found; "" before that."""


class Review(RecordBase, frozen=True, tag="v"):
    """A person's verdict on the output of one of an app's own requests."""

    id: str
    """Of the call that brought it."""
    at_us: int
    environment: str
    app: str
    key_id: str
    request: str
    """The exchange that it is about; whether it is the app's own is known where the ledger is."""
    outcome: str
    """ReviewOutcome."""
    reason: str
    reviewer: str
    """As the app names them; empty if it does not."""


class Mirrored(RecordBase, frozen=True, tag="m"):
    """A call that stable answered was asked of a rollout's candidate too, and nobody got that answer."""

    id: str
    """The copy's own exchange; one that was refused has no entry."""
    at_us: int
    run: str
    environment: str
    route: str
    request: str
    """The exchange that was copied."""
    text: str
    """`same`, `changed`, or `unknown` where not both texts were whole."""
    stable_outcome: str
    stable_status: int
    candidate_outcome: str
    error_code: str
    """Of the candidate; empty if it answered."""
    stable_bytes: int
    """Of text in the answer."""
    candidate_bytes: int
    stable_nano_usd: int
    candidate_nano_usd: int
    """What the copy cost, wasted attempts included."""
    is_unpriced: bool
    stable_us: int
    candidate_us: int


class Heartbeat(RecordBase, frozen=True, tag="h"):
    """This source is alive and everything before this record is complete; also the worker's pulse."""

    at_us: int
    counters: dict[str, int]
    """Cumulative since the worker started: names from docs/metrics.md."""


Record: TypeAlias = Intent | Checkpoint | Settle | Refusal | Heartbeat | Review | Mirrored


class LedgerSink(Protocol):
    """Where a gateway's records go. Appending never waits; durability is asked for by position."""

    def append(self, record: Record) -> int:
        """Queue a record for this tick's write.

        Returns:
            The position just past it; it is in the file once `flushed_to` reaches that.

        Raises:
            PlatformFault: `ledger_unavailable` if the spool cannot take it.
        """
        ...

    @property
    def flushed_to(self) -> int:
        """Everything before this position has been written to the file."""
        ...

    @property
    def accepts_intents(self) -> bool:
        """Whether a new exchange could be put on record now, as far as is known without trying."""
        ...

    async def flushed(self, position: int) -> None:
        """Wait until `flushed_to` ≥ position.

        Raises:
            PlatformFault: `ledger_unavailable` if the write failed; the record does not count.
        """
        ...
