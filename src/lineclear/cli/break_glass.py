"""`lineclear break-glass open|close|list|review`."""

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.output import Output
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of

COLUMNS = ["id", "principal", "role", "scope", "incident", "state", "opened_at", "ends_at", "reviewed_by"]


@click.group("break-glass", cls=NounGroup)
def break_glass() -> None:
    """Open a sealed role in an emergency; rollback, block and stop never need it."""


@break_glass.command("open")
@click.argument("grant_id")
@click.option("--incident", required=True, help="Id of the incident that this is for.")
@click.option("--reason", required=True, help="Why; everybody reads it.")
@click.option("--minutes", type=click.IntRange(1, 60), default=30, show_default=True, help="How long.")
@admin_command
def open_role(client: AdminClient, output: Output, grant_id: str, incident: str, reason: str, minutes: int) -> None:
    """Put a sealed grant of your own in force; `lineclear access me` shows which you have.

    It is told in `status`, on the console and in the audit trail, and somebody else has to review it.
    """
    request = {"grant": grant_id, "incident": incident, "reason": reason, "minutes": minutes}
    answer = client.post(path_of("break-glass"), request)
    role = f"{answer['role']} on {answer['scope']}"
    output.value(answer, [f"{role} is in force until {answer['ends_at']} ({answer['id']})"])


@break_glass.command()
@click.argument("opening_id")
@admin_command
def close(client: AdminClient, output: Output, opening_id: str) -> None:
    """End your emergency before its time."""
    answer = client.post(path_of("break-glass", opening_id, "close"), None)
    output.value(answer, [f"{answer['id']} ended at {answer['ends_at']}; it waits for its review"])


@break_glass.command("list")
@admin_command
def list_openings(client: AdminClient, output: Output) -> None:
    """List when sealed roles were opened, by whom and why, newest first."""
    answer = client.get(path_of("break-glass"))
    output.rows(answer["openings"], COLUMNS, answer)


@break_glass.command()
@click.argument("opening_id")
@click.argument("words")
@admin_command
def review(client: AdminClient, output: Output, opening_id: str, words: str) -> None:
    """Close the review of somebody else's emergency with WORDS: what was done, and whether it was right."""
    answer = client.post(path_of("break-glass", opening_id, "review"), {"review": words})
    output.value(answer, [f"{answer['id']} of {answer['principal']} is {answer['state']}"])
