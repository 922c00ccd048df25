"""Policies as they cross into the snapshot: every rule with its id and its hours in minutes.

In: Policy nouns. Out: `PolicyEntry`s, sorted by name. Pure.
"""

from collections.abc import Mapping

from lineclear.config.policy_rules import minutes_of
from lineclear.domain.manifest import Policy, PolicyCheck, PolicyTimes
from lineclear.domain.policy_rules import WEEKDAYS, PolicyAction, PolicyEntry, PolicyRule, PolicyTime


def policy_entries(policies: Mapping[str, Policy]) -> tuple[PolicyEntry, ...]:
    """Every policy, with its rules in their order."""
    return tuple(
        PolicyEntry(name, tuple(_rule(name, check) for check in policy.rules))
        for name, policy in sorted(policies.items())
    )


def rule_id(policy: str, check: PolicyCheck) -> str:
    """The id by which refusals and records name a rule: what follows, then whose it is."""
    return f"policy.{check.then.value}:{policy}/{check.id}"


def _rule(policy: str, check: PolicyCheck) -> PolicyRule:
    when = check.when
    return PolicyRule(
        id=rule_id(policy, check),
        then=PolicyAction(check.then.value),
        description=check.description,
        team=when.team,
        app=when.app,
        task=when.task,
        environment=when.environment,
        data_class=when.data_class,
        tag=when.tag,
        model=when.model,
        cost_tier=when.cost_tier,
        risk_tier=when.risk_tier,
        provider_region=when.provider_region,
        vendor_record=when.vendor_record,
        time=None if when.time is None else _time(when.time),
        route=check.route or "",
    )


def _time(time: PolicyTimes) -> PolicyTime:
    begin, end = minutes_of(time.hours or "")
    return PolicyTime(time.zone, tuple(WEEKDAYS.index(day) for day in time.days), begin, end)
