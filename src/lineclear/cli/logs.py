"""`lineclear logs`: one line per exchange, newest first; or as they come in, with `-f`."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.follow import follow_requests
from lineclear.cli.offered import OPERATIONS, OUTCOMES, names_of
from lineclear.cli.output import Output
from lineclear.cli.stream import RowStream
from lineclear.client.admin import AdminClient, AdminError, path_of
from lineclear.domain.demo import DEMO_WORDS

COLUMNS = (
    "at",
    "id",
    "app",
    "route",
    "model",
    "outcome",
    "status",
    "error_code",
    "output_tokens",
    "cost_usd",
    "duration_ms",
)
NOUNS_ASKED = {"app": "apps", "route": "routes", "provider": "providers"}
"""Options of which a list tells all names, with that list."""
WIDTHS = {"at": 24, "id": 32, "app": 10, "route": 14, "model": 18, "outcome": 9, "error_code": 20, "cost_usd": 11}
"""So wide columns begin when following: what comes in later decides what they become."""
LIMIT_DEFAULT = 100
FOLLOW_LIMIT_DEFAULT = 10


@click.command()
@click.option("-f", "--follow", "is_followed", is_flag=True, help="Go on with what comes in, oldest first.")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=None,
    help=f"At most this many; default {LIMIT_DEFAULT}, with -f {FOLLOW_LIMIT_DEFAULT} to begin with.",
)
@click.option("--since", default=None, help="A span back from now (24h, 7d) or ISO 8601; default 30d.")
@click.option("--until", default=None, help="End of the period, as --since; default now.")
@click.option("--before", default=None, help="Only exchanges older than this request id.")
@click.option("--find", default=None, help="Only exchanges that carry this caller's, vendor's or response's id.")
@click.option(
    "-e", "--environment", default=None, shell_complete=names_of("environments"), help="Only this environment."
)
@click.option("--team", default=None, shell_complete=names_of("teams"), help="Only this team.")
@click.option("--app", default=None, shell_complete=names_of("apps"), help="Only this application.")
@click.option("--key", "key_id", default=None, shell_complete=names_of("keys"), help="Only this key, by its id.")
@click.option("--task", default=None, help="Only this task.")
@click.option("--route", default=None, shell_complete=names_of("routes"), help="Only this route.")
@click.option("--operation", default=None, shell_complete=OPERATIONS, help="Only this operation: chat, embeddings, …")
@click.option("--release", default=None, shell_complete=names_of("releases"), help="Only this release.")
@click.option(
    "--model", default=None, shell_complete=names_of("model-versions"), help="Only this model version, name@version."
)
@click.option("--provider", default=None, shell_complete=names_of("providers"), help="Only this provider.")
@click.option("--outcome", default=None, shell_complete=OUTCOMES, help="Only this outcome: ok, refused, failed, …")
@click.option("--status", default=None, help="Only this HTTP status (429) or family (5xx).")
@click.option("--error", "error_code", default=None, help="Only this error code.")
@click.option("--errors", "is_failed", is_flag=True, help="Only what went wrong.")
@admin_command
def logs(
    client: AdminClient,
    output: Output,
    /,
    *,
    is_followed: bool,
    is_failed: bool,
    limit: int | None,
    since: str | None,
    until: str | None,
    before: str | None,
    **narrowed: str | None,
) -> None:
    """List exchanges, newest first; with -f follow them until Ctrl-C."""
    question: dict[str, Any] = {**narrowed, "errors": "true" if is_failed else None}
    if is_followed:
        if until or before:
            raise click.UsageError("-f goes on without end: leave --until and --before out")
        stream = RowStream(output, COLUMNS, WIDTHS)
        for rows in follow_requests(client, output, question, {"since": since, "limit": limit or FOLLOW_LIMIT_DEFAULT}):
            stream.write(rows)
    period = {"since": since, "until": until, "before": before, "limit": limit or LIMIT_DEFAULT}
    page = client.get(path_of("requests"), {**question, **period})
    if page.get("demo"):
        output.note(DEMO_WORDS)
    output.rows(page["rows"], COLUMNS, page["rows"])
    if not page["rows"]:
        for line in _unknown_names(client, narrowed):
            output.note(line)
        output.note("no request matches; `lineclear logs` takes --since for a longer time than 30 days")
    if page["before"]:
        output.note(f"there is more: --before {page['before']}")


def _unknown_names(client: AdminClient, narrowed: Mapping[str, str | None]) -> Iterator[str]:
    """Names that were asked for and that nothing has now; records may outlive what they are of."""
    for option, nouns in NOUNS_ASKED.items():
        name = narrowed.get(option)
        if name is None:
            continue
        try:
            known = [item["name"] for item in client.get(path_of(nouns))["items"]]
        except AdminError:
            # Who may read records need not be allowed to list the nouns.
            continue
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            also = f"; did you mean {near[0]!r}?" if near else ""
            yield f"there is no {option} {name!r} now{also}"
