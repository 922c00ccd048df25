"""Every way a request can end other than well, in three families by whose fault it is.

    LineclearError
    ├── CallerError       the request must change; nothing was sent
    ├── UpstreamError     a target failed; `sent` says whether bytes reached it
    └── PlatformFault     we could not; trying again later may help

A code is stable and documented in docs/errors.md. HTTP statuses and bodies are `wire.problems`' knowledge.
"""

from enum import StrEnum

from lineclear.domain.accounts import Granted


class Fault(StrEnum):
    """Who has to act."""

    CALLER = "caller"
    UPSTREAM = "upstream"
    PLATFORM = "platform"


class Sent(StrEnum):
    """Whether bytes of the request can have reached a target."""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"


class ErrorCode(StrEnum):
    """The closed set of stable error codes."""

    # the caller's
    INVALID_REQUEST = "invalid_request"
    INVALID_JSON = "invalid_json"
    DUPLICATE_KEY = "duplicate_key"
    INVALID_HEADER = "invalid_header"
    CONFLICTING_CREDENTIALS = "conflicting_credentials"
    SIMULATE_FORBIDDEN = "simulate_forbidden"
    TASK_REQUIRED = "task_required"
    VARIABLE_MISSING = "variable_missing"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    NOT_YET_SUPPORTED = "not_yet_supported"
    OPERATION_NOT_SUPPORTED = "operation_not_supported"
    INVALID_API_KEY = "invalid_api_key"
    BUDGET_EXCEEDED = "budget_exceeded"
    TASK_NOT_ALLOWED = "task_not_allowed"
    DATA_CLASS_REFUSED = "data_class_refused"
    USE_NOT_APPROVED = "use_not_approved"
    MODEL_NOT_APPROVED = "model_not_approved"
    MODEL_BLOCKED = "model_blocked"
    GUARDRAIL_BLOCKED = "guardrail_blocked"
    POLICY_DENIED = "policy_denied"
    MODEL_RETIRED = "model_retired"
    MODEL_NOT_FOUND = "model_not_found"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    BODY_TOO_LARGE = "body_too_large"
    URI_TOO_LONG = "uri_too_long"
    HEADERS_TOO_LARGE = "headers_too_large"
    RATE_LIMITED = "rate_limited"
    CONCURRENCY_LIMITED = "concurrency_limited"
    # the upstream's
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_AUTH = "upstream_auth"
    UPSTREAM_QUOTA = "upstream_quota"
    UPSTREAM_RATE_LIMITED = "upstream_rate_limited"
    UPSTREAM_OVERLOADED = "upstream_overloaded"
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_REFUSED = "upstream_refused"
    UPSTREAM_BAD_RESPONSE = "upstream_bad_response"
    UPSTREAM_TRUNCATED = "upstream_truncated"
    # ours
    NO_HEALTHY_TARGET = "no_healthy_target"
    BROWNOUT = "brownout"
    OVERLOADED = "overloaded"
    ACCOUNTANT_UNAVAILABLE = "accountant_unavailable"
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    CONTROL_UNAVAILABLE = "control_unavailable"
    SERVER_DRAINING = "server_draining"
    STOPPED = "stopped"
    NOT_READY = "not_ready"
    INTERNAL_ERROR = "internal_error"


class LineclearError(Exception):
    """The root: a stable code, a message for the person reading, and what to do next.

    Attributes:
        code: stable name of the kind.
        message: what happened, where and why; never a secret, an internal URL or a prompt.
        hint: what the reader can do next; empty if nothing helps.
        rules: ids of the rules that refused, for `x-lineclear-policy`.
        retry_after_ms: how long to wait before another try; None if waiting is not the answer.
        param: the request field at fault, as a path such as `messages.0.role`.
        is_spent: we have tried as often as one request may; the caller's client should not multiply that.
        successor: what replaces a retired model.
        known_names: names the caller may use instead, for `model_not_found`.
        left: what is left of limits and budget, where one of them refused and it is known.
    """

    fault: Fault = Fault.PLATFORM

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        hint: str = "",
        rules: tuple[str, ...] = (),
        retry_after_ms: int | None = None,
        param: str | None = None,
        successor: str | None = None,
        known_names: tuple[str, ...] = (),
        left: Granted | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.rules = rules
        self.retry_after_ms = retry_after_ms
        self.param = param
        self.successor = successor
        self.is_spent = False
        self.known_names = known_names
        self.left = left


class CallerError(LineclearError):
    """The request has to change before it can succeed. Nothing was sent to a target."""

    fault = Fault.CALLER


class PlatformFault(LineclearError):
    """Lineclear could not do its part. Nothing is known to be wrong with the request."""

    fault = Fault.PLATFORM


class AttemptClass(StrEnum):
    """How one try ended, as `recover` reads it.

    Source: research/reliability-security.md §3, table of attempt classes.
    """

    OK = "ok"
    NOT_SENT = "not_sent"
    REJECTED = "rejected"
    AMBIGUOUS = "ambiguous"
    PARTIAL = "partial"
    CLIENT_ERROR = "client_error"
    POLICY = "policy"


class UpstreamError(LineclearError):
    """One try at one target failed.

    Attributes:
        attempt_class: what may follow (see AttemptClass).
        sent: whether request bytes can have reached the target.
        status: the target's HTTP status, None if there was none.
        body: the target's sanitised error body for a pass-through (4xx only), else empty.
        has_sibling: another process of the same target has not been asked and may be, at once.
        phase: connect | send | head | first_event | between_events | total, for timeouts and cuts; also pool, dns,
            egress, tls (nothing sent), reused (an idle connection broke unanswered) and body (after the head).
    """

    fault = Fault.UPSTREAM

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        attempt_class: AttemptClass,
        sent: Sent,
        status: int | None = None,
        body: bytes = b"",
        phase: str = "",
        retry_after_ms: int | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(code, message, hint=hint, retry_after_ms=retry_after_ms)
        self.attempt_class = attempt_class
        self.sent = sent
        self.status = status
        self.body = body
        self.phase = phase
        self.has_sibling = False


class ClientGone(Exception):
    """The caller hung up. An outcome, not an error: nobody is left to be told."""
