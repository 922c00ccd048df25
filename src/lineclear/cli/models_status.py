"""`lineclear models approve|deprecate|retire|unblock|replace|callers|history|inventory`: the life of a version."""

from collections.abc import Mapping
from typing import Any

import click

from lineclear.cli.asking import confirm
from lineclear.cli.connect import admin_command
from lineclear.cli.offered import names_of
from lineclear.cli.output import ExitCode, Output
from lineclear.cli.plan import plan_lines
from lineclear.client.admin import AdminClient, path_of

CALLER_COLUMNS = ["app", "environment", "requests", "requests_by_day", "last_call_at", "cost_usd", "keys"]
HISTORY_COLUMNS = ["at", "before", "after", "changed_by", "approved_by", "change", "note"]
INVENTORY_COLUMNS = [
    "model", "status", "owner", "apps", "requests", "last_call_at", "cost_usd", "days_left", "successor",
]  # fmt: skip
OPEN = "open"

version_argument = click.argument("version", metavar="NAME@VERSION", shell_complete=names_of("model-versions"))
reason_option = click.option("--reason", default="", help="Why; kept with the change.")


@click.command()
@version_argument
@reason_option
@admin_command
def approve(client: AdminClient, output: Output, version: str, reason: str) -> None:
    """Let a version serve live calls."""
    _moved(output, version, "approved", client.post(path_of("model-versions", version, "approve"), {"reason": reason}))


@click.command()
@version_argument
@reason_option
@admin_command
def unblock(client: AdminClient, output: Output, version: str, reason: str) -> None:
    """Let a blocked version be tested again; live calls wait for `models approve`."""
    _moved(output, version, "test", client.post(path_of("model-versions", version, "unblock"), {"reason": reason}))


@click.command()
@version_argument
@click.option("--sunset", default="", metavar="DATE", help="When it is to be retired, e.g. 2027-06-01.")
@click.option(
    "--successor",
    default="",
    metavar="NAME@VERSION",
    shell_complete=names_of("model-versions"),
    help="What to use instead.",
)
@reason_option
@admin_command
def deprecate(client: AdminClient, output: Output, version: str, sunset: str, successor: str, reason: str) -> None:
    """Tell every caller of a version to move on, and until when; no new release may name it."""
    request = {"sunset": sunset, "successor": successor, "reason": reason}
    _moved(output, version, "deprecated", client.post(path_of("model-versions", version, "deprecate"), request))
    callers = client.get(path_of("model-versions", version, "callers"))["callers"]
    if callers:
        output.note(f"{len(callers)} callers are told from now on; `lineclear models callers {version}` names them")


@click.command()
@version_argument
@click.option("--force", is_flag=True, help="Although apps called it in the last 30 days; takes an approver.")
@reason_option
@admin_command
def retire(client: AdminClient, output: Output, version: str, force: bool, reason: str) -> None:
    """Serve a version no more: its calls get 410 with the successor. Refused while anybody calls it."""
    request = {"force": force, "reason": reason}
    _moved(output, version, "retired", client.post(path_of("model-versions", version, "retire"), request))


@click.command()
@version_argument
@admin_command
def callers(client: AdminClient, output: Output, version: str) -> None:
    """Who called a version in the last 30 days, day by day in the last seven, the last one today."""
    answer = client.get(path_of("model-versions", version, "callers"))
    output.rows(answer["callers"], CALLER_COLUMNS, answer)


@click.command()
@version_argument
@admin_command
def history(client: AdminClient, output: Output, version: str) -> None:
    """List every status that a version had, newest first, and who brought it about."""
    answer = client.get(path_of("model-versions", version, "history"))
    output.rows(answer["steps"], HISTORY_COLUMNS, answer)


@click.command()
@admin_command
def inventory(client: AdminClient, output: Output) -> None:
    """Every version with its owner, callers, cost of 30 days, days left and successor; what goes first at the top."""
    answer = client.get(path_of("inventory"))
    rows = [{**row, "apps": sorted({caller["app"] for caller in row["callers"]})} for row in answer["versions"]]
    output.rows(rows, INVENTORY_COLUMNS, answer)


@click.command()
@click.argument("old", metavar="OLD", shell_complete=names_of("model-versions"))
@click.argument("new", metavar="NEW", shell_complete=names_of("model-versions"))
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing. Exits with 3, as `plan` does.")
@click.option("--yes", "is_confirmed", is_flag=True, help="Do not ask.")
@reason_option
@admin_command
def replace(
    client: AdminClient, output: Output, old: str, new: str, dry_run: bool, is_confirmed: bool, reason: str
) -> None:
    """Put NEW in OLD's place on every route that names it."""
    planned = client.post(path_of("model-versions", old, "replace"), {"new": new})
    lines = plan_lines(planned["plan"])
    if dry_run:
        output.value(planned, lines)
        raise SystemExit(ExitCode.PLAN_HAS_CHANGES)
    if not is_confirmed:
        for line in lines:
            output.note(line)
    confirm(f"Replace {old} by {new} on {len(planned['routes'])} routes?", is_confirmed=is_confirmed)
    request = {"new": new, "plan": planned["plan"]["digest"], "reason": reason}
    answer = client.post(path_of("model-versions", old, "replace"), request)
    words = f"{old} is replaced by {new} on: {', '.join(answer['routes'])}"
    _told(output, answer, answer["applied"], words)


def _moved(output: Output, version: str, status: str, answer: Mapping[str, Any]) -> None:
    _told(output, answer, answer, f"{version} is {status}")


def _told(output: Output, answer: Mapping[str, Any], applied: Mapping[str, Any], words: str) -> None:
    if applied["state"] == OPEN:
        output.value(answer, [f"waits for approval by somebody else: {applied['change']}"])
        raise SystemExit(ExitCode.APPROVAL_PENDING)
    output.value(answer, [f"{words} (change {applied['change']}, revision {applied['revision']})"])
    for warning in applied["plan"]["warnings"]:
        output.note(warning)
    output.silent(applied["gateways"])
