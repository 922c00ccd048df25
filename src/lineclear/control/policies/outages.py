"""What each route would do if a provider were unreachable.

In: what stands, a provider. Out: one row for each route, environment and task that has to do with it. Policies that
look at the caller are left out of account: they are asked of each call.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lineclear.control.policies.standing import Standing
from lineclear.domain.admission import Exclusion
from lineclear.domain.exchange import Operation
from lineclear.domain.policy import Asked, exclusion_by, left_of
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


def outages(standing: Standing, provider: str) -> list[RouteOutage]:
    """Every route that the provider serves now, in any operation and task, without it."""
    return [
        found
        for section in standing.routes.values()
        for task in section.tasks or ("",)
        for operation in Operation
        if (found := _outage(standing, section, operation, task, provider)) is not None
    ]


def _outage(
    standing: Standing, section: RouteSection, operation: Operation, task: str, provider: str
) -> RouteOutage | None:
    now = _ruled(standing, section, task, standing.judged(section, operation, task, section.data_class))
    without = _ruled(standing, section, task, standing.judged(section, operation, task, section.data_class, provider))
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
    standing: Standing, section: RouteSection, task: str, judged: dict[str, Exclusion | None]
) -> dict[str, Exclusion | None]:
    """With the policies whose answer does not rest on the caller."""
    asked = Asked(section.environment, section.route, task, section.data_class)
    for model, exclusion in judged.items():
        if exclusion is None:
            version = standing.versions[model]
            left = [left_of(policy, asked, version) for policy in standing.policies]
            certain = [rules[0] for rules in left if rules and not rules[0].rests_on_caller]
            judged[model] = exclusion_by(certain, asked, version)
    return judged
