"""`lineclear history`: which release of a route was in force when, and who changed it."""

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.offered import names_of
from lineclear.cli.output import Output
from lineclear.client.admin import AdminClient, path_of

COLUMNS = ["release", "from_at", "until_at", "how", "changed_by", "approved_by", "change", "note"]

WORDS = {
    "deployment.moved": "released",
    "deployment.rolled-back": "rolled back",
    "deployment.removed": "removed",
}
"""How a release came to be in force, for people; `-o json` has the action of the audit trail."""


@click.command()
@click.argument("route", shell_complete=names_of("routes"))
@click.option(
    "-e", "--env", "environment", default="live", show_default=True, shell_complete=names_of("environments"),
    help="In this environment.",
)  # fmt: skip
@click.option("--at", default=None, metavar="DATE", help="What was in force then: ISO 8601, or a span back (24h, 7d).")
@admin_command
def history(client: AdminClient, output: Output, route: str, environment: str, at: str | None) -> None:
    """Tell which release of a route was in force when, newest first; rollbacks stand in it too."""
    answer = client.get(path_of("deployment-history"), {"route": route, "environment": environment, "at": at})
    found = answer["stretches"]
    if not found:
        output.note(f"{route} was not deployed in {environment} at {answer['at']}")
    output.rows([{**item, "how": WORDS.get(item["how"], item["how"])} for item in found], COLUMNS, answer)
