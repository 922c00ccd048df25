"""`lineclear explain`: what happened to one request, and why, on one page of text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.output import Output
from lineclear.cli.terminal import shown_text, styled, table_lines, width_chars
from lineclear.cli.waterfall import waterfall_lines
from lineclear.client.admin import AdminClient, path_of
from lineclear.domain.demo import DEMO_WORDS
from lineclear.domain.explained import VERDICTS, label

# Any, in this file: the admin API's JSON.

WHO = ("app", "team", "key_id", "environment", "task", "data_class", "user_hash", "tags", "inbound_id", "traceparent")
WHAT = ("asked", "route", "echoed_release", "operation", "dialect", "stream", "request_bytes", "response_bytes")
ANSWER = ("outcome", "status", "error_code", "model", "provider", "model_echo", "response_id", "stop_reason")
CHECK_COLUMNS = ("check", "about", "verdict", "detail")
CANDIDATE_COLUMNS = ("model", "score", "verdict", "why")
ATTEMPT_COLUMNS = ("attempt", "model", "attempt_class", "status", "error_code", "start_ms", "duration_ms", "cost_usd")
COST_COLUMNS = ("words", "tokens", "usd_per_mtok", "cost_usd")
_LABEL_CHARS = 28


@click.command()
@click.argument("request_id")
@admin_command
def explain(client: AdminClient, output: Output, request_id: str) -> None:
    """Tell what happened to one request and why.

    REQUEST_ID is the response header x-request-id, or an id that the caller or the vendor gave the request.
    """
    found = client.get(path_of("requests", request_id))
    if found.get("demo"):
        output.note(DEMO_WORDS)
    output.value(found, list(page_lines(found)))


def page_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The page, section by section; a section without facts is left out."""
    yield styled(f"request {shown_text(found['id'])}", "bold")
    yield from (f"  {shown_text(sentence)}" for sentence in found.get("summary") or ())
    yield from _section("who asked", _facts(found, WHO))
    # A refusal's record holds neither size nor form of the request.
    yield from _section("what was asked", _facts(found, WHAT[:4] if found.get("kind") == "refusal" else WHAT))
    yield from _section("how it ended", _facts(found, ANSWER))
    yield from _section("what decided", [*_facts(found, ("release", "revision")), *_decided(found.get("decided"))])
    yield from _section("checks, in their order", _table(_checks(found), CHECK_COLUMNS))
    yield from _section("candidates, best first", _table(_candidates(found), CANDIDATE_COLUMNS))
    yield from _section("attempts", _table(found.get("attempts") or (), ATTEMPT_COLUMNS))
    yield from _section("what took how long", waterfall_lines(found))
    yield from _section("usage", _usage(found.get("usage") or {}))
    yield from _section("cost", list(_cost(found)))


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield styled(title, "bold")
        yield from (f"  {line}" for line in lines)


def _facts(found: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return [_fact(label(name), found[name]) for name in names if found.get(name) not in (None, "", [])]


def _fact(words: str, value: object) -> str:
    return f"{words:<{_LABEL_CHARS}}  {shown_text(value)}"


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    width = width_chars()
    return table_lines(rows, columns, width_max=None if width is None else width - 2) if rows else []


def _checks(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    words = {verdict.value: text for verdict, text in VERDICTS.items()}
    return [
        {
            **row,
            "check": label(row["check"]),
            "verdict": words.get(row["verdict"], row["verdict"]) + (f" by {row['rule']}" if row.get("rule") else ""),
        }
        for row in found.get("checks") or ()
    ]


def _candidates(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    tried = {one["model"]: one for one in found.get("attempts") or ()}
    return [
        {"model": one["model"], "score": one["score"], **_verdict(one, tried.get(one["model"]))}
        for one in found.get("candidates") or ()
    ]


def _verdict(candidate: Mapping[str, Any], attempt: Mapping[str, Any] | None) -> dict[str, str]:
    if candidate["exclusion"]:
        return {"verdict": "left out", "why": candidate["exclusion"]}
    if attempt is None:
        return {"verdict": "kept", "why": "kept in reserve"}
    return {"verdict": "tried", "why": attempt.get("attempt_words") or attempt["attempt_class"]}


def _decided(decided: Mapping[str, Any] | None) -> Iterator[str]:
    if decided is None:
        return
    targets = ", ".join(f"{model} {weight}" for model, weight in decided["targets"].items())
    yield _fact("targets and weights", targets)
    for words, name in (("strategy", "strategy"), ("fallback", "fallback"), ("prompt", "prompt")):
        if decided[name]:
            yield _fact(words, decided[name])
    if decided["in_force_since"]:
        note = f" ({decided['note']})" if decided["note"] else ""
        yield _fact("in force since", f"{decided['in_force_since']}, by {decided['changed_by']}{note}")
    if decided["previous"]:
        yield _fact("release before it", decided["previous"])
    for one in decided["differs"]:
        yield _fact("  differs", f"{one['field']}: {shown_text(one['before'])} → {shown_text(one['after'])}")


def _usage(usage: Mapping[str, Any]) -> list[str]:
    return [_fact(label(name), value) for name, value in usage.items() if value]


def _cost(found: Mapping[str, Any]) -> Iterator[str]:
    if found.get("cost_basis") is None:
        return
    yield from _table(found.get("cost_lines") or (), COST_COLUMNS)
    yield from _facts(found, ("cost_usd", "cost_basis", "price_version"))
    if found.get("cost_words"):
        yield _fact("which is", found["cost_words"])
    is_charged = any(char in "123456789" for char in found.get("cost_usd") or "")
    if is_charged and found["cost_basis"] in ("priced", "estimated") and not found.get("cost_lines"):
        yield _fact("lines", "none: the price of that name is gone, and lines that do not add up would mislead")
    if float(found.get("waste_usd") or 0):
        yield _fact(label("waste_usd"), f"{found['waste_usd']}, for attempts whose answer nobody got")
    yield from _facts(found, ("accounts", "reserved_usd", "reserved_tokens"))
