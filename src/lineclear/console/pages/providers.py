"""Providers: which vendors and hosts are known, how each is spoken to, and where its credential comes from."""

from typing import Any

from lineclear.console.page import Page, Visit

SPAN = "24h"


def load(visit: Visit) -> dict[str, Any]:
    """Every provider with its models and its last day; a credential is named by its reference, never shown."""
    sums = {row["provider"]: row for row in visit.get("/usage", {"by": "provider", "since": SPAN})["rows"]}
    versions = visit.get("/model-versions")["versions"]
    rows = []
    for item in visit.get("/providers")["items"]:
        manifest, row = item["manifest"], sums.get(item["name"])
        rows.append(
            {
                "provider": item["name"],
                "description": manifest["description"],
                "base_url": manifest["base_url"],
                "dialects": manifest["dialects"],
                "credential": manifest["credential"],
                "private_network": manifest["private_network"],
                "managed_by": item["managed_by"],
                "models": [one["model"] for one in versions if one["provider"] == item["name"]],
                "requests": row["requests"] if row else 0,
                "errors": row["errors"] if row else 0,
                "latency_ms_p95": row["latency_ms_p95"] if row else None,
                "cost_usd": row["cost_usd"] if row else "0.000000000",
            }
        )
    return {"span": SPAN, "rows": rows}


PROVIDERS = Page("/providers", "providers.html", load, rows="rows")
