"""What each route would do if a provider were unreachable.

In: what stands, a provider. Out: one row for each route, environment and task that has to do with it. Policies that
look at the caller are left out of account: they are asked of each call. Those that look at the time are asked of now.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lineclear.control.policies.standing import Standing
from lineclear.domain.admission import Exclusion
from lineclear.domain.exchange import Operation
from lineclear.domain.policy import Asked, Caller, exclusion_by, fits_caller, left_of
from lineclear.domain.policy_rules import PolicyRule
from lineclear.domain.snapshot import RouteSection


@dataclass(frozen=True)
class RouteOutage:
    """One route with one task in one environment."""

    environment: str
    route: str
    team: str
    task: str
    operation: str
    serves_now: list[str]
    """Models in the order of the release."""
    would_serve: list[str]
    outcome: str
    """others_serve | nothing_serves"""
    reasons: list[str]
    """Why each model that would not serve does not."""


def outages(standing: Standing, provider: str, now_us: int) -> list[RouteOutage]:
    """Every route that the provider serves now, in any operation and task, without it."""
    return [
        found
        for section in standing.routes.values()
        for task in section.tasks or ("",)
        for operation in Operation
        if (found := _outage(standing, section, operation, task, provider, now_us)) is not None
    ]


def _outage(
    standing: Standing, section: RouteSection, operation: Operation, task: str, provider: str, now_us: int
) -> RouteOutage | None:
    asked = Asked(section.environment, section.route, task, section.data_class)
    judged = standing.judged(section, operation, task, section.data_class)
    now = _ruled(standing, asked, judged, now_us)
    judged = standing.judged(section, operation, task, section.data_class, provider)
    without = _ruled(standing, asked, judged, now_us)
    serves = list(_serving(now))
    if not any(standing.versions[model].provider == provider for model in serves):
        return None
    would = list(_serving(without))
    return RouteOutage(
        environment=section.environment,
        route=section.route,
        team=section.team,
        task=task,
        operation=operation.value,
        serves_now=serves,
        would_serve=would,
        outcome="others_serve" if would else "nothing_serves",
        reasons=[found.reason for found in without.values() if found is not None],
    )


def _serving(judged: Mapping[str, Exclusion | None]) -> Iterator[str]:
    return (model for model, exclusion in judged.items() if exclusion is None)


def _ruled(
    standing: Standing, asked: Asked, judged: dict[str, Exclusion | None], now_us: int
) -> dict[str, Exclusion | None]:
    """With the policies whose answer does not rest on the caller."""
    for model, exclusion in judged.items():
        if exclusion is None:
            version = standing.versions[model]
            found = [_certain(left_of(policy, asked, version), now_us) for policy in standing.policies]
            judged[model] = exclusion_by([rule for rule in found if rule is not None], asked, version)
    return judged


def _certain(rules: Sequence[PolicyRule], now_us: int) -> PolicyRule | None:
    """The rule of a policy that decides now, whoever calls; None if that cannot be said."""
    for rule in rules:
        if rule.team or rule.app or rule.tag:
            return None
        if fits_caller(rule, Caller("", "", (), now_us)):
            return rule
    return None
