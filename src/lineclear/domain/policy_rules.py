"""One rule of a policy as it crosses into the snapshot: when it holds and what follows.

Compiled by control, read by gateways. `domain.policy` says whether a rule holds.
"""

from enum import StrEnum

import msgspec

from lineclear.domain.catalogue import CostTier, DataClass, RiskTier, VendorState

MINUTES_PER_DAY = 1_440
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class PolicyAction(StrEnum):
    """What follows when a rule is the first of its policy that holds."""

    DENY = "deny"
    """The model may not serve the call."""
    ALLOW = "allow"
    """The policy has nothing against it; rules below are not asked. Other policies are."""
    REQUIRE_ROUTE = "require_route"
    """The model may serve the call through one route only."""


class PolicyTime(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A stretch of the week in one time zone."""

    zone: str
    """IANA name."""
    days: tuple[int, ...] = ()
    """0 = Monday; empty = every day."""
    from_minute: int = 0
    """Of the day; included."""
    to_minute: int = MINUTES_PER_DAY
    """Not included. Not above `from_minute`: it ends on the next day and belongs to the day on which it began."""


class PolicyRule(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """Every condition that is given must hold; of a list any one. A condition that is not given holds."""

    id: str
    """What follows and whose it is, such as `policy.deny:no-costly-drafts/drafts-stay-cheap`."""
    then: PolicyAction
    description: str = ""
    team: tuple[str, ...] = ()
    """Of the app that calls."""
    app: tuple[str, ...] = ()
    task: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    data_class: tuple[DataClass, ...] = ()
    tag: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    """`name` for all its versions, or `name@version`."""
    cost_tier: tuple[CostTier, ...] = ()
    risk_tier: tuple[RiskTier, ...] = ()
    time: PolicyTime | None = None
    route: str = ""
    """Of `require_route`."""
    provider_region: tuple[str, ...] = ()
    """Of the model's provider; `unknown` and `local` for those without one."""
    vendor_record: tuple[VendorState, ...] = ()
    """Of the model's vendor."""
    from_s: int | None = None
    """Unix seconds: since when it holds. Never in a section: `domain.policy` sets both for a vendor's dates."""
    until_s: int | None = None
    """Unix seconds: from when on it holds no more."""

    @property
    def whose(self) -> str:
        """`policy/rule`, as people wrote it."""
        return self.id.partition(":")[2]

    @property
    def rests_on_caller(self) -> bool:
        """Whether it takes more to know than the route, the task, the data class and the model."""
        is_timed = self.time is not None or self.from_s is not None or self.until_s is not None
        return is_timed or bool(self.team or self.app or self.tag)


class PolicyEntry(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One policy: rules in their order."""

    name: str
    rules: tuple[PolicyRule, ...]
