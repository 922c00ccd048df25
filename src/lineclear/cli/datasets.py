"""`lineclear datasets add|list|show|remove`."""

from pathlib import Path

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.offered import names_of
from lineclear.cli.output import Output
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of

COLUMNS = ["id", "team", "cases", "content_bytes", "created_at", "created_by"]

dataset_argument = click.argument("dataset", shell_complete=names_of("datasets"))


@click.group(cls=NounGroup)
def datasets() -> None:
    """Keep, list, show and remove datasets: cases that releases are asked."""


@datasets.command()
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--team", required=True, shell_complete=names_of("teams"), help="Whose cases they are.")
@admin_command
def add(client: AdminClient, output: Output, name: str, file: Path, team: str) -> None:
    """Keep FILE, JSON lines, as a version of the dataset NAME; equal content is the same version."""
    try:
        content = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file} cannot be read as UTF-8 text: {error}") from error
    answer = client.post(path_of("datasets"), {"name": name, "team": team, "content": content})
    facts = answer["dataset"]
    words = "kept" if answer["is_new"] else "was there already"
    output.value(answer, [f"{facts['id']} {words}: {facts['cases']} cases"])


@datasets.command("list")
@admin_command
def list_datasets(client: AdminClient, output: Output) -> None:
    """List versions of datasets, by name and newest first."""
    found = client.get(path_of("datasets"))["datasets"]
    output.rows(found, COLUMNS, {"datasets": found})


@datasets.command()
@dataset_argument
@click.option("--content", is_flag=True, help="Print its cases as they were given.")
@admin_command
def show(client: AdminClient, output: Output, dataset: str, content: bool) -> None:
    """Show a version of a dataset: the newest of NAME, or the one of NAME@DIGEST."""
    if content:
        # One case would be decoded as the JSON object that it is.
        found = client.get(path_of("datasets", dataset, "content"))
        lines = found.splitlines() if isinstance(found, str) else [str(found)]
        output.value({"dataset": dataset, "content": found}, lines)
        return
    output.value(client.get(path_of("datasets", dataset)))


@datasets.command()
@dataset_argument
@admin_command
def remove(client: AdminClient, output: Output, dataset: str) -> None:
    """Forget a version; what was found with it stays."""
    answer = client.delete(path_of("datasets", dataset))
    output.value(answer, [f"{answer['removed']['id']} is removed"])
