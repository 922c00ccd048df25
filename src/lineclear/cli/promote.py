"""`lineclear promote`: carry a route's release from one environment to another."""

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.offered import names_of
from lineclear.cli.output import ExitCode, Output
from lineclear.cli.plan import plan_lines
from lineclear.client.admin import AdminClient, path_of

OPEN = "open"
"""The state of a change that waits for approval."""


@click.command()
@click.argument("route", shell_complete=names_of("routes"))
@click.option("--from", "source", required=True, shell_complete=names_of("environments"), help="Where the release is.")
@click.option("--to", "target", required=True, shell_complete=names_of("environments"), help="Where it shall be.")
@click.option("--note", default="", help="Why; kept with the change.")
@admin_command
def promote(client: AdminClient, output: Output, route: str, source: str, target: str, note: str) -> None:
    """Carry a route's release to another environment, digest and all.

    Limits, budget, capture and rollout of the other environment stay. Where somebody else has to approve, a change is
    opened and the command exits with 7.
    """
    body = {"route": route, "from_environment": source, "to_environment": target, "note": note}
    answer = client.post(path_of("promotions"), body)
    applied = answer["applied"]
    what = f"{answer['release']} of {route}"
    if applied["change"] is None:
        output.value(answer, [f"{what} is in force in {target} already"])
        return
    lines = plan_lines(applied["plan"])
    if applied.get("state") == OPEN:
        waits = [
            f"opened as {applied['change']}; somebody else has to approve it: lineclear approve {applied['change']}",
            f"then: lineclear apply {applied['change']}",
        ]
        output.value(answer, [*lines, *waits])
        raise SystemExit(ExitCode.APPROVAL_PENDING)
    done = f"{what} is in force in {target} as in {source}, by {applied['change']}, revision {applied['revision']}"
    output.value(answer, [*lines, done])
    output.silent(applied["gateways"])
