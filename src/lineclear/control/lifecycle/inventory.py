"""The inventory: what exists, who owns it, who calls it, what it costs, until when, and what replaces it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from lineclear.config.manifest_rules import RESERVED_PROVIDER
from lineclear.control.desired import Desired
from lineclear.control.lifecycle.callers import CallerFacts
from lineclear.domain.catalogue import instant_s
from lineclear.domain.manifest import ModelVersion, RouteEnvironment
from lineclear.domain.money import nano_usd, usd_text
from lineclear.domain.vendors import vendor_problems

DAY_S = 86_400


@dataclass(frozen=True)
class InventoryRow:
    """One model version."""

    model: str
    """`name@version`"""
    provider: str
    status: str
    owner: str
    purpose: str
    routes: list[str]
    """`environment/route` of every deployment whose file names it."""
    prompts: list[str]
    """Prompts of those deployments: what else has to be looked at when the version changes."""
    guardrails: list[str]
    """Guardrails of those deployments."""
    callers: list[CallerFacts]
    """Of the last 30 days, the busiest first."""
    requests: int
    """In 30 days."""
    cost_usd: str
    """In 30 days."""
    last_call_at: str | None
    """ISO 8601, to the hour; None = not in 30 days."""
    successor: str | None
    deprecated_at: str | None
    sunset: str | None
    end_of_life: str | None
    licence: str
    capabilities: list[str]
    prohibited_uses: list[str]
    context: int | None
    region: str
    """Of its vendor; empty for a hosted version, and where it is not known."""
    vendor_problems: list[str]
    """In words, what is missing or has run out in its vendor's record; empty for a hosted version."""
    days_left: int | None
    """Until the earlier of sunset and end of life, below 0 if it has passed; None = no date is known."""


@dataclass(frozen=True)
class Inventory:
    """Every version, what goes first at the top."""

    versions: list[InventoryRow]


def inventory(desired: Desired, callers: Mapping[str, list[CallerFacts]], now_s: int) -> Inventory:
    """The inventory of a state."""
    used: dict[str, dict[str, RouteEnvironment]] = {}
    for route in desired.routes.values():
        for environment, deployed in route.environments.items():
            named = [*(item.model for item in deployed.targets), *(item.model for item in deployed.fallback)]
            for id_ in dict.fromkeys(named):
                used.setdefault(id_, {})[f"{environment}/{route.name}"] = deployed
    rows = []
    for id_, (model, version) in sorted(desired.versions.items()):
        mine = callers.get(id_, [])
        provider = desired.providers.get(version.provider or "")
        rows.append(
            InventoryRow(
                model=id_,
                provider=version.provider or RESERVED_PROVIDER,
                status=version.status.value,
                owner=model.owner,
                purpose=model.purpose,
                routes=sorted(used.get(id_, {})),
                prompts=sorted({one.prompt for one in used.get(id_, {}).values() if one.prompt is not None}),
                guardrails=sorted({name for one in used.get(id_, {}).values() for name in one.guardrails}),
                callers=mine,
                requests=sum(caller.requests for caller in mine),
                cost_usd=usd_text(sum(nano_usd(caller.cost_usd) for caller in mine)),
                last_call_at=max((caller.last_call_at for caller in mine), default=None),
                successor=version.successor,
                deprecated_at=version.deprecated_at,
                sunset=version.sunset,
                end_of_life=version.end_of_life,
                licence=model.licence,
                capabilities=[item.value for item in version.capabilities],
                prohibited_uses=list(model.prohibited_uses),
                context=version.context,
                region=provider.region if provider is not None else "",
                vendor_problems=list(vendor_problems(provider, now_s)) if provider is not None else [],
                days_left=days_left(version, now_s),
            )
        )
    return Inventory(sorted(rows, key=lambda row: (row.days_left is None, row.days_left or 0, row.model)))


def days_left(version: ModelVersion, now_s: int) -> int | None:
    """Whole days until a version goes, rounded up; None if no date is known."""
    ends = [instant_s(text) for text in (version.sunset, version.end_of_life) if text is not None]
    return -((now_s - min(ends)) // DAY_S) if ends else None
