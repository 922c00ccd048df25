"""The setting that the benchmark measures in: 1,000 keys, 50 routes, limits, strict budgets, targets and fallback.

In: the vendors' ports. Out: a manifest, and the calls that use every key and route in turn.
Source: design decision 66.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lineclear.testing import manifests
from lineclear.testing.load import Call
from lineclear.testing.platform import Platform

APPS = 20
KEYS_PER_APP = 50
ROUTES = 50
TASK = "customer-support"
BUDGET_USD = "1000000"
REQUESTS_PER_MINUTE = 60_000_000
INPUT_PER_MTOK_USD = "0.10"
OUTPUT_PER_MTOK_USD = "0.40"
PROMPT = "Please answer the customer's question about an order that has not arrived yet. " * 11
"""About one kilobyte of body, as a small chat request has."""

FEATURES = (
    f"{APPS * KEYS_PER_APP} keys checked by HMAC",
    f"{ROUTES} routes, grants checked",
    "task and data class sent and enforced",
    "catalogue status enforced",
    "two weighted targets and a fallback per route",
    "request limits of team, app and route",
    "strict budgets of team, app and route, reserved before and settled after",
    "durable intent before dispatch, settle before the last byte",
    "cost and decision record per request",
)


def manifest(vendor_port: int, stream_port: int) -> str:
    """The whole setting as manifest documents."""
    limits = {"requests_per_minute": REQUESTS_PER_MINUTE}
    budget = {"usd_per_month": BUDGET_USD, "mode": "strict"}
    documents: list[dict[str, Any]] = [
        manifests.team("bench", limits=limits, budget=budget),
        manifests.provider("vendor", vendor_port),
        manifests.provider("streams", stream_port),
    ]
    documents += [manifests.app(f"app-{n}", "bench", limits=limits, budget=budget) for n in range(APPS)]
    documents += [_model(name, "vendor") for name in ("first", "second", "third")]
    documents += [_model("streamer", "streams")]
    targets = [{"model": "first@1", "weight": 50}, {"model": "second@1", "weight": 50}]
    documents += [_route(f"route-{n}", targets, [{"model": "third@1"}]) for n in range(ROUTES)]
    documents += [_route("streaming", [{"model": "streamer@1", "weight": 100}], [])]
    return manifests.text_of(documents)


def create_keys(platform: Platform) -> list[str]:
    """Make every app's keys through the admin API."""

    def one(number: int) -> str:
        body = {"app": f"app-{number % APPS}", "environment": "live"}
        return str(platform.admin("POST", "/api/v1/keys", body)["key"])

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, range(APPS * KEYS_PER_APP)))


def calls(keys: list[str]) -> list[Call]:
    """One prepared call per key, routes in turn."""
    return [call(key, f"route-{number % ROUTES}") for number, key in enumerate(keys)]


def call(key: str, route: str, text: str = PROMPT, *, stream: bool = False) -> Call:
    """One request of the setting."""
    headers = {
        "authorization": f"Bearer {key}",
        "content-type": "application/json",
        "x-lineclear-task": TASK,
        "x-lineclear-data-class": "internal",
    }
    tree: dict[str, Any] = {"model": route, "max_tokens": 256, "messages": [{"role": "user", "content": text}]}
    if stream:
        tree["stream"] = True
    return Call("/v1/chat/completions", headers, json.dumps(tree).encode())


def proxied_stream(model: str, text: str) -> Call:
    """The same call by the plain proxy, whose way to the streaming vendor is a path of its own."""
    plain = call("", model, text, stream=True)
    return Call("/stream" + plain.path, plain.headers, plain.body)


def _model(name: str, provider: str) -> dict[str, Any]:
    return {
        "kind": "Model",
        "name": name,
        "owner": "bench",
        "purpose": "answers in the benchmark",
        "approved_uses": [TASK],
        "data_classes": ["public", "internal"],
        "versions": [
            {
                "version": "1",
                "provider": provider,
                "upstream_id": f"{name}-1",
                "status": "approved",
                "price": {"input_per_mtok": INPUT_PER_MTOK_USD, "output_per_mtok": OUTPUT_PER_MTOK_USD},
            },
        ],
    }


def _route(name: str, targets: list[dict[str, Any]], fallback: list[dict[str, Any]]) -> dict[str, Any]:
    live = {
        "targets": targets,
        "strategy": "weighted",
        "limits": {"requests_per_minute": REQUESTS_PER_MINUTE},
        "budget": {"usd_per_month": BUDGET_USD, "mode": "strict"},
    }
    if fallback:
        live["fallback"] = fallback
    return {
        "kind": "Route",
        "name": name,
        "team": "bench",
        "tasks": [TASK],
        "data_class": "internal",
        "environments": {"live": live},
    }
