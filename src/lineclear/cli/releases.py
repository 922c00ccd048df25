"""`lineclear releases list|show`."""

import json

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.offered import names_of
from lineclear.cli.output import Output
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of


@click.group(cls=NounGroup)
def releases() -> None:
    """List and show the releases of routes."""


@releases.command("list")
@click.option("--route", default=None, shell_complete=names_of("routes"), help="Only releases of this route.")
@admin_command
def list_releases(client: AdminClient, output: Output, route: str | None) -> None:
    """List releases, newest first per route; `environments` = where it is the stable one."""
    found = [item for item in client.get(path_of("releases"))["releases"] if route in (None, item["route"])]
    output.rows(found, ["id", "route", "environments", "change"], {"releases": found})


@releases.command()
@click.argument("release", shell_complete=names_of("releases"))
@admin_command
def show(client: AdminClient, output: Output, release: str) -> None:
    """Show one release by id or digest."""
    answer = client.get(path_of("releases", release))
    output.value(answer, json.dumps(answer, indent=2, ensure_ascii=False).splitlines())
