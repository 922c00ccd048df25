"""Policies: which models of a route may serve a call, by typed rules. Pure, so that gateways and `explain` agree.

In one policy the first rule that holds decides. Policies do not know each other: one that says no is enough. A rule
is asked of each model on its own, and a call whose every model is excluded is refused.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from lineclear.domain.admission import Exclusion
from lineclear.domain.catalogue import DataClass
from lineclear.domain.errors import ErrorCode
from lineclear.domain.policy_rules import PolicyAction, PolicyEntry, PolicyRule, PolicyTime
from lineclear.domain.snapshot import ModelVersionEntry


class Asked(msgspec.Struct, frozen=True, gc=False):
    """What is asked for: known when a snapshot is compiled."""

    environment: str
    route: str
    task: str
    data_class: DataClass


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
    """Whether the conditions hold that do not rest on the caller."""
    return (
        (not rule.environment or asked.environment in rule.environment)
        and (not rule.task or asked.task in rule.task)
        and (not rule.data_class or asked.data_class in rule.data_class)
        and (not rule.model or version.id in rule.model or version.model in rule.model)
        and (not rule.cost_tier or version.cost_tier in rule.cost_tier)
        and (not rule.risk_tier or version.risk_tier in rule.risk_tier)
    )


def fits_caller(rule: PolicyRule, caller: Caller) -> bool:
    """Whether the conditions hold that rest on the caller and the time."""
    return (
        (not rule.team or caller.team in rule.team)
        and (not rule.app or caller.app in rule.app)
        and (not rule.tag or any(tag in rule.tag for tag in caller.tags))
        and (rule.time is None or is_within(rule.time, caller.at_us))
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
        next((rule for rule in policy.rules if fits_asked(rule, asked, version) and fits_caller(rule, caller)), None)
        for policy in policies
    )
    return [rule for rule in found if rule is not None]


def left_of(policy: PolicyEntry, asked: Asked, version: ModelVersionEntry) -> tuple[PolicyRule, ...]:
    """The rules that can still decide once all but the caller is known: the first whose caller fits does."""
    left: list[PolicyRule] = []
    for rule in policy.rules:
        if fits_asked(rule, asked, version):
            left.append(rule)
            if not rule.rests_on_caller:
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
    alone = PolicyRule(rule.id, rule.then)
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
        "time": datetime.fromtimestamp(caller.at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    for field, fact in facts.items():
        value = getattr(rule, field)
        if value:
            only = msgspec.structs.replace(alone, **{field: value})
            yield Condition(field, fits_asked(only, asked, version) and fits_caller(only, caller), fact)
