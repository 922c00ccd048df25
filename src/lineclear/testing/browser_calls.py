"""Calls to a platform under test, sign-in links, and the addresses of every page.

In: a running platform. Out: request ids, links, paths.
"""

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from lineclear.testing.platform import Platform


def ask(platform: Platform, key: str, body: Mapping[str, Any], **headers: str) -> str:
    """One chat call; its request id."""
    parts = urlsplit(platform.gateway_url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    sent = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), sent)
    response = connection.getresponse()
    response.read()
    connection.close()
    return str(response.headers["x-request-id"])


def chat(route: str, text: str = "Hello") -> dict[str, Any]:
    return {"model": route, "messages": [{"role": "user", "content": text}]}


def link(platform: Platform) -> str:
    """A fresh sign-in link."""
    return str(platform.admin("POST", "/api/v1/sign-in-links")["url"])


def page_paths(platform: Platform) -> list[str]:
    """Every page once, and a request of each outcome there is."""
    rows = platform.admin("GET", "/api/v1/requests?limit=50")["rows"]
    of_outcome = {row["outcome"]: row["id"] for row in rows}
    keys = platform.admin("GET", "/api/v1/keys")["keys"]
    models = platform.admin("GET", "/api/v1/models")["items"]
    routes = platform.admin("GET", "/api/v1/routes")["items"]
    changes = platform.admin("GET", "/api/v1/changes")["changes"]
    releases = platform.admin("GET", "/api/v1/releases")["releases"]
    rollouts = platform.admin("GET", "/api/v1/rollouts")["rollouts"]
    members = platform.admin("GET", "/api/v1/members")["members"]
    runs = platform.admin("GET", "/api/v1/eval-runs")["runs"]
    replays = platform.admin("GET", "/api/v1/replays")["replays"]
    return [
        *("/", "/start", "/requests", "/routes", "/models", "/cost", "/catalogue", "/providers", "/keys", "/sessions"),
        *("/requests?outcome=fault", "/cost?by=model&since=24h", "/keys?state=all"),
        *(f"/requests/{request_id}" for request_id in of_outcome.values()),
        f"/keys/{keys[-1]['id']}",
        *(f"/catalogue/{item['name']}" for item in models[:2]),
        *(f"/routes/{item['name']}" for item in routes[:2]),
        *("/changes/propose", "/changes/propose?kind=Provider", f"/changes/propose?object=Route%2F{routes[0]['name']}"),
        f"/routes/{routes[0]['name']}?at=2020-01-01T00:00",
        f"/routes/{routes[-1]['name']}?at=1m",
        *("/changes", "/changes?action=manifest.&state=applied", "/changes?actor=nobody"),
        *(f"/changes/{item['id']}" for item in changes[:2]),
        *(f"/releases/{item['id']}" for item in releases[:2]),
        *("/rollouts", "/rollouts?state=held", "/emergency", "/access", "/model-access", "/notices?state=all"),
        "/model-access?model=simulated&at=7d",
        "/model-access?model=second",
        "/access?subject=me&action=change:approve&object=platform",
        *(f"/rollouts/{item['id']}" for item in rollouts[:2]),
        *(f"/access/{item['name']}" for item in members[:2]),
        *("/policies", "/policies/explanation", "/policies/explanation?app=default&route=simulated&tags=a,b"),
        *("/evals", "/evals?state=failed", "/replays", "/replays?state=stopped"),
        *(f"/evals/{item['id']}" for item in runs[:2]),
        *(f"/replays/{item['id']}{more}" for item in replays[:1] for more in ("", "?kind=changed", "/cases/1")),
    ]
