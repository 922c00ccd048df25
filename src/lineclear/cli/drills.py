"""`lineclear drills ready|list`: which routes could go back at once, and how drills of their rollback went."""

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.output import Output
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of

READY_COLUMNS = ["route", "environment", "ready", "would_go_back_to", "last_drill", "went", "next_drill", "reason"]
COLUMNS = ["at", "route", "environment", "actor", "release", "passed", "acknowledged", "silent", "in_s", "reason"]


@click.group(cls=NounGroup)
def drills() -> None:
    """Tell how drills of rollbacks went; `lineclear rollback ROUTE --drill` makes one."""


@drills.command("ready")
@admin_command
def ready(client: AdminClient, output: Output) -> None:
    """Tell which routes could go back at once, to what, and how the last drill of that went."""
    answer = client.get(path_of("rollbacks"))
    output.rows([_row(item) for item in answer["deployments"]], READY_COLUMNS, answer)


@drills.command("list")
@click.option("--limit", type=click.IntRange(1, 1_000), default=100, show_default=True, help="Most rows.")
@admin_command
def list_drills(client: AdminClient, output: Output, limit: int) -> None:
    """List drills and how they went, newest first; the server's own and those that people made."""
    answer = client.get(path_of("drills"), {"limit": limit})
    output.rows(answer["drills"], COLUMNS, answer)


def _row(item: dict[str, object]) -> dict[str, object]:
    drill = item["drill"]
    told = drill if isinstance(drill, dict) else {}
    return {
        "route": item["route"],
        "environment": item["environment"],
        "ready": item["rollback_ready"],
        "would_go_back_to": item["rollback_to"],
        "last_drill": told.get("last_at"),
        "went": told.get("last_words"),
        "next_drill": told.get("due_at"),
        "reason": item["reason"],
    }
