"""`lineclear sessions list|end`."""

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.output import Output
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of

COLUMNS = ["id", "principal", "created_at", "seen_at", "expires_at"]


@click.group(cls=NounGroup)
def sessions() -> None:
    """List and end sessions of the console."""


@sessions.command("list")
@admin_command
def list_sessions(client: AdminClient, output: Output) -> None:
    """List who is signed in to the console, newest first."""
    answer = client.get(path_of("sessions"))
    output.rows(answer["sessions"], COLUMNS, answer)


@sessions.command()
@click.argument("session_id", required=False)
@click.option("--all", "is_all", is_flag=True, help="Every session, and every sign-in link that nobody used yet.")
@click.option("--reason", default=None, help="Why; kept in the audit trail.")
@admin_command
def end(client: AdminClient, output: Output, session_id: str | None, is_all: bool, reason: str | None) -> None:
    """End a session by its id: whoever has its cookie is signed out at once."""
    if is_all == (session_id is not None):
        raise click.UsageError("name one session, or --all")
    if session_id is not None:
        answer = client.delete(path_of("sessions", session_id), {"reason": reason})
        output.value(answer, [f"ended {answer['id']} of {answer['principal']}"])
        return
    answer = client.delete(path_of("sessions"), {"reason": reason})
    ended, links = len(answer["sessions"]), answer["links"]
    output.value(answer, [f"sessions ended: {ended}, unused sign-in links taken back: {links}"])
