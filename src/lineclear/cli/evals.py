"""`lineclear evals list|run|runs|show|stop`."""

import time
from collections.abc import Mapping
from typing import Any

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.offered import names_of
from lineclear.cli.output import ExitCode, Output
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of

COLUMNS = ["name", "team", "dataset", "app", "checks", "margin"]
RUN_COLUMNS = ["id", "title", "environment", "route", "state", "verdict", "spent_usd", "created_at"]
RUNNING = "running"
PASS = "pass"  # noqa: S105 - a verdict, no password
LOOK_S = 0.5

run_argument = click.argument("run", shell_complete=names_of("eval-runs"))
environment_option = click.option(
    "-e", "--env", "environment", default="live", show_default=True, shell_complete=names_of("environments"),
    help="Where stable serves.",
)  # fmt: skip


@click.group(cls=NounGroup)
def evals() -> None:
    """List, run, follow and stop evals."""


@evals.command("list")
@admin_command
def list_evals(client: AdminClient, output: Output) -> None:
    """List Evals and what each holds answers to."""
    found = client.get(path_of("evals"))["items"]
    lines = [
        {
            **{name: item["manifest"][name] for name in ("name", "team", "dataset", "app")},
            "checks": ", ".join(check["id"] for check in item["manifest"]["checks"]) or "answered",
            "margin": item["manifest"]["verdict"]["margin"],
        }
        for item in found
    ]
    output.rows(lines, COLUMNS, {"items": found})


@evals.command("run")
@click.argument("name", shell_complete=names_of("evals"), metavar="EVAL")
@click.option("--route", required=True, shell_complete=names_of("routes"), help="Whose releases.")
@environment_option
@click.option("--candidate-from", default="", shell_complete=names_of("environments"),
              help="Whose release is the candidate; without it that of the rollout under way.")  # fmt: skip
@click.option("--wait", is_flag=True, help="Wait for the verdict.")
@admin_command
def run_eval(
    client: AdminClient, output: Output, name: str, route: str, environment: str, candidate_from: str, wait: bool
) -> None:
    """Hold a candidate release to an Eval against stable, or by itself where nothing serves yet.

    With --wait it exits 8 unless it passes.
    """
    asked = {"eval": name, "route": route, "environment": environment, "candidate_from": candidate_from}
    _told(client, output, client.post(path_of("eval-runs"), asked), wait=wait)


@evals.command("runs")
@click.option("-e", "--env", "environment", default=None, shell_complete=names_of("environments"),
              help="Only this environment.")  # fmt: skip
@click.option("--route", default=None, shell_complete=names_of("routes"), help="Only this route.")
@click.option("--eval", "name", default=None, shell_complete=names_of("evals"), help="Only runs of this Eval.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True, help="At most so many.")
@admin_command
def list_runs(
    client: AdminClient, output: Output, environment: str | None, route: str | None, name: str | None, limit: int
) -> None:
    """List runs, newest first, those of gates among them."""
    asked = {"environment": environment, "route": route, "eval": name, "limit": limit}
    found = client.get(path_of("eval-runs"), asked)["runs"]
    output.rows(found, RUN_COLUMNS, {"runs": found})


@evals.command()
@run_argument
@click.option("--wait", is_flag=True, help="Wait for the verdict.")
@admin_command
def show(client: AdminClient, output: Output, run: str, wait: bool) -> None:
    """Show a run; exits 8 if it has ended and did not pass."""
    _told(client, output, client.get(path_of("eval-runs", run)), wait=wait)


@evals.command()
@run_argument
@click.option("--reason", default="", help="Why; kept with the run and in the audit trail.")
@admin_command
def stop(client: AdminClient, output: Output, run: str, reason: str) -> None:
    """End a run without a verdict; nothing more is asked."""
    answer = client.post(path_of("eval-runs", run, "stops"), {"reason": reason})
    output.value(answer, detail_lines(answer))


def _told(client: AdminClient, output: Output, answer: Mapping[str, Any], *, wait: bool) -> None:
    # Any: the admin API's JSON
    while wait and answer["run"]["state"] == RUNNING:
        time.sleep(LOOK_S)
        answer = client.get(path_of("eval-runs", answer["run"]["id"]))
    output.value(answer, detail_lines(answer))
    if answer["run"]["state"] != RUNNING and answer["run"]["verdict"] != PASS:
        raise click.exceptions.Exit(ExitCode.GATE_FAILED)


def _against(run: Mapping[str, Any]) -> str:
    return f"against {run['stable']}" if run["at_least"] is None else "by itself: nothing serves there yet"


def _alone_lines(check: Mapping[str, Any], at_least: float) -> list[str]:
    """A check of a release by itself, which counts and infers nothing."""
    score = "unknown" if check["candidate_score"] is None else f"{check['candidate_score']:.3f}"
    lines = [
        f"check {check['id']} ({check['kind']}): {check['verdict']}, score {score} of {at_least:g} that is asked, "
        f"over {check['cases']} cases, unknown {check['unknown']}"
    ]
    return [*lines, f"  lowest at {', '.join(check['worst_cases'])}"] if check["worst_cases"] else lines


def detail_lines(answer: Mapping[str, Any]) -> list[str]:
    """A run for a person."""
    run = answer["run"]
    lines = [
        f"{run['id']} {run['verdict'] or run['state']}: {run['title']}, route {run['route']} in {run['environment']}",
        f"{run['candidate']} (in {run['candidate_from']}) {_against(run)}, dataset {run['dataset']}",
        run["words"],
        f"spent {run['spent_usd']} of {run['spend_cap_usd']} USD; a candidate passes with {run['cases_needed']} cases "
        "at the least",
    ]
    for check in answer["checks"]:
        if run["at_least"] is not None:
            lines += _alone_lines(check, run["at_least"])
            continue
        scores = [
            "unknown" if check[name] is None else f"{check[name]:.3f}" for name in ("candidate_score", "stable_score")
        ]
        lines.append(
            f"check {check['id']} ({check['kind']}): {check['verdict']}, score {scores[0]} against {scores[1]}, "
            f"worse at {check['worse']}, better at {check['better']} of {check['cases']}, unknown {check['unknown']}; "
            f"evidence {check['worse_evidence']} (fails at {check['fails_at']:g}), {check['within_evidence']} "
            f"(passes at {check['passes_at']:g})"
        )
        if check["worst_cases"]:
            lines.append(f"  lost most at {', '.join(check['worst_cases'])}")
    if run["replay"]:
        lines.append(f"answers: `lineclear replays show {run['replay']}`")
    return lines
