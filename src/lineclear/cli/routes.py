"""`lineclear routes list|show`."""

import difflib

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.nouns import show_noun
from lineclear.cli.offered import names_of
from lineclear.cli.output import ExitCode, Output
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of

COLUMNS = ["environment", "route", "team", "release", "strategy", "targets", "fallback"]


@click.group(cls=NounGroup)
def routes() -> None:
    """List and show routes."""


@routes.command("list")
@click.option(
    "-e", "--env", "environment", default=None, shell_complete=names_of("environments"), help="Only this environment."
)
@admin_command
def list_routes(client: AdminClient, output: Output, environment: str | None) -> None:
    """List routes with their release and targets in each environment."""
    answer = client.get(path_of("routes"))
    releases = {
        (name, item["route"]): item["id"]
        for item in client.get(path_of("releases"))["releases"]
        for name in item["environments"]
    }
    rows = [
        {
            "environment": name,
            "route": item["name"],
            "team": item["manifest"]["team"],
            "release": releases.get((name, item["name"])),
            "strategy": deployed["strategy"],
            "targets": [target["model"] for target in deployed["targets"]],
            "fallback": [target["model"] for target in deployed["fallback"]],
        }
        for item in answer["items"]
        for name, deployed in item["manifest"]["environments"].items()
        if environment in (None, name)
    ]
    output.rows(rows, COLUMNS, {"routes": rows})


@routes.command()
@click.argument("name", shell_complete=names_of("routes"))
@admin_command
def show(client: AdminClient, output: Output, name: str) -> None:
    """Show one route."""
    items = client.get(path_of("routes"))["items"]
    found = next((item for item in items if item["name"] == name), None)
    if found is None:
        known = sorted(item["name"] for item in items)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else "`lineclear routes list` shows names"
        output.fail(ExitCode.NOT_FOUND, f"there is no route {name!r}", hint=hint, kind="not_found")
    show_noun(output, found)
