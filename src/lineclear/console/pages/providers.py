"""Providers: which vendors and hosts are known, how each is spoken to, whose credential it gets, and a test of one."""

from collections.abc import Mapping
from typing import Any

from lineclear.console.page import Action, Page, Visit
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.permissions import Permission

SPAN = "24h"
SECRET = "secret:"  # noqa: S105 - how a manifest names one
EVERYWHERE = "every environment"


def load(visit: Visit) -> dict[str, Any]:
    """Every provider with its models and its last day; a credential is named by its reference, never shown."""
    sums = {row["provider"]: row for row in visit.get("/usage", {"by": "provider", "since": SPAN})["rows"]}
    versions = visit.get("/model-versions")["versions"]
    secrets = _secrets(visit)
    rows = []
    for item in visit.get("/providers")["items"]:
        manifest, row = item["manifest"], sums.get(item["name"])
        rows.append(
            {
                "provider": item["name"],
                "description": manifest["description"],
                "base_url": manifest["base_url"],
                "dialects": manifest["dialects"],
                "credentials": _credentials(manifest["credential"], secrets),
                "private_network": manifest["private_network"],
                "managed_by": item["managed_by"],
                "models": [one["model"] for one in versions if one["provider"] == item["name"]],
                "requests": row["requests"] if row else 0,
                "errors": row["errors"] if row else 0,
                "latency_ms_p95": row["latency_ms_p95"] if row else None,
                "cost_usd": row["cost_usd"] if row else "0.000000000",
                "unpriced_requests": row["unpriced_requests"] if row else 0,
            }
        )
    return {
        "span": SPAN,
        "rows": rows,
        "environments": [item["name"] for item in visit.get("/environments")["items"]],
        "may_test": visit.may(Permission.PROVIDER_TEST),
        "trial": None,
    }


def _secrets(visit: Visit) -> dict[str, str] | None:
    """When each secret was set; None for who may not read that."""
    try:
        return {secret["name"]: secret["set_at"] for secret in visit.get("/secrets")["secrets"]}
    except Refused as refused:
        if refused.code is not AdminCode.FORBIDDEN:
            raise
        return None


def _credentials(named: str | Mapping[str, str] | None, secrets: Mapping[str, str] | None) -> list[dict[str, Any]]:
    """Each reference with what is known of its value: when a secret was set; a variable's value is control's alone."""
    if named is None:
        return []
    each = {EVERYWHERE: named} if isinstance(named, str) else named
    found = []
    for environment, reference in sorted(each.items()):
        name = reference.removeprefix(SECRET)
        is_secret = reference.startswith(SECRET)
        known = "untold" if secrets is None else "set" if name in secrets else "missing"
        found.append(
            {
                "environment": environment,
                "reference": reference,
                "state": known if is_secret else "variable",
                "set_at": secrets.get(name) if is_secret and secrets is not None else None,
            }
        )
    return found


def try_out(visit: Visit, form: Mapping[str, str]) -> dict[str, Any]:
    """Call a provider with its credential; the page again, with what came."""
    body = {"environment": form.get("environment", "test")}
    trial = visit.post("/providers/{name}/test", body, name=visit.parts["name"])
    return {**load(visit), "trial": trial}


PROVIDERS = Page("/providers", "providers.html", load, rows="rows")
TEST_PROVIDER = Action("/providers/{name}/test", try_out, "/providers", "providers.html")
