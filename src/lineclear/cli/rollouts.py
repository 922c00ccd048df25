"""`lineclear rollouts list|show|pause|resume|advance|rerun|rollback|plan`."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.offered import names_of
from lineclear.cli.output import ExitCode, Output
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of

COLUMNS = ["id", "environment", "route", "name", "state", "hold", "percent", "step", "steps", "started_at"]
STATES = ("pending", "running", "held", "completed", "rolled_back", "cancelled")
ENDS = frozenset(STATES[3:])
GATE = "gate"
"""What holds a rollout whose gate did not pass."""
LOOK_S = 1.0

rollout_argument = click.argument("rollout", shell_complete=names_of("rollouts"))
reason_option = click.option("--reason", default="", help="Why; kept with the rollout and in the audit trail.")


@click.group(cls=NounGroup)
def rollouts() -> None:
    """List, show, plan, pause, resume, advance, run again and roll back rollouts."""


@rollouts.command("list")
@click.option("-e", "--env", "environment", default=None, shell_complete=names_of("environments"),
              help="Only this environment.")  # fmt: skip
@click.option("--route", default=None, shell_complete=names_of("routes"), help="Only this route.")
@click.option("--state", type=click.Choice(STATES), default=None, help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True, help="At most so many.")
@admin_command
def list_rollouts(
    client: AdminClient, output: Output, environment: str | None, route: str | None, state: str | None, limit: int
) -> None:
    """List rollouts, newest first."""
    asked = {"environment": environment, "route": route, "state": state, "limit": limit}
    found = client.get(path_of("rollouts"), asked)["rollouts"]
    output.rows(found, COLUMNS, {"rollouts": found})


@rollouts.command()
@rollout_argument
@click.option("--wait", is_flag=True, help="Wait until it has ended, or a gate holds it.")
@admin_command
def show(client: AdminClient, output: Output, rollout: str, wait: bool) -> None:
    """Show a rollout with its evidence; exits 8 if a guard rolled it back or a gate holds it."""
    answer = client.get(path_of("rollouts", rollout))
    while wait and answer["rollout"]["state"] not in ENDS and answer["rollout"]["hold"] != GATE:
        time.sleep(LOOK_S)
        answer = client.get(path_of("rollouts", rollout))
    output.value(answer, detail_lines(answer))
    if answer["rollout"]["by_guard"] or answer["rollout"]["hold"] == GATE:
        raise click.exceptions.Exit(ExitCode.GATE_FAILED)


def _acting(name: str, path: str, words: str) -> Callable[..., Any]:
    # Any: what click makes of a function
    @rollouts.command(name, help=words)
    @rollout_argument
    @reason_option
    @admin_command
    def act(client: AdminClient, output: Output, rollout: str, reason: str) -> None:
        answer = client.post(path_of("rollouts", rollout, path), {"reason": reason})
        output.value(answer, detail_lines(answer))

    return act


pause = _acting("pause", "pauses", "Hold a rollout where it is.")
resume = _acting("resume", "resumptions", "Go on with a rollout that is held; guards still roll it back.")
advance = _acting("advance", "advances", "Take the next step now; where approval is asked for, give it.")
rerun = _acting("rerun", "reruns", "Run the gate once more that holds a rollout, from its beginning.")
rollback = _acting("rollback", "rollbacks", "End a rollout: the stable release alone serves.")


@rollouts.command()
@click.argument("route", shell_complete=names_of("routes"))
@click.option("-e", "--env", "environment", default="live", show_default=True,
              shell_complete=names_of("environments"), help="Its environment.")  # fmt: skip
@click.option("--rollout", default=None, help="Another Rollout than the one that the route names.")
@admin_command
def plan(client: AdminClient, output: Output, route: str, environment: str, rollout: str | None) -> None:
    """Say what each step finds out at a route's traffic, before anything starts."""
    asked = {"environment": environment, "route": route, "rollout": rollout}
    answer = client.get(path_of("rollout-previews"), asked)
    lines = [
        f"rollout {answer['rollout']} of {route} in {environment}: at least {answer['hours']:g} hours",
        f"traffic: {answer['requests_per_hour']:g} requests an hour, errors {answer['error_rate']:.3%} "
        f"(of the last {answer['sample']})",
        *(f"step {one['step']} at {one['percent']:g} %: {one['sentence']}" for one in answer["steps"]),
    ]
    output.value(answer, lines)


def detail_lines(answer: Mapping[str, Any]) -> list[str]:
    """A rollout for a person."""
    facts = answer["rollout"]
    hold = f" ({facts['hold']})" if facts["hold"] else ""
    lines = [
        f"{facts['id']} {facts['state']}{hold}: {facts['route']} in {facts['environment']}, rollout {facts['name']}",
        f"{facts['stable']} -> {facts['candidate']}, {facts['percent']:g} % on the candidate, "
        f"step {facts['step']} of {facts['steps']}",
        f"started {facts['started_at']} by {facts['started_by']}"
        + (f", ended {facts['ended_at']}" if facts["ended_at"] else ""),
    ]
    if facts["reason"]:
        lines.append(f"last: {facts['reason']}")
    lines += [f"waits: {words}" for words in answer["why_not_advancing"]]
    lines += [
        f"{'>' if step['state'] == 'now' else ' '} {step['number']}. {step['title'] or step['kind']}"
        f" {step['percent']:g} % for {step['seconds']:g} s ({step['state']})"
        for step in answer["course"]
    ]
    if answer["gate"] is not None:
        gate = answer["gate"]
        lines.append(
            f"gate {gate['title']}, run {gate['run']}: {gate['verdict'] or 'not begun'} {gate['words']}".rstrip()
        )
    lines.append(f"requests: stable {answer['stable_requests']}, candidate {answer['candidate_requests']}")
    lines += [
        f"guard {guard['guard']}: evidence {guard['evidence']}, holds at {guard['hold_at']:g}, "
        f"rolls back at {guard['roll_back_at']:g}" + (f" ({guard['verdict']})" if guard["verdict"] else "")
        for guard in answer["guards"]
    ]
    if answer["reviews"] is not None:
        lines += [_review_line(arm, answer["reviews"]) for arm in ("stable", "candidate")]
    if answer["unmonitored"]:
        lines.append(f"{answer['unmonitored']} requests went to stable because no control was seen")
    if answer["other_release"]:
        lines.append(f"{answer['other_release']} requests said another release than their arm's and count for neither")
    return lines


def _review_line(arm: str, reviews: Mapping[str, Any]) -> str:
    # Any: what JSON holds.
    share = reviews[f"{arm}_share"]
    said = ", ".join(f"{count} {outcome}" for outcome, count in reviews[arm].items())
    return f"reviews of {arm}: {said}" + (f" ({share:.1%} of its requests)" if share is not None else "")
