"""Policies: which models of a route may serve a call, by typed rules. Pure, so that gateways and `explain` agree.

In one policy the first rule that holds decides. Policies do not know each other: one that says no is enough. A rule
is asked of each model on its own, and a call whose every model is excluded is refused.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from lineclear.domain.admission import Exclusion
from lineclear.domain.catalogue import DataClass, VendorState, data_class_rank
from lineclear.domain.errors import ErrorCode
from lineclear.domain.policy_rules import PolicyAction, PolicyEntry, PolicyRule, PolicyTime
from lineclear.domain.snapshot import ModelVersionEntry


class Asked(msgspec.Struct, frozen=True, gc=False):
    """What is asked for: known when a snapshot is compiled."""

    environment: str
    route: str
    task: str
    data_class: DataClass
    lowest: DataClass | None = None
    """The route's own data class, where the caller named a higher one; None = it is the call's."""


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Who asks, and when: known when a call comes."""

    team: str
    app: str
    tags: tuple[str, ...]
    at_us: int
    """Unix microseconds."""


class Condition(msgspec.Struct, frozen=True, gc=False):
    """One condition of a rule and whether it held."""

    field: str
    holds: bool
    is_about: str
    """What it was held against."""


def tags_of(text: str) -> tuple[str, ...]:
    """The tags of `x-lineclear-tags`: separated by commas, spaces around them do not count."""
    return tuple(tag for tag in (part.strip() for part in text.split(",")) if tag) if text else ()


def fits_asked(rule: PolicyRule, asked: Asked, version: ModelVersionEntry) -> bool:
    """Whether the conditions hold that rest neither on the caller nor on the time."""
    return (
        (not rule.environment or asked.environment in rule.environment)
        and (not rule.task or asked.task in rule.task)
        and (not rule.data_class or _is_of_class(rule, asked))
        and (not rule.model or version.id in rule.model or version.model in rule.model)
        and (not rule.cost_tier or version.cost_tier in rule.cost_tier)
        and (not rule.risk_tier or version.risk_tier in rule.risk_tier)
        and (not rule.provider_region or version.region in rule.provider_region)
    )


def _is_of_class(rule: PolicyRule, asked: Asked) -> bool:
    """Naming a higher class evades nothing: of what is against a call, lower ones down to the route's count too, and
    what lets one pass has to let the route's pass as well: an allow, and a route asked for that it is on.
    """
    if rule.then is PolicyAction.ALLOW or (rule.then is PolicyAction.REQUIRE_ROUTE and asked.route == rule.route):
        return asked.data_class in rule.data_class and (asked.lowest is None or asked.lowest in rule.data_class)
    if asked.data_class in rule.data_class:
        return True
    if asked.lowest is None:
        return False
    lowest, highest = data_class_rank(asked.lowest), data_class_rank(asked.data_class)
    return any(lowest <= data_class_rank(one) < highest for one in rule.data_class)


def dated(rule: PolicyRule, version: ModelVersionEntry) -> PolicyRule | None:
    """The rule with its condition on the vendor's record told by the clock; None if it never holds for the model."""
    if not rule.vendor_record:
        return rule
    before = version.vendor in rule.vendor_record
    expires_s = version.vendor_expires
    if expires_s is None:
        return rule if before else None
    is_gap = version.vendor is VendorState.INCOMPLETE and before
    if VendorState.EXPIRED in rule.vendor_record or is_gap:
        return rule if before else msgspec.structs.replace(rule, from_s=expires_s)
    return msgspec.structs.replace(rule, until_s=expires_s) if before else None


def fits_caller(rule: PolicyRule, caller: Caller) -> bool:
    """Whether the conditions hold that rest on the caller and the time."""
    return (
        (not rule.team or caller.team in rule.team)
        and (not rule.app or caller.app in rule.app)
        and (not rule.tag or any(tag in rule.tag for tag in caller.tags))
        and (rule.time is None or is_within(rule.time, caller.at_us))
        and (rule.from_s is None or caller.at_us >= rule.from_s * 1_000_000)
        and (rule.until_s is None or caller.at_us < rule.until_s * 1_000_000)
    )


def is_within(time: PolicyTime, at_us: int) -> bool:
    """Whether an instant lies in a stretch of the week, by the clock of its zone."""
    local = datetime.fromtimestamp(at_us // 1_000_000, UTC).astimezone(ZoneInfo(time.zone))
    minute, weekday = local.hour * 60 + local.minute, local.weekday()
    if time.from_minute < time.to_minute:
        return (not time.days or weekday in time.days) and time.from_minute <= minute < time.to_minute
    if minute >= time.from_minute:
        return not time.days or weekday in time.days
    # After midnight it is still the stretch that began the day before.
    return minute < time.to_minute and (not time.days or (weekday - 1) % 7 in time.days)


def excludes(rule: PolicyRule, asked: Asked) -> bool:
    """Whether a rule that decides keeps the model from the call."""
    if rule.then is PolicyAction.REQUIRE_ROUTE:
        return asked.route != rule.route
    return rule.then is PolicyAction.DENY


def deciding(
    policies: Iterable[PolicyEntry], asked: Asked, caller: Caller, version: ModelVersionEntry
) -> list[PolicyRule]:
    """The rule of each policy that decides about a model; policies in which none holds are left out."""
    found = (
        next((rule for rule in left_of(policy, asked, version) if fits_caller(rule, caller)), None)
        for policy in policies
    )
    return [rule for rule in found if rule is not None]


def left_of(policy: PolicyEntry, asked: Asked, version: ModelVersionEntry) -> tuple[PolicyRule, ...]:
    """The rules that can still decide once all but the caller is known: the first whose caller fits does."""
    left: list[PolicyRule] = []
    for rule in policy.rules:
        timed = dated(rule, version) if fits_asked(rule, asked, version) else None
        if timed is not None:
            left.append(timed)
            if not timed.rests_on_caller:
                break
    return tuple(left)


def exclusion_by(rules: Sequence[PolicyRule], asked: Asked, version: ModelVersionEntry) -> Exclusion | None:
    """Why deciding rules keep a model from a call; None if they do not."""
    against = [rule for rule in rules if excludes(rule, asked)]
    if not against:
        return None
    first = against[0]
    why = f": {first.description}" if first.description else ""
    says = f"asks for route {first.route!r}" if first.then is PolicyAction.REQUIRE_ROUTE else "denies it"
    return Exclusion(
        ErrorCode.POLICY_DENIED,
        first.id,
        f"{version.id} may not serve it: the policy rule {first.whose} {says}{why}",
        route=first.route,
        also=tuple(rule.id for rule in against[1:]),
    )


def conditions_of(rule: PolicyRule, asked: Asked, caller: Caller, version: ModelVersionEntry) -> Iterator[Condition]:
    """Every condition that a rule gives, and whether it holds."""
    alone = PolicyRule(rule.id, rule.then, route=rule.route)
    facts = {
        "team": caller.team,
        "app": caller.app,
        "task": asked.task,
        "environment": asked.environment,
        "data_class": asked.data_class.value,
        "tag": ", ".join(caller.tags),
        "model": version.id,
        "cost_tier": version.cost_tier.value,
        "risk_tier": version.risk_tier.value,
        "provider_region": version.region,
        "vendor_record": _vendor_words(version, caller.at_us),
        "time": datetime.fromtimestamp(caller.at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    for field, fact in facts.items():
        value = getattr(rule, field)
        if value:
            only = msgspec.structs.replace(alone, **{field: value})
            left = left_of(PolicyEntry("", (only,)), asked, version)
            yield Condition(field, any(fits_caller(one, caller) for one in left), fact)


def _vendor_words(version: ModelVersionEntry, at_us: int) -> str:
    if version.vendor_expires is None or at_us < version.vendor_expires * 1_000_000:
        return version.vendor.value
    is_gap = version.vendor is VendorState.INCOMPLETE
    return f"{VendorState.EXPIRED.value}, {version.vendor.value}" if is_gap else VendorState.EXPIRED.value
