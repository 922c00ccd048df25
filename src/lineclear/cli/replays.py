"""`lineclear replays start|list|show|cases|diff|stop`."""

import time
from collections.abc import Mapping
from typing import Any

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.offered import names_of
from lineclear.cli.output import ExitCode, Output
from lineclear.cli.prompts import passage_lines
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of

COLUMNS = ["id", "purpose", "environment", "route", "dataset", "cases", "state", "spent_usd", "created_at"]
CASE_COLUMNS = [
    "number", "id", "kind", "stable", "candidate", "cost_delta_usd", "duration_ms_delta", "bytes_delta",
]  # fmt: skip
STATES = ("waiting", "running", "completed", "stopped", "failed")
KINDS = ("same", "same_json", "changed", "candidate_failed", "stable_failed", "both_failed")
LOOK_S = 0.5

replay_argument = click.argument("replay", shell_complete=names_of("replays"))


@click.group(cls=NounGroup)
def replays() -> None:
    """Ask the cases of a dataset of two releases of a route, and compare the answers."""


@replays.command()
@click.argument("route", shell_complete=names_of("routes"))
@click.option("-e", "--env", "environment", default="live", show_default=True,
              shell_complete=names_of("environments"), help="Where the route is.")  # fmt: skip
@click.option("--dataset", required=True, shell_complete=names_of("datasets"), help="NAME or NAME@DIGEST.")
@click.option("--app", default="default", show_default=True, shell_complete=names_of("apps"),
              help="Whose limits and budgets count.")  # fmt: skip
@click.option("--spend-cap", default="1", show_default=True, help="US dollars that it may cost.")
@click.option("--candidate-from", default="", shell_complete=names_of("environments"),
              help="The environment whose release is the candidate; else that of the rollout under way.")  # fmt: skip
@click.option("--wait", is_flag=True, help="Wait until it has ended.")
@admin_command
def start(
    client: AdminClient,
    output: Output,
    route: str,
    environment: str,
    dataset: str,
    app: str,
    spend_cap: str,
    candidate_from: str,
    wait: bool,
) -> None:
    """Ask every case of a dataset of the stable release and of a candidate; exits 8 if the candidate fails more."""
    body = {
        "route": route,
        "environment": environment,
        "dataset": dataset,
        "app": app,
        "spend_cap_usd": spend_cap,
        "candidate_from": candidate_from,
    }
    _tell(output, _followed(client, client.post(path_of("replays"), body)["id"], wait))


@replays.command("list")
@click.option("-e", "--env", "environment", default=None, shell_complete=names_of("environments"),
              help="Only this environment.")  # fmt: skip
@click.option("--route", default=None, shell_complete=names_of("routes"), help="Only this route.")
@click.option("--state", type=click.Choice(STATES), default=None, help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True, help="At most so many.")
@admin_command
def list_replays(
    client: AdminClient, output: Output, environment: str | None, route: str | None, state: str | None, limit: int
) -> None:
    """List replays, newest first."""
    asked = {"environment": environment, "route": route, "state": state, "limit": limit}
    found = client.get(path_of("replays"), asked)["replays"]
    output.rows(found, COLUMNS, {"replays": found})


@replays.command()
@replay_argument
@click.option("--wait", is_flag=True, help="Wait until it has ended.")
@admin_command
def show(client: AdminClient, output: Output, replay: str, wait: bool) -> None:
    """Show how far a replay is and in what the answers differ; exits 8 if the candidate fails more."""
    _tell(output, _followed(client, replay, wait))


@replays.command()
@replay_argument
@click.option("--kind", type=click.Choice(KINDS), default=None, help="Only these.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=100, show_default=True, help="At most so many.")
@admin_command
def cases(client: AdminClient, output: Output, replay: str, kind: str | None, limit: int) -> None:
    """List the cases of a replay, each in a line."""
    found = client.get(path_of("replays", replay, "cases"), {"kind": kind, "limit": limit})["cases"]
    output.rows(found, CASE_COLUMNS, {"cases": found})


@replays.command()
@replay_argument
@click.argument("number", type=click.IntRange(1))
@admin_command
def diff(client: AdminClient, output: Output, replay: str, number: int) -> None:
    """Compare both answers to one case, word by word."""
    answer = client.get(path_of("replays", replay, "cases", str(number)))
    facts = answer["facts"]
    lines = [f"# case {facts['number']} {facts['id'] or ''}: {facts['kind'] or 'one side is missing'}".rstrip()]
    for one in answer["answers"]:
        cost = "no price" if one["cost_usd"] is None else f"{one['cost_usd']} USD"
        lines.append(
            f"# {one['arm']}: {one['status']} {one['error_code']} {one['model']}, {one['text_bytes']} bytes, {cost}, "
            f"{one['duration_ms']:g} ms, {one['request_id']}"
        )
    lines += [f"{one['path'] or '(whole)'}: {one['before']} → {one['after']}" for one in answer["fields"] or ()]
    if answer["passages"]:
        lines += passage_lines(answer["passages"])
    elif answer["answers"]:
        lines += [line for one in _distinct(answer["answers"]) for line in one.splitlines()]
    output.value(answer, lines)


@replays.command()
@replay_argument
@click.option("--reason", default="", help="Why; kept with the replay and in the audit trail.")
@admin_command
def stop(client: AdminClient, output: Output, replay: str, reason: str) -> None:
    """Make no further calls; what came back so far stays."""
    facts = client.post(path_of("replays", replay, "stops"), {"reason": reason})
    output.value(facts, [f"{facts['id']} {facts['state']}: {facts['reason']}"])


def _distinct(answers: list[Mapping[str, Any]]) -> list[str]:
    texts = dict.fromkeys(one["text"] for one in answers)
    return list(texts) if len(texts) == 1 else [f"{one['arm']}: {one['text']}" for one in answers]


def _followed(client: AdminClient, replay: str, wait: bool) -> Mapping[str, Any]:
    answer: Mapping[str, Any] = client.get(path_of("replays", replay))
    while wait and answer["replay"]["ended_at"] is None:
        time.sleep(LOOK_S)
        answer = client.get(path_of("replays", replay))
    return answer


def _tell(output: Output, answer: Mapping[str, Any]) -> None:
    output.value(answer, detail_lines(answer))
    if answer["replay"]["state"] == "failed":
        raise click.exceptions.Exit(ExitCode.FAILURE)
    if answer["verdict"] == "fail":
        raise click.exceptions.Exit(ExitCode.GATE_FAILED)


def detail_lines(answer: Mapping[str, Any]) -> list[str]:
    """A replay for a person."""
    facts = answer["replay"]
    lines = [
        f"{facts['id']} {facts['state']}: {facts['cases']} cases of {facts['dataset']} asked of {facts['route']} in "
        f"{facts['environment']}, as app {facts['app']}",
        f"started {facts['created_at']} by {facts['created_by']}"
        + (f", ended {facts['ended_at']}" if facts["ended_at"] else ""),
        f"spent {facts['spent_usd']} of {facts['spend_cap_usd']} USD",
    ]
    if facts["reason"]:
        lines.append(f"because: {facts['reason']}")
    lines += [
        f"{side['arm']}: {side['release']} in {side['environment']}, {side['answered']} of {side['asked']} answered"
        for side in facts["sides"]
    ]
    lines += [
        f"{arm['arm']}: {arm['cost_usd']} USD, {arm['duration_ms_p50']:g} ms (p95 {arm['duration_ms_p95']:g}), "
        f"{arm['text_bytes_mean']:g} bytes an answer"
        + "".join(f", {count} x {code}" for code, count in arm["errors"].items())
        for arm in answer["arms"]
    ]
    if answer["pairs"]:
        lines.append(", ".join(f"{count} {kind}" for kind, count in answer["kinds"].items() if count))
    if answer["cost_delta_usd"] is not None:
        lines.append(f"candidate less stable: {answer['cost_delta_usd']} USD, {answer['duration_ms_p50_delta']:g} ms")
    lines += [f"differs in {count}: {path}" for path, count in answer["fields"].items()]
    return [*lines, f"{answer['verdict']}: {answer['sentence']}"]
