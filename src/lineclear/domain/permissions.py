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
    CHANGE_READ = "change:read"
    CATALOGUE_READ = "catalogue:read"
    ROUTE_READ = "route:read"
    KEY_READ = "key:read"
    KEY_CREATE = "key:create"
    KEY_REVOKE = "key:revoke"
    SECRET_READ = "secret:read"  # noqa: S105 - a permission's name
    SECRET_SET = "secret:set"  # noqa: S105 - as above
    SECRET_REMOVE = "secret:remove"  # noqa: S105 - as above
    PROVIDER_TEST = "provider:test"
    LEDGER_READ = "ledger:read"
    AUDIT_READ = "audit:read"
    STATUS_READ = "status:read"
    METRICS_READ = "metrics:read"
    SESSION_CREATE = "session:create"
    SESSION_READ = "session:read"
    SESSION_END = "session:end"
    TEST_MESSAGE_SEND = "test-message:send"
