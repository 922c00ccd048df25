"""Policies: every rule with what it asks, what follows and how often it had a say; and what would become of a call.

In: policies, hits and explanations as the API tells them. Out: values to show. Nothing is decided here.
"""

import shlex
from collections.abc import Mapping
from typing import Any

from lineclear.console.page import Page, Visit
from lineclear.domain.catalogue import DataClass
from lineclear.domain.evidence import Arm
from lineclear.domain.exchange import Operation

PATH = "/policies"
EXPLAIN = f"{PATH}/explanation"
ASKED = ("app", "environment", "route", "operation", "task", "data_class", "tags", "at", "arm")


def load(visit: Visit) -> dict[str, Any]:
    """Every policy with its rules, in the order in which they are asked."""
    asked = {"policy": visit.query["policy"]} if "policy" in visit.query else {}
    rules = [{**rule, "when_words": when_words(rule["when"])} for rule in visit.get("/policy-rules", asked)["rules"]]
    items = visit.get(PATH)["items"]
    return {
        "filters": asked,
        "policies": [
            {
                **{name: item[name] for name in ("name", "managed_by", "change")},
                "description": item["manifest"].get("description") or "",
                "rules": [rule for rule in rules if rule["policy"] == item["name"]],
            }
            for item in items
            if asked.get("policy") in (None, item["name"])
        ],
        "rows": rules,
    }


def when_words(when: Mapping[str, Any]) -> list[list[str]]:
    """Each condition as its name and what it takes; of a list any one holds."""
    return [[name.replace("_", " "), _taken(asked)] for name, asked in when.items()]


def _taken(asked: Any) -> str:
    # Any: a condition as manifests write it, a list or the table of `time`.
    if isinstance(asked, list):
        return " or ".join(str(one) for one in asked)
    if isinstance(asked, dict):
        days = ", ".join(asked.get("days") or [])
        return " ".join(word for word in (days, asked.get("hours"), asked.get("zone")) if word)
    return str(asked)


def load_explanation(visit: Visit) -> dict[str, Any]:
    """What would become of the call that the address describes, and what can be asked about."""
    asked = {name: visit.query[name] for name in ASKED if name in visit.query}
    answer = None
    if "app" in asked and "route" in asked:
        body = {"environment": "live", "operation": Operation.CHAT.value, **asked, "tags": _tags(asked)}
        answer = visit.post("/route-explanations", body)
    return {
        "asked": asked,
        "answer": answer,
        "command": _command(asked),
        "choices": {
            "app": [item["name"] for item in visit.get("/apps")["items"]],
            "environment": [item["name"] for item in visit.get("/environments")["items"]],
            "route": [item["name"] for item in visit.get("/routes")["items"]],
            "operation": [one.value for one in Operation],
            "data_class": [one.value for one in DataClass],
            "arm": [one.value for one in Arm],
        },
    }


def _command(asked: Mapping[str, str]) -> str:
    """The same question for the command line, which takes the route from the body of the request."""
    told = ["lineclear", "routes", "explain", "REQUEST.json", "--app", asked.get("app", "APP")]
    told += ["--env", asked.get("environment", "live")]
    for name in ("operation", "task", "data_class", "at", "arm"):
        if name in asked:
            told += [f"--{name.replace('_', '-')}", asked[name]]
    for tag in _tags(asked):
        told += ["--tag", tag]
    return shlex.join(told)


def _tags(asked: Mapping[str, str]) -> list[str]:
    return [tag.strip() for tag in asked.get("tags", "").split(",") if tag.strip()]


POLICIES = Page(PATH, "policies.html", load, query=("policy",), rows="rows")
EXPLANATION = Page(EXPLAIN, "explanation.html", load_explanation, query=ASKED)
