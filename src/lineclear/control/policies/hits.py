"""Every rule of every policy with how often it had a say, from the ledger.

In: policies, hits by rule and day. Out: one row per rule, in the order in which rules are asked. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from lineclear.control.policy_entries import rule_id
from lineclear.domain.manifest import Policy
from lineclear.observe.period import time_text
from lineclear.observe.rule_hits import RuleHits

WEEK_DAYS = 7


@dataclass(frozen=True)
class RuleFacts:
    """One rule of a policy."""

    policy: str
    rule: str
    """Its name inside the policy."""
    id: str
    """As refusals and records carry it."""
    when: dict[str, Any]  # Any: as manifests write it
    """Only the conditions that are given."""
    then: str
    route: str | None
    description: str
    hits_7d: int
    """Requests of the last seven days in UTC, today included, in whose record it stands."""
    hits_30d: int
    refused_30d: int
    """Those among them that were refused because a policy left no model."""
    hits_by_day: list[int]
    """Of the last seven days, oldest first; the last is today."""
    last_hit_at: str | None
    """ISO 8601; None = not in 30 days."""


def rule_facts(policies: Sequence[Policy], hits: Mapping[str, RuleHits]) -> list[RuleFacts]:
    """Every rule, policy by policy."""
    found: list[RuleFacts] = []
    for policy in policies:
        for check in policy.rules:
            id_ = rule_id(policy.name, check)
            hit = hits.get(id_, RuleHits())
            when: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(check.when))
            found.append(
                RuleFacts(
                    policy=policy.name,
                    rule=check.id,
                    id=id_,
                    when={name: value for name, value in when.items() if value not in (None, [])},
                    then=check.then.value,
                    route=check.route,
                    description=check.description,
                    hits_7d=sum(hit.by_day[-WEEK_DAYS:]),
                    hits_30d=sum(hit.by_day),
                    refused_30d=hit.refused,
                    hits_by_day=hit.by_day[-WEEK_DAYS:],
                    last_hit_at=time_text(hit.last_us) if hit.last_us else None,
                )
            )
    return found
