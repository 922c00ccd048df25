"""`lineclear secrets set|list|rm`: credentials that manifests name as `secret:NAME`."""

from pathlib import Path

import click

from lineclear.cli.asking import demand_typed, is_someone_there, read_secret
from lineclear.cli.connect import admin_command
from lineclear.cli.offered import names_of
from lineclear.cli.output import Output
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of

COLUMNS = ["name", "set_at", "set_by", "used_by"]


@click.group(cls=NounGroup)
def secrets() -> None:
    """Set, list and remove the credentials that manifests name as secret:NAME."""


@secrets.command("set")
@click.argument("name", shell_complete=names_of("secrets"))
@click.option(
    "--from-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=None,
    help="File with the value.",
)
@admin_command
def set_secret(client: AdminClient, output: Output, name: str, from_file: Path | None) -> None:
    """Give a secret a value, typed hidden, piped in, or from a file; never an argument, which others could read.

    Providers that name it are called with the new value when this returns.
    """
    value = read_secret(f"Value of {name} (not shown)", from_file)
    answer = client.post(path_of("secrets", name), {"value": value})
    lines = [f"secret {name} is set; manifests name it as `credential: secret:{name}`"]
    if answer["used_by"]:
        lines = [f"secret {name} is set and in force for {', '.join(answer['used_by'])}"]
    output.value(answer, lines)
    output.silent(answer["gateways"])


@secrets.command("list")
@admin_command
def list_secrets(client: AdminClient, output: Output) -> None:
    """List secrets: when and by whom each was set, and what uses it. Values are never shown."""
    answer = client.get(path_of("secrets"))
    output.rows(answer["secrets"], COLUMNS, answer)


@secrets.command("rm")
@click.argument("name", shell_complete=names_of("secrets"))
@click.option("--force", is_flag=True, help="Also if providers use it; they are called without a credential then.")
@click.option("--yes", "is_confirmed", is_flag=True, help="Do not ask.")
@click.option("--reason", default=None, help="Why; kept in the audit trail.")
@admin_command
def remove(client: AdminClient, output: Output, name: str, force: bool, is_confirmed: bool, reason: str | None) -> None:
    """Remove a secret; refused while providers use it."""
    if force and not is_confirmed:
        found = client.get(path_of("secrets"))["secrets"]
        users: list[str] = [user for item in found if item["name"] == name for user in item["used_by"]]
        words = f"Calls of {', '.join(users)} will go without a credential."
        if users and not is_someone_there():
            raise click.UsageError(f"{words} Nobody is here to say yes: add --yes.")
        if users:
            demand_typed(words, name)
    answer = client.delete(path_of("secrets", name), {"force": "true" if force else None, "reason": reason})
    without = f"; {', '.join(answer['used_by'])} go without a credential" if answer["used_by"] else ""
    output.value(answer, [f"removed secret {name}{without}"])
    output.silent(answer["gateways"])
