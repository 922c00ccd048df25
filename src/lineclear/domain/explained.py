"""The words for what is known of a request: one label per fact, one sentence per kind of end.

In: names and members of closed sets. Out: words, the same on the command line, over the API and in the console. Pure;
`observe.explain` puts values to them. A code's own page is docs/errors.md; here is what it means for one request.
"""

from enum import StrEnum
from typing import Final

import msgspec

from lineclear.domain.errors import AttemptClass, ErrorCode
from lineclear.domain.ledger import Outcome
from lineclear.domain.money import CostBasis


class Verdict(StrEnum):
    """What a check said."""

    PASSED = "passed"
    REFUSED = "refused"
    """It ended the request."""
    LEFT_OUT = "left_out"
    """It took one candidate out; others may have stayed."""
    NOT_REACHED = "not_reached"
    """The request had ended before."""
    NOT_APPLICABLE = "not_applicable"
    """There is nothing of the kind to hold the request to."""
    NOT_KNOWN = "not_known"
    """Nothing was recorded that says it."""


class Check(StrEnum):
    """What a request is held to, in the order of the walk."""

    KEY = "key"
    BODY = "body"
    GRANT = "grant"
    TASK = "task"
    DATA_CLASS = "data_class"
    CANDIDATE = "candidate"
    GUARDRAIL = "guardrail"
    HEALTH = "health"
    VARIABLES = "variables"
    LIMIT = "limit"
    RECORD = "record"
    ANSWER = "answer"


class Advice(msgspec.Struct, frozen=True, gc=False):
    """What an error code means and what to do next."""

    meaning: str
    """A clause that fits behind `because`."""
    next_step: str
    """What the reader can do; a command where there is one."""
    stage: Check | None = None
    """The check that says so; None where it is no check's."""


CHECKS: Final[dict[Check, str]] = {
    Check.KEY: "the key is known, not revoked and not expired",
    Check.BODY: "the body can be read and names a route",
    Check.GRANT: "the app may call this route in this environment",
    Check.TASK: "the task is one of the route's",
    Check.DATA_CLASS: "the data class is the route's or higher, and allowed there",
    Check.CANDIDATE: "its card and the policies allow the call",
    Check.GUARDRAIL: "no guardrail objects to what was sent",
    Check.HEALTH: "a model that may serve is neither throttled nor ejected",
    Check.VARIABLES: "the prompt's variables were sent; no fault asked of a vendor",
    Check.LIMIT: "budget, requests, tokens and concurrency have room",
    Check.RECORD: "the call was put on record before it was sent",
    Check.ANSWER: "no guardrail objects to what was answered",
}
"""What each check holds a request to; short enough for a table."""

VERDICTS: Final[dict[Verdict, str]] = {
    Verdict.PASSED: "passed",
    Verdict.REFUSED: "refused",
    Verdict.LEFT_OUT: "left out",
    Verdict.NOT_REACHED: "not reached",
    Verdict.NOT_APPLICABLE: "nothing to check",
    Verdict.NOT_KNOWN: "not known",
}

OUTCOMES: Final[dict[Outcome, str]] = {
    Outcome.OK: "it was answered",
    Outcome.REFUSED: "it was refused by us before any model was called",
    Outcome.REJECTED: "the model's server refused this very request, and its answer was passed on",
    Outcome.FAILED: "no model could answer it",
    Outcome.TRUNCATED: "the answer broke off after part of it had gone out",
    Outcome.CLIENT_GONE: "the caller hung up before the end",
    Outcome.DEADLINE: "its time was up before the end",
    Outcome.FAULT: "the platform failed to handle it",
    Outcome.UNKNOWN: "the worker died under it; how it ended is not known, and it was closed at its last checkpoint",
}

ATTEMPT_CLASSES: Final[dict[AttemptClass, str]] = {
    AttemptClass.OK: "answered",
    AttemptClass.NOT_SENT: "nothing was sent, so another try is safe",
    AttemptClass.REJECTED: "turned away undone, so another try is safe",
    AttemptClass.AMBIGUOUS: "sent and not answered: perhaps done, perhaps billed",
    AttemptClass.PARTIAL: "broke off in the middle of the answer; nothing is replayed",
    AttemptClass.CLIENT_ERROR: "the request itself was refused; no other model is asked",
    AttemptClass.POLICY: "refused for its content; no other model is asked",
}

COST_BASES: Final[dict[CostBasis, str]] = {
    CostBasis.REPORTED: "as the vendor stated it",
    CostBasis.PRICED: "tokens times the price in force then",
    CostBasis.ESTIMATED: "estimated, because the vendor did not say how many tokens it used",
    CostBasis.UNPRICED: "not known: this model version has no price",
}

STEPS: Final[dict[str, str]] = {
    "head": "read the header fields",
    "identify": "find the key's app",
    "entry": "receive and read the body",
    "admit": "check grants, task and models",
    "plan": "rank the candidates",
    "reserve": "reserve limits and budget, write the intent",
    "attempt": "wait for a model's first content",
    "relay": "pass the answer on",
    "settle": "count, charge, write the settle",
}

BUCKETS: Final[dict[str, str]] = {
    "input": "input tokens",
    "cache_read": "input tokens read from the vendor's cache",
    "cache_write": "input tokens written to the vendor's cache",
    "cache_write_1h": "input tokens written to the vendor's cache for an hour",
    "output": "output tokens",
    "reasoning": "reasoning tokens",
    "audio_input": "audio input tokens",
    "audio_output": "audio output tokens",
    "request": "the request itself",
}

RULES: Final[dict[str, str]] = {
    "task.not-listed": "the route does not list this task",
    "status.test": "a model in status test serves test environments only",
    "status.retired": "the model version is retired",
    "status.blocked": "the model version is blocked",
    "status.brownout": "the model version is deprecated and was in a brownout",
    "use.not-approved": "the model is not approved for this task",
    "use.prohibited": "the model must not serve this task",
    "data-class.above-card": "the data is more sensitive than the model's card allows",
    "environment.data-class": "the environment takes no data as sensitive as this",
    "operation.not-offered": "the model cannot do what was asked",
    "operation.no-prompt": "the route's prompt has no place in this operation",
    "operation.no-parameter": "a parameter of the route has no place in this operation",
    "operation.no-tools": "the operation or the model takes no tools as the route has",
    "dialect.not-spoken": "the model does not speak the call's dialect",
    "route.no-target": "the route has no target",
    "policy.deny": "a policy denies the model to such calls",
    "policy.require_route": "a policy asks for another route",
    "policy.allow": "a policy allows the model to such calls",
    "guardrail.detect": "it held what a detector looks for",
    "guardrail.deny": "it held a denied phrase",
    "guardrail.size": "it was larger than the guardrail allows",
    "guardrail.schema": "the answer did not meet the schema",
    "key.revoked": "the key was revoked, and its open answers were ended",
    "stop.all": "AI is stopped for everybody",
    "stop.app": "AI is stopped for the app",
    "stop.route": "AI is stopped on the route",
    "stop.provider": "the model's provider is stopped",
    "rollout.unmonitored": "nobody was seen to watch, so the candidate got no traffic",
    "rollout.shadow": "it was a copy for a rollout's step of shadow",
    "limit.budget": "the month's budget does not cover the call",
    "limit.requests": "too many requests a minute",
    "limit.tokens": "too many tokens a minute",
    "limit.concurrency": "too many calls at once",
}
"""Ids of rules that refuse or leave out, as `x-lineclear-policy` and `error.rules` carry them.

The id of a limit says whose it is, too: `limit_rule`.
"""


def limit_rule(binding: str, account: str) -> str:
    """The id of the limit that refused, such as `limit.requests:app:shop`: its kind, then the account it belongs to."""
    return f"limit.{binding}:{account}"


def rule_kind(rule: str) -> str:
    """The rule among RULES that an id names, without whose it is."""
    return rule.partition(":")[0]


def rule_account(rule: str) -> str:
    """The account whose limit a rule is; empty if it is no limit."""
    return rule.partition(":")[2]


_CALLER = "change the request; docs/errors.md says how, and error.hint of the answer said it of this one"
_LATER = "try again later"
_VENDOR = "look at the vendor's state page; a fallback in the route would have answered"

ADVICE: Final[dict[ErrorCode, Advice]] = {
    ErrorCode.INVALID_REQUEST: Advice("a field of the request is missing or wrong", _CALLER, Check.BODY),
    ErrorCode.INVALID_JSON: Advice("the body is not one JSON object", _CALLER, Check.BODY),
    ErrorCode.DUPLICATE_KEY: Advice("the body names a key twice", _CALLER, Check.BODY),
    ErrorCode.INVALID_HEADER: Advice("a header of ours cannot be read", _CALLER, Check.KEY),
    ErrorCode.CONFLICTING_CREDENTIALS: Advice("two headers carried different keys", "send one key", Check.KEY),
    ErrorCode.SIMULATE_FORBIDDEN: Advice(
        "a fault was asked for where faults are not simulated", "leave x-lineclear-simulate out", Check.VARIABLES
    ),
    ErrorCode.TASK_REQUIRED: Advice(
        "the route serves several tasks and none was named", "send x-lineclear-task with one of them", Check.TASK
    ),
    ErrorCode.VARIABLE_MISSING: Advice(
        "the route's prompt needs a variable that was not sent", "send it as x-lineclear-var-NAME", Check.VARIABLES
    ),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: Advice(
        "the body is not plain JSON", "send content-type: application/json without content encoding", Check.BODY
    ),
    ErrorCode.NOT_YET_SUPPORTED: Advice("it asked for something that is not built yet", _CALLER, Check.BODY),
    ErrorCode.OPERATION_NOT_SUPPORTED: Advice(
        "no model of the route can do what was asked",
        "call another route; `lineclear routes list` shows them",
        Check.CANDIDATE,
    ),
    ErrorCode.INVALID_API_KEY: Advice(
        "the key is missing, unknown, revoked or expired", "`lineclear keys create` makes one", Check.KEY
    ),
    ErrorCode.BUDGET_EXCEEDED: Advice(
        "the month's budget of team, app or route does not cover it",
        "raise the budget in the manifest and `lineclear apply` it, or wait for the next month",
        Check.LIMIT,
    ),
    ErrorCode.TASK_NOT_ALLOWED: Advice(
        "the route does not serve this task",
        "use one of the route's tasks; `lineclear routes show` lists them",
        Check.TASK,
    ),
    ErrorCode.DATA_CLASS_REFUSED: Advice(
        "the data is more sensitive than the environment takes, or than every model of the route may see",
        "use a key of an environment, and a route with models, that may see this data",
        Check.CANDIDATE,
    ),
    ErrorCode.USE_NOT_APPROVED: Advice(
        "no model of the route is approved for this task",
        "add the task to approved_uses of a model, or use another route",
        Check.CANDIDATE,
    ),
    ErrorCode.MODEL_NOT_APPROVED: Advice(
        "no model of the route is approved for this environment",
        "set status: approved in the model's manifest and `lineclear apply` it",
        Check.CANDIDATE,
    ),
    ErrorCode.MODEL_BLOCKED: Advice(
        "every model of the route is blocked, or its model was while it answered",
        "ask the model's owner why; `lineclear models show` names it",
        Check.CANDIDATE,
    ),
    ErrorCode.GUARDRAIL_BLOCKED: Advice(
        "a guardrail of the route or its environment found what must not be sent or answered",
        "take out what the message names, or ask the route's team; the rule's id says which guardrail",
        Check.GUARDRAIL,
    ),
    ErrorCode.POLICY_DENIED: Advice(
        "a policy keeps every model of the route from it that could serve otherwise",
        "ask whose policy it is; the rule's id names it",
        Check.CANDIDATE,
    ),
    ErrorCode.MODEL_RETIRED: Advice(
        "every model of the route is retired",
        "call a route that serves the successor that the answer named",
        Check.CANDIDATE,
    ),
    ErrorCode.BROWNOUT: Advice(
        "a deprecated model was not served for a while, so that its callers notice before it is gone",
        "call a route that serves the successor that the answer named, or `lineclear models replace` on the route",
        Check.CANDIDATE,
    ),
    ErrorCode.MODEL_NOT_FOUND: Advice(
        "there is no such route that the key may call",
        "grant the route to the app in its manifest, or call one of `GET /v1/models`",
        Check.GRANT,
    ),
    ErrorCode.NOT_FOUND: Advice("there is nothing at that path", _CALLER),
    ErrorCode.METHOD_NOT_ALLOWED: Advice("the path is not for that method", _CALLER),
    ErrorCode.REQUEST_TIMEOUT: Advice("the request did not arrive in time", "send it again", Check.BODY),
    ErrorCode.BODY_TOO_LARGE: Advice("the body is too large", "send a smaller request", Check.BODY),
    ErrorCode.URI_TOO_LONG: Advice("the URL is too long", _CALLER),
    ErrorCode.HEADERS_TOO_LARGE: Advice("the header is too large", _CALLER),
    ErrorCode.RATE_LIMITED: Advice(
        "a limit of requests or tokens a minute was reached",
        "wait as long as retry-after said, or raise the limit in the manifest",
        Check.LIMIT,
    ),
    ErrorCode.CONCURRENCY_LIMITED: Advice(
        "too many calls were under way at once", "wait for one to end, or raise the limit in the manifest", Check.LIMIT
    ),
    ErrorCode.UPSTREAM_UNREACHABLE: Advice(
        "no connection to the model's server came about", "check base_url and the network; `lineclear status`"
    ),
    ErrorCode.UPSTREAM_TIMEOUT: Advice(
        "the model's server was silent for too long", "raise the route's timeouts, or add a fallback"
    ),
    ErrorCode.UPSTREAM_AUTH: Advice(
        "the model's server refused our credential", "set the provider's credential anew and `lineclear apply` it"
    ),
    ErrorCode.UPSTREAM_QUOTA: Advice(
        "our account with the vendor is out of money or quota", "settle it with the vendor; add a fallback meanwhile"
    ),
    ErrorCode.UPSTREAM_RATE_LIMITED: Advice(
        "the vendor throttles us", "wait as long as retry-after said, or add a fallback", Check.HEALTH
    ),
    ErrorCode.UPSTREAM_OVERLOADED: Advice("the model's server was overloaded", _LATER + ", or add a fallback"),
    ErrorCode.UPSTREAM_ERROR: Advice("the model's server failed", _VENDOR),
    ErrorCode.UPSTREAM_REFUSED: Advice(
        "the model's server refused this very request", "change the request as its own message says"
    ),
    ErrorCode.UPSTREAM_BAD_RESPONSE: Advice("the model's server broke its own protocol", _VENDOR),
    ErrorCode.UPSTREAM_TRUNCATED: Advice(
        "the model's server stopped in the middle", "send it again; what came is incomplete"
    ),
    ErrorCode.NO_HEALTHY_TARGET: Advice(
        "every target of the route was out of service", "`lineclear status` shows what is down", Check.HEALTH
    ),
    ErrorCode.OVERLOADED: Advice("a queue was full", _LATER),
    ErrorCode.ACCOUNTANT_UNAVAILABLE: Advice(
        "the accountant, which keeps budgets, did not answer", _LATER + "; `lineclear status` shows it", Check.LIMIT
    ),
    ErrorCode.LEDGER_UNAVAILABLE: Advice(
        "the call could not be put on record, so it was not made",
        "make room on the disk of the data directory",
        Check.RECORD,
    ),
    ErrorCode.CONTROL_UNAVAILABLE: Advice("control was away", _LATER + "; `lineclear status` shows it"),
    ErrorCode.SERVER_DRAINING: Advice("this process was going down", "send it again; another one answers"),
    ErrorCode.STOPPED: Advice(
        "somebody stopped AI for this app, route or provider, or for everybody",
        "ask whom the message names; `lineclear start SCOPE` lifts it, `lineclear status` lists what is stopped",
        Check.CANDIDATE,
    ),
    ErrorCode.NOT_READY: Advice("the gateway had no configuration yet", _LATER),
    ErrorCode.INTERNAL_ERROR: Advice("of a defect of ours", "please report it with the request id"),
}

LABELS: Final[dict[str, str]] = {
    "id": "request",
    "kind": "kind",
    "at": "began",
    "settled_at": "settled",
    "duration_ms": "took, ms",
    "first_event_ms": "first event after, ms",
    "environment": "environment",
    "team": "team",
    "app": "app",
    "key_id": "key",
    "task": "task",
    "data_class": "data class",
    "user_hash": "user, hashed",
    "tags": "tags",
    "asked": "asked for",
    "echoed_release": "app configured by",
    "route": "route",
    "release": "release",
    "revision": "revision",
    "operation": "operation",
    "dialect": "dialect",
    "stream": "stream",
    "model": "model",
    "provider": "provider",
    "model_echo": "model as the vendor named it",
    "response_id": "response's id",
    "outcome": "outcome",
    "status": "HTTP status",
    "error_code": "error code",
    "stop_reason": "stop reason",
    "rules": "rules that refused",
    "accounts": "limits and budgets asked",
    "reserved_usd": "reserved, USD",
    "reserved_tokens": "reserved tokens",
    "cost_usd": "cost, USD",
    "cost_basis": "cost basis",
    "price_version": "price",
    "waste_usd": "waste, USD",
    "attempt_count": "attempts",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
    "cache_read_tokens": "read from the vendor's cache",
    "cache_write_tokens": "written to the vendor's cache",
    "cache_write_1h_tokens": "written to the vendor's cache for an hour",
    "reasoning_tokens": "reasoning tokens",
    "audio_input_tokens": "audio input tokens",
    "audio_output_tokens": "audio output tokens",
    "reported_cost_usd": "cost stated by the vendor, USD",
    "request_bytes": "request bytes",
    "response_bytes": "response bytes",
    "malformed_events": "malformed events",
    "inbound_id": "caller's own id",
    "traceparent": "trace",
    "upstream_id": "vendor's id",
    "attempt": "attempt",
    "attempt_class": "how it ended",
    "start_ms": "began after, ms",
    "score": "score",
    "exclusion": "why left out",
    "check": "check",
    "about": "of",
    "verdict": "verdict",
    "detail": "detail",
    "bucket": "bucket",
    "tokens": "tokens",
    "usd_per_mtok": "USD per million tokens",
}
"""What each fact of an explanation is called where people read it."""


_ADVICE_BY_TEXT: Final[dict[str, Advice]] = {code.value: advice for code, advice in ADVICE.items()}


def advice_on(error_code: str) -> Advice | None:
    """What a recorded error code means and what to do; None for one that this program does not know."""
    return _ADVICE_BY_TEXT.get(error_code)


WITHHELD: Final = "a model answered, and its answer was withheld"
ENDED: Final = "an override ended it while a model was at work on it"
ENDING: Final = frozenset({ErrorCode.INVALID_API_KEY.value, ErrorCode.MODEL_BLOCKED.value, ErrorCode.STOPPED.value})
"""Codes with which an override ends open answers; before a model is called they are plain refusals."""


def outcome_words(outcome: str, error_code: str = "", model: str = "") -> str:
    """The clause for a recorded outcome, `model` being the one that worked on it; the outcome itself if not known."""
    if outcome == Outcome.REFUSED and error_code == ErrorCode.GUARDRAIL_BLOCKED and model:
        return WITHHELD
    if outcome == Outcome.REFUSED and error_code in ENDING and model:
        return ENDED
    return next((words for member, words in OUTCOMES.items() if member == outcome), outcome)


def attempt_words(attempt_class: str) -> str:
    """The clause for a recorded attempt class; the class itself if this program does not know it."""
    return next((words for member, words in ATTEMPT_CLASSES.items() if member == attempt_class), attempt_class)


def basis_words(cost_basis: str) -> str:
    """The clause for a recorded cost basis; the basis itself if this program does not know it."""
    return next((words for member, words in COST_BASES.items() if member == cost_basis), cost_basis)


def label(fact: str) -> str:
    """What a fact is called; the name itself with spaces where it has no words of its own."""
    return LABELS.get(fact) or fact.replace("_", " ")
