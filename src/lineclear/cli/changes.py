"""`lineclear changes list|show|diff|reject|withdraw|rebase` and `lineclear approve`."""

from collections.abc import Mapping
from typing import Any

import click

from lineclear.cli.asking import is_someone_there
from lineclear.cli.connect import admin_command
from lineclear.cli.offered import names_of
from lineclear.cli.output import Output
from lineclear.cli.plan import plan_lines, wanted_approvers
from lineclear.cli.releases import component_lines
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of

COLUMNS = ["id", "state", "author", "approver", "created_at", "note"]
STATES = ("open", "approved", "applied", "stale", "rejected", "withdrawn", "expired")

change_argument = click.argument("change", shell_complete=names_of("changes"))


@click.command()
@change_argument
@click.option("--reason", default="", help="What to say with it; kept with the change.")
@click.option("--content", default="", help="Only if it does this: digest of the content that you looked at.")
@click.option("--yes", "is_confirmed", is_flag=True, help="Do not ask at a terminal.")
@admin_command
def approve(client: AdminClient, output: Output, change: str, reason: str, content: str, is_confirmed: bool) -> None:
    """Approve what a change of somebody else would do now; refused with 6 if it is not what was shown."""
    if not content:
        shown = client.get(path_of("changes", change))
        content = shown["change"]["plan"]["content"]
        if not is_confirmed and is_someone_there():
            click.echo("\n".join(_lines(shown)), err=True)
            click.confirm("Approve this?", abort=True, err=True)
    answer = client.post(path_of("changes", change, "approvals"), {"reason": reason, "content": content})
    lines = [
        f"{need['missing']} more for {need['environment']}{_by_whom(need)}"
        for need in answer["needs"]
        if need["missing"]
    ]
    done = [f"approved; carry it out with `lineclear apply {change}`"]
    output.value(answer, lines or done)


@click.group(cls=NounGroup)
def changes() -> None:
    """List, show, compare, reject, withdraw and rebase changes."""


@changes.command("list")
@click.option("--state", type=click.Choice(STATES), default=None, help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True, help="At most so many.")
@admin_command
def list_changes(client: AdminClient, output: Output, state: str | None, limit: int) -> None:
    """List changes, newest first."""
    found = client.get(path_of("changes"), {"state": state, "limit": limit})["changes"]
    output.rows(found, COLUMNS, {"changes": found})


@changes.command()
@change_argument
@admin_command
def show(client: AdminClient, output: Output, change: str) -> None:
    """Show what a change does, who has to approve it, and who has."""
    _tell(output, client.get(path_of("changes", change)))


@changes.command()
@change_argument
@admin_command
def diff(client: AdminClient, output: Output, change: str) -> None:
    """Compare each release that a change would replace with the new one: words of prompts, fields, weights."""
    answer = client.get(path_of("changes", change, "comparison"))
    lines = []
    for item in answer["deployments"]:
        how = f", by rollout {item['rollout']}" if item["rollout"] else ""
        arrow = f"{item['before'] or 'nothing'} → {item['after'] or 'nothing'}"
        lines += [f"{item['environment']}/{item['route']}: {arrow}{how}", *component_lines(item["components"], "  ")]
    output.value(answer, lines or [answer["problem"] or "it moves no route"])


@changes.command()
@change_argument
@click.option("--reason", required=True, help="Why; its author reads it.")
@admin_command
def reject(client: AdminClient, output: Output, change: str, reason: str) -> None:
    """Close a change for good, as an approver."""
    _tell(output, client.post(path_of("changes", change, "rejections"), {"reason": reason}))


@changes.command()
@change_argument
@click.option("--reason", default="", help="Why; kept with the change.")
@admin_command
def withdraw(client: AdminClient, output: Output, change: str, reason: str) -> None:
    """Close a change for good, as its author."""
    _tell(output, client.post(path_of("changes", change, "withdrawals"), {"reason": reason}))


@changes.command()
@change_argument
@admin_command
def rebase(client: AdminClient, output: Output, change: str) -> None:
    """Work a change out again on what stands now; approvals stay if it would do the same."""
    _tell(output, client.post(path_of("changes", change, "rebases"), None))


def _tell(output: Output, answer: Mapping[str, Any]) -> None:
    output.value(answer, _lines(answer))


def _lines(answer: Mapping[str, Any]) -> list[str]:
    """A change for a person."""
    facts = answer["change"]
    closed = f", closed {facts['closed_at']} by {facts['closed_by']} {facts['reason']}" if facts["closed_at"] else ""
    waits = f", until {facts['expires_at']}" if facts["expires_at"] and not closed else ""
    with_others = f" with {', '.join(facts['co_authors'])}" if facts["co_authors"] else ""
    return [
        f"{facts['id']} {facts['state']}{closed or waits}".rstrip(),
        f"by {facts['author']}{with_others}, {facts['created_at']}: {facts['note']}",
        *plan_lines(facts["plan"]),
        *(
            f"approval of {need['environment']}: {need['missing']} of {need['approvals']} missing{_by_whom(need)}"
            for need in answer["needs"]
        ),
        *(
            f"approved by {item['principal']}, {item['at']}{'' if item['is_current'] else ' (of what it did before)'}"
            f"{': ' + item['note'] if item['note'] else ''}"
            for item in answer["approvals"]
        ),
        *([f"content {facts['plan']['content']}"] if answer["needs"] else []),
    ]


def _by_whom(need: Mapping[str, Any]) -> str:
    wanted = wanted_approvers(need)
    return f", by somebody {wanted}" if wanted else ""
