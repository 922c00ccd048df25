"""`lineclear logs`: one line per exchange, newest first."""

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.output import Output
from lineclear.client.admin import AdminClient, path_of
from lineclear.domain.demo import DEMO_WORDS

COLUMNS = ("at", "id", "app", "route", "model", "outcome", "status", "output_tokens", "cost_usd", "duration_ms")


@click.command()
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="At most this many.")
@click.option("--since", default=None, help="A span back from now (24h, 7d) or ISO 8601; default 30d.")
@click.option("--until", default=None, help="End of the period, as --since; default now.")
@click.option("--before", default=None, help="Only exchanges older than this request id.")
@click.option("--find", default=None, help="Only exchanges that carry this caller's, vendor's or response's id.")
@click.option("-e", "--environment", default=None, help="Only this environment.")
@click.option("--team", default=None, help="Only this team.")
@click.option("--app", default=None, help="Only this application.")
@click.option("--route", default=None, help="Only this route.")
@click.option("--model", default=None, help="Only this model version, name@version.")
@click.option("--outcome", default=None, help="Only this outcome: ok, refused, failed, …")
@click.option("--error", "error_code", default=None, help="Only this error code.")
@admin_command
def logs(client: AdminClient, output: Output, /, **question: str | int | None) -> None:
    """List exchanges, newest first."""
    page = client.get(path_of("requests"), question)
    if page.get("demo"):
        output.note(DEMO_WORDS)
    output.rows(page["rows"], COLUMNS, page["rows"])
    if page["before"]:
        output.note(f"there is more: --before {page['before']}")
