"""Catalogue: every model version with its status, owner, allowed uses, price and callers."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from lineclear.console.page import Page, Visit
from lineclear.domain.catalogue import ModelStatus

SPAN = "30d"
FACETS = ("status", "owner", "provider", "find")


def load(visit: Visit) -> dict[str, Any]:
    """Versions that fit the facets."""
    versions = versions_of(visit)
    facets = {name: visit.query[name] for name in FACETS if name in visit.query}
    return {
        "span": SPAN,
        "facets": facets,
        "rows": [row for row in versions if _fits(row, facets)],
        "known": len(versions),
        "choices": {
            "status": [status.value for status in ModelStatus],
            "owner": sorted({row["owner"] for row in versions}),
            "provider": sorted({row["provider"] for row in versions}),
        },
    }


def versions_of(visit: Visit) -> list[dict[str, Any]]:
    """Every version that may be seen, with its card and its use over SPAN."""
    cards = {item["name"]: item["manifest"] for item in visit.get("/models")["items"]}
    used = _usage(visit)
    rows = []
    for facts in visit.get("/model-versions")["versions"]:
        name, _, version = facts["model"].partition("@")
        card = cards[name]
        rows.append(
            {
                **facts,
                "name": name,
                "version": version,
                "purpose": card["purpose"],
                "approved_uses": card["approved_uses"],
                "data_classes": card["data_classes"],
                "cost_tier": card["cost_tier"],
                "risk_tier": card["risk_tier"],
                **used.get(
                    facts["model"], {"requests": 0, "cost_usd": "0.000000000", "unpriced_requests": 0, "apps": []}
                ),
            }
        )
    return rows


def _usage(visit: Visit) -> dict[str, dict[str, Any]]:
    """Requests, cost and callers of each version over SPAN."""
    found: dict[str, dict[str, Any]] = {}
    for row in visit.get("/usage", {"by": "model,app", "since": SPAN})["rows"]:
        one = found.setdefault(row["model"], {"requests": 0, "cost": Decimal(0), "unpriced": 0, "apps": set()})
        one["requests"] += row["requests"]
        one["unpriced"] += row["unpriced_requests"]
        one["cost"] += Decimal(row["cost_usd"])
        one["apps"].add(row["app"])
    return {
        model: {
            "requests": one["requests"],
            "cost_usd": f"{one['cost']:.9f}",
            "unpriced_requests": one["unpriced"],
            "apps": sorted(one["apps"] - {""}),
        }
        for model, one in found.items()
    }


def _fits(row: Mapping[str, Any], facets: Mapping[str, str]) -> bool:
    words = f"{row['model']} {row['upstream_id']} {row['purpose']}".lower()
    return all(row[name] == value for name, value in facets.items() if name != "find") and (
        facets.get("find", "").lower() in words
    )


CATALOGUE = Page("/catalogue", "catalogue.html", load, query=FACETS, rows="rows")
