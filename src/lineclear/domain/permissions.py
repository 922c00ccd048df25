"""What an admin API call may do: the closed set of `resource:action` names.

Every endpoint of the admin API names one of these, or `public`; docs and tests read the same list.
"""

from enum import StrEnum


class Permission(StrEnum):
    """One thing that a principal may be allowed to do."""

    PUBLIC = "public"
    """Asks for no identity: health answers only."""
    CHANGE_PLAN = "change:plan"
    CHANGE_APPLY = "change:apply"
    CHANGE_APPROVE = "change:approve"
    CHANGE_READ = "change:read"
    CATALOGUE_READ = "catalogue:read"
    MODEL_APPROVE = "model:approve"
    MODEL_DEPRECATE = "model:deprecate"
    MODEL_RETIRE = "model:retire"
    MODEL_BLOCK = "model:block"
    ROUTE_READ = "route:read"
    RELEASE_PROMOTE = "release:promote"
    ROLLBACK_MAKE = "rollback:make"
    ROLLOUT_OPERATE = "rollout:operate"
    STOP_MAKE = "stop:make"
    DRILL_RUN = "drill:run"
    EVALUATION_RUN = "evaluation:run"
    REVIEW_WRITE = "review:write"
    NOTICE_READ = "notice:read"
    NOTICE_SEND = "notice:send"
    KEY_READ = "key:read"
    KEY_CREATE = "key:create"
    KEY_REVOKE = "key:revoke"
    SECRET_READ = "secret:read"  # noqa: S105 - a permission's name
    SECRET_SET = "secret:set"  # noqa: S105 - as above
    SECRET_REMOVE = "secret:remove"  # noqa: S105 - as above
    PROVIDER_TEST = "provider:test"
    LEDGER_READ = "ledger:read"
    PAYLOAD_READ = "payload:read"
    AUDIT_READ = "audit:read"
    AUDIT_EXPORT = "audit:export"
    STATUS_READ = "status:read"
    METRICS_READ = "metrics:read"
    SESSION_CREATE = "session:create"
    SESSION_READ = "session:read"
    SESSION_END = "session:end"
    TEST_MESSAGE_SEND = "test-message:send"
    MEMBER_READ = "member:read"
    MEMBER_MANAGE = "member:manage"
    GRANT_READ = "grant:read"
    GRANT_MANAGE = "grant:manage"
    TOKEN_READ = "token:read"  # noqa: S105 - as above
    TOKEN_CREATE = "token:create"  # noqa: S105 - as above
    TOKEN_REVOKE = "token:revoke"  # noqa: S105 - as above
    BREAK_GLASS_REVIEW = "break-glass:review"
    SELF = "self:use"
    """What everybody who is signed in may do with what is their own: who am I, my password, my tokens."""
