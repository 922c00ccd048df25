"""`lineclear usage`: sums of requests, tokens and cost."""

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.offered import OPERATIONS, names_of
from lineclear.cli.output import Output
from lineclear.client.admin import AdminClient, path_of
from lineclear.domain.demo import DEMO_WORDS

FIGURES = ("requests", "errors", "input_tokens", "output_tokens", "cost_usd", "unpriced_requests", "latency_ms_p95")


@click.command()
@click.option("--by", default="route", show_default=True, help="Comma-separated: route, app, model, operation, day, …")
@click.option("--since", default=None, help="A span back from now (24h, 7d) or ISO 8601; default 30d.")
@click.option("--until", default=None, help="End of the period, as --since; default now.")
@click.option(
    "-e", "--environment", default=None, shell_complete=names_of("environments"), help="Only this environment."
)
@click.option("--team", default=None, shell_complete=names_of("teams"), help="Only this team.")
@click.option("--app", default=None, shell_complete=names_of("apps"), help="Only this application.")
@click.option("--route", default=None, shell_complete=names_of("routes"), help="Only this route.")
@click.option(
    "--model", default=None, shell_complete=names_of("model-versions"), help="Only this model version, name@version."
)
@click.option("--operation", default=None, shell_complete=OPERATIONS, help="Only this operation, such as embeddings.")
@admin_command
def usage(client: AdminClient, output: Output, /, by: str, **only: str | None) -> None:
    """Sum requests, tokens and cost."""
    report = client.get(path_of("usage"), {"by": by, **only})
    names = [name.strip() for name in by.split(",") if name.strip()]
    columns = [*names, *FIGURES]
    total = {**report["total"], **({names[0]: "total"} if names else {})}
    shown = report["rows"]
    if output.format == "table":
        shown = [*shown, total]
    if report.get("demo"):
        output.note(DEMO_WORDS)
    output.rows(shown, columns, report)
    output.note(f"{report['since']} to {report['until']}")
