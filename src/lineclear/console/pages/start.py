"""Get started: a key, a call in four languages with this server's own address, and a light that turns green."""

from collections.abc import Callable, Mapping
from typing import Any

from lineclear.console.page import Action, Feed, Page, Visit

ENVIRONMENT = "test"
PREFERRED_ROUTE = "simulated"
CURL = """curl {url}/v1/chat/completions \\
  -H "authorization: Bearer $LINECLEAR_KEY" \\
  -H "content-type: application/json" \\
  -d '{{"model": "{route}", "messages":
       [{{"role": "user", "content": "Say hello."}}]}}'"""
PYTHON = """# pip install openai
import os
from openai import OpenAI

client = OpenAI(
    base_url="{url}/v1",
    api_key=os.environ["LINECLEAR_KEY"],
)
answer = client.chat.completions.create(
    model="{route}",
    messages=[{{"role": "user", "content": "Say hello."}}],
)
print(answer.choices[0].message.content)"""
JAVASCRIPT = """// node hello.mjs; there is nothing to install
const answer = await fetch("{url}/v1/chat/completions", {{
  method: "POST",
  headers: {{
    authorization: `Bearer ${{process.env.LINECLEAR_KEY}}`,
    "content-type": "application/json",
  }},
  body: JSON.stringify({{
    model: "{route}",
    messages: [{{ role: "user", content: "Say hello." }}],
  }}),
}});
const said = await answer.json();
console.log(said.choices[0].message.content);"""
ANTHROPIC = """# pip install anthropic
import os
from anthropic import Anthropic

client = Anthropic(
    base_url="{url}",
    api_key=os.environ["LINECLEAR_KEY"],
)
answer = client.messages.create(
    model="{route}",
    max_tokens=200,
    messages=[{{"role": "user", "content": "Say hello."}}],
)
print(answer.content[0].text)"""
SNIPPETS = (
    ("curl", "curl", CURL),
    ("python", "Python, OpenAI SDK", PYTHON),
    ("javascript", "JavaScript, fetch", JAVASCRIPT),
    ("anthropic", "Python, Anthropic SDK", ANTHROPIC),
)


def load(visit: Visit) -> dict[str, Any]:
    """What a newcomer copies, and whether anything was asked yet."""
    return _value(visit, visit.query.get("route"))


def _value(visit: Visit, wanted: str | None) -> dict[str, Any]:
    url = visit.get("/status")["gateway_url"]
    routes = _routes(visit)
    route = wanted if wanted in routes else next(iter(routes), PREFERRED_ROUTE)
    return {
        "gateway_url": url,
        "environment": ENVIRONMENT,
        "routes": routes,
        "route": route,
        "apps": [item["name"] for item in visit.get("/apps")["items"]],
        "snippets": [
            {"id": id_, "title": title, "code": code.format(url=url, route=route)} for id_, title, code in SNIPPETS
        ],
        "last_request": _last(visit),
        "sent": None,
    }


def _routes(visit: Visit) -> list[str]:
    """Routes that a test key may ask for words, the one that is always there first."""
    found = [
        item["name"]
        for item in visit.get("/routes")["items"]
        if ENVIRONMENT in item["manifest"]["environments"] and "*" not in item["name"]
    ]
    return sorted(found, key=lambda name: (name != PREFERRED_ROUTE, name))


def _last(visit: Visit) -> dict[str, Any] | None:
    rows = visit.get("/requests", {"limit": "1"})["rows"]
    return rows[0] if rows else None


def send(visit: Visit, form: Mapping[str, str]) -> dict[str, Any]:
    """Send a test message; the page again, with what came back."""
    route = form.get("route", PREFERRED_ROUTE)
    body = {"route": route, "app": form.get("app", "default"), "text": form.get("text") or "Say hello."}
    sent = visit.post("/test-messages", body)
    return {**_value(visit, route), "sent": {**sent, "asked": body["text"]}}


def begin_first(visit: Visit) -> Callable[[], dict[str, Any] | None]:
    """Wait for the first request there is."""

    def news() -> dict[str, Any] | None:
        row = _last(visit)
        return None if row is None else {"last_request": row}

    return news


START = Page("/start", "start.html", load, query=("route",))
SEND = Action("/start/message", send, "/start", "start.html")
FIRST_REQUEST = Feed("/start/first", "first_request.html", "first", begin_first, is_once=True)
