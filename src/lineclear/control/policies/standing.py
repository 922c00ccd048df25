"""What gateways decide from, as control would publish it now: the same sections, judged by the same functions.

In: the database. Out: decoded sections and judgements of a route's models. Must not decide anything of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from lineclear.control.compile import compile_state
from lineclear.control.publish import Publisher, read_state
from lineclear.domain.admission import Exclusion, judge_target, refused_there, release_models
from lineclear.domain.catalogue import DataClass
from lineclear.domain.errors import ErrorCode
from lineclear.domain.evidence import Arm
from lineclear.domain.exchange import Operation
from lineclear.domain.policy_rules import PolicyEntry
from lineclear.domain.snapshot import (
    AppEntry,
    AppsSection,
    CatalogueSection,
    EnvironmentEntry,
    EnvironmentsSection,
    ModelVersionEntry,
    PoliciesSection,
    ProviderEntry,
    ProvidersSection,
    RouteSection,
    Section,
    StopEntry,
    StopsSection,
)

SectionT = TypeVar("SectionT", bound=Section)


@dataclass(frozen=True)
class Standing:
    """What stands now, by name."""

    environments: Mapping[str, EnvironmentEntry]
    apps: Mapping[str, AppEntry]
    providers: Mapping[str, ProviderEntry]
    versions: Mapping[str, ModelVersionEntry]
    routes: Mapping[tuple[str, str], RouteSection]
    """By (environment, route)."""
    policies: tuple[PolicyEntry, ...]
    stops: Mapping[str, StopEntry]

    def route(self, environment: str, name: str, arm: Arm = Arm.STABLE) -> RouteSection | None:
        """A route with the release of an arm as its stable one; None if there is none."""
        section = self.routes.get((environment, name))
        if section is None or arm is Arm.STABLE:
            return section
        return None if section.candidate is None else msgspec.structs.replace(section, stable=section.candidate)

    def judged(
        self, section: RouteSection, operation: Operation, task: str, data_class: DataClass, down: str = ""
    ) -> dict[str, Exclusion | None]:
        """Every model of a route's stable release, and why its card or its provider keeps it from a call.

        Args:
            section: the route.
            operation: asked for.
            task: of the call.
            data_class: of the call.
            down: a provider that is taken to be unreachable; empty = none.
        """
        environment = self.environments[section.environment]
        refused = refused_there(environment, data_class)
        if refused is not None:
            return dict.fromkeys(release_models(section.stable), refused)
        found: dict[str, Exclusion | None] = {}
        for model in release_models(section.stable):
            version = self.versions[model]
            provider = self.providers[version.provider]
            stop = self.stops.get(f"provider:{provider.name}")
            found[model] = judge_target(
                version, provider, stop, section.stable, environment.environment_class, operation, task, data_class
            )
            if found[model] is None and provider.name == down:
                reason = f"{model} is served by {down}, which is taken to be down"
                found[model] = Exclusion(ErrorCode.NO_HEALTHY_TARGET, "provider.down", reason)
        return found


def read_standing(publisher: Publisher) -> Standing:
    """What the database says now.

    Raises:
        CompileRefused: it says nothing that could be served.
    """
    with publisher.database.read() as tx:
        state = read_state(tx, publisher.vault)
    sections = compile_state(state, publisher.prices).sections
    routes = [_decode(content, RouteSection) for name, content in sections.items() if name.startswith("routes/")]
    return Standing(
        environments=_decode(sections["environments"], EnvironmentsSection).environments,
        apps=_decode(sections["apps"], AppsSection).apps,
        providers=_decode(sections["providers"], ProvidersSection).providers,
        versions=_decode(sections["catalogue"], CatalogueSection).versions,
        routes={(section.environment, section.route): section for section in routes},
        policies=_decode(sections["policies"], PoliciesSection).policies,
        stops=_decode(sections["stops"], StopsSection).stops,
    )


def _decode(content: bytes, section_type: type[SectionT]) -> SectionT:
    return msgspec.json.decode(content, type=section_type)
