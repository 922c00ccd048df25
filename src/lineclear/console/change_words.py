"""What a change means, in sentences a person can decide by: what moves, who feels it, what it costs, what it exposes.

In: a plan and the comparison of its releases, as the API tells them. Out: sentences, the weightiest first. Pure.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lineclear.console.shown import middle, of, passages_of, plain, usd

NAMES_TOLD = 3
FIELDS_TOLD = 4
VALUE_CHARS_TOLD = 80
STATE_MARKS: Mapping[str, str] = {
    "open": "warn",
    "approved": "good",
    "applied": "good",
    "stale": "warn",
    "rejected": "bad",
    "withdrawn": "calm",
    "expired": "calm",
}
STATE_WORDS: Mapping[str, str] = {
    "open": "waits for approval",
    "approved": "approved, not carried out",
    "applied": "carried out",
    "stale": "out of date",
    "rejected": "rejected",
    "withdrawn": "withdrawn",
    "expired": "expired",
}
COMPONENT_WORDS: Mapping[str, str] = {
    "strategy": "how calls are shared",
    "targets": "models and shares",
    "fallback": "fallback",
    "prompt": "prompt",
    "parameters": "parameters",
    "retrieval": "retrieval",
    "guardrails": "guardrails",
    "tools": "tools",
    "timeouts": "time limits",
    "max_tokens": "most tokens",
}


def deployment_words(deployment: Mapping[str, Any]) -> str:
    """What one route does otherwise: `large@1 instead of small@1, another prompt`."""
    if deployment["before"] is None:
        return "is deployed for the first time"
    if deployment["after"] is None:
        return "is taken away"
    told: list[str] = []
    for component in deployment["components"]:
        if component["component"] == "targets":
            gone = [item["field"] for item in component["fields"] if item["after"] is None]
            come = [item["field"] for item in component["fields"] if item["before"] is None]
            if come and gone:
                told.append(f"{_names(come)} instead of {_names(gone)}")
            elif come or gone:
                told.append(f"{_names(come)} joins" if come else f"{_names(gone)} leaves")
            else:
                told.append("other shares")
        elif component["component"] == "prompt":
            told.append("another text of the prompt" if component["passages"] else "another prompt")
        else:
            told.append(f"other {COMPONENT_WORDS.get(component['component'], component['component'])}")
    return ", ".join(told) or "goes on as it is"


def consequences(plan: Mapping[str, Any], deployments: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Sentences with their weight (`bad`, `warn`, `calm`)."""
    radius = {(item["environment"], item["route"]): item for item in plan.get("radius", ())}
    told = [line for item in deployments for line in _moved(item, radius.get((item["environment"], item["route"])))]
    told += [_line("warn", words) for words in plan["warnings"]]
    told += [_line("warn", f"{name} gets a new value") for name in plan["credentials"]]
    told += [_line("calm", words) for words in _nouns(plan)] if not deployments else []
    return sorted(told, key=lambda line: ("bad", "warn", "calm").index(line["level"]))


def planned(plan: Mapping[str, Any]) -> list[dict[str, str]]:
    """The same of a plan that nobody asked for yet: its nouns field by field, who feels it, what it warns of."""
    radius = {(item["environment"], item["route"]): item for item in plan.get("radius", ())}
    moved = {item["route"] for item in plan["releases"]}
    rest = [item for item in plan["objects"] if item["kind"] != "Route" or item["name"] not in moved]
    told = [_line("calm", words) for words in _nouns({"objects": rest})]
    for item in plan["releases"]:
        where = f"{item['route']} in {item['environment']}"
        if item["before"] is None or item["after"] is None:
            is_first = item["before"] is None
            told.append(_line("calm", f"{where} {'is deployed for the first time' if is_first else 'is taken away'}"))
        else:
            how = f"in steps by rollout {item['rollout']}" if item.get("rollout") else "all of it at once"
            told.append(_line("calm", f"{where} gets another release{_targets_words(plan, item)}, {how}"))
        told += _felt(where, radius.get((item["environment"], item["route"])))
    told += [_line("warn", words) for words in plan["warnings"]]
    told += [_line("warn", f"{name} gets a new value") for name in plan["credentials"]]
    return sorted(told, key=lambda line: ("bad", "warn", "calm").index(line["level"]))


def _targets_words(plan: Mapping[str, Any], move: Mapping[str, Any]) -> str:
    """Which models come and go where a plan says so in fields of the route."""
    named = re.compile(rf"environments\.{re.escape(move['environment'])}\.targets\[(.+)\]\.model")
    fields = [
        (found[1], field)
        for item in plan["objects"]
        if (item["kind"], item["name"]) == ("Route", move["route"])
        for field in item["fields"]
        if (found := named.fullmatch(field["path"]))
    ]
    come = [model for model, field in fields if field["before"] is None]
    gone = [model for model, field in fields if field["after"] is None]
    if come and gone:
        return f": {_names(come)} instead of {_names(gone)}"
    return f": {_names(come)} joins" if come else f": {_names(gone)} leaves" if gone else ""


def _moved(deployment: Mapping[str, Any], radius: Mapping[str, Any] | None) -> Iterator[dict[str, str]]:
    where = f"{deployment['route']} in {deployment['environment']}"
    how = f", in steps by rollout {deployment['rollout']}" if deployment["rollout"] else ", all of it at once"
    is_moved = deployment["before"] is not None and deployment["after"] is not None
    yield _line("calm", f"{where}: {deployment_words(deployment)}{how if is_moved else ''}")
    yield from _felt(where, radius)


def _felt(where: str, radius: Mapping[str, Any] | None) -> Iterator[dict[str, str]]:
    if radius is None:
        return
    for operation in radius["contract_breaks"]:
        yield _line("bad", f"{where} no longer answers {operation}")
    for exposed in radius["newly_exposed"]:
        data, _, version = exposed.partition(" → ")
        yield _line("warn", f"{version} sees {data} data of {where} for the first time")
    yield _line("calm", f"{where}: {_felt_by(radius)}")


def _felt_by(radius: Mapping[str, Any]) -> str:
    apps = radius["apps"]
    if not apps:
        return "nobody called it in 7 days"
    told = f"{of(len(apps), 'app')} ({_names(list(apps))}), about {of(radius['requests_per_day'], 'request')} a day"
    before, after = radius["cost_usd_per_day"], radius["new_cost_usd_per_day"]
    if after is None:
        return f"{told}, what it would cost is not known" if before is not None else told
    return f"{told}, {usd(before)} a day today and {usd(after)} then"


def _nouns(plan: Mapping[str, Any]) -> Iterator[str]:
    """Where no route moves: the nouns that change, with their fields."""
    for item in plan["objects"]:
        if item["action"] == "unchanged":
            continue
        told = [field for field in item["fields"] if field["path"] != "managed_by"]
        fields = [_field(field) for field in told[:FIELDS_TOLD]] if item["action"] == "update" else []
        rest = len(told) - len(fields)
        more = f" and {of(rest, 'more field')}" if fields and rest > 0 else ""
        verb = {"create": "is new", "delete": "is deleted"}.get(item["action"], "changes")
        words = f"{item['kind'].lower()} {item['name']} {verb}"
        yield f"{words}: {'; '.join(fields)}{more}" if fields else words


def _field(field: Mapping[str, Any]) -> str:
    name = field["path"].rpartition(".")[2].replace("_", " ")
    after = "nothing" if field["after"] is None else middle(str(plain(field["after"])), VALUE_CHARS_TOLD)
    if field["words"] or field["before"] is None:
        return f"{name} {field['words'] or after}"
    if passages_of(field["before"], field["after"]):
        return f"{name} is another"
    return f"{name} {middle(str(plain(field['before'])), VALUE_CHARS_TOLD)} → {after}"


def touched(plan: Mapping[str, Any]) -> str:
    """What a change is about, for one line of a list."""
    moves = [f"{item['route']} in {item['environment']}" for item in plan["releases"]]
    if moves:
        return _names(moves)
    nouns = [f"{item['kind'].lower()} {item['name']}" for item in plan["objects"] if item["action"] != "unchanged"]
    return _names(nouns) or "credentials"


def _names(names: Sequence[str]) -> str:
    rest = len(names) - NAMES_TOLD
    return ", ".join(names[:NAMES_TOLD]) + (f" and {rest} more" if rest > 0 else "")


def _line(level: str, words: str) -> dict[str, str]:
    return {"level": level, "words": words}
