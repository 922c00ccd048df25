"""`lineclear apps list|show`."""

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.nouns import show_noun
from lineclear.cli.offered import names_of
from lineclear.cli.output import Output
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of


@click.group(cls=NounGroup)
def apps() -> None:
    """List the applications that may call."""


@apps.command("list")
@admin_command
def list_apps(client: AdminClient, output: Output) -> None:
    """List apps with their team and routes."""
    answer = client.get(path_of("apps"))
    rows = [
        {
            "name": item["name"],
            "team": item["manifest"]["team"],
            "routes": item["manifest"]["routes"],
            "managed_by": item["managed_by"],
        }
        for item in answer["items"]
    ]
    output.rows(rows, ["name", "team", "routes", "managed_by"], answer)


@apps.command()
@click.argument("name", shell_complete=names_of("apps"))
@admin_command
def show(client: AdminClient, output: Output, name: str) -> None:
    """Show one app."""
    show_noun(output, client.get(path_of("apps", name)))
