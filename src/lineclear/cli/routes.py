"""`lineclear routes list|show|explain|simulate`."""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.nouns import show_noun
from lineclear.cli.offered import OPERATIONS, names_of, one_of
from lineclear.cli.output import ExitCode, Output
from lineclear.cli.table import NounGroup
from lineclear.cli.terminal import shown_text, styled, table_lines, width_chars
from lineclear.cli.unsent import read_unsent
from lineclear.client.admin import AdminClient, path_of
from lineclear.domain.catalogue import DataClass
from lineclear.domain.evidence import Arm
from lineclear.domain.explained import VERDICTS, label

COLUMNS = ["environment", "route", "team", "release", "strategy", "targets", "fallback"]


OUTAGE_COLUMNS = ["environment", "route", "task", "operation", "serves_now", "would_serve", "outcome"]
CHECK_COLUMNS = ("check", "about", "verdict", "detail")
RULE_COLUMNS = ("rule", "model", "holds", "decides", "says")


@click.group(cls=NounGroup)
def routes() -> None:
    """List and show routes; tell what they would do."""


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


@routes.command()
@click.argument("request", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--app", required=True, shell_complete=names_of("apps"), help="Who would call.")
@click.option(
    "-e", "--env", "environment", default="live", show_default=True, shell_complete=names_of("environments"),
    help="With a key of this environment.",
)  # fmt: skip
@click.option(
    "--operation", default=None, shell_complete=OPERATIONS,
    help="What it asks for; default: told by the body's fields (`system` beside `messages` is Anthropic's).",
)  # fmt: skip
@click.option("--task", default="", help="What x-lineclear-task would say.")
@click.option(
    "--data-class", default="", shell_complete=one_of([item.value for item in DataClass]),
    help="What x-lineclear-data-class would say.",
)  # fmt: skip
@click.option("--tag", "tags", multiple=True, help="One of x-lineclear-tags; may be given again.")
@click.option("--at", default="", metavar="TIME", help="When it would come, ISO 8601; default: now.")
@click.option(
    "--arm", default=Arm.STABLE.value, shell_complete=one_of([item.value for item in Arm]),
    help="Whose release: stable, or candidate while a rollout is under way.",
)  # fmt: skip
@admin_command
def explain(client: AdminClient, output: Output, /, request: Path, operation: str | None, **asked: Any) -> None:
    """Tell what would become of a call before it is sent.

    REQUEST is a file with the JSON body as an SDK would send it; only its `model` is read. Exits 8 if the call would
    be refused.
    """
    # Any: the options, as the API takes them.
    route, wanted = read_unsent(request, operation)
    body = {**asked, "tags": list(asked["tags"]), "route": route, "operation": wanted}
    found = client.post(path_of("route-explanations"), body)
    output.value(found, list(_explained(found)))
    if not found["allowed"]:
        raise click.exceptions.Exit(ExitCode.GATE_FAILED)


@routes.command()
@click.option("--down", required=True, metavar="PROVIDER", shell_complete=names_of("providers"),
              help="The provider that is taken to be unreachable.")  # fmt: skip
@admin_command
def simulate(client: AdminClient, output: Output, down: str) -> None:
    """Tell what each route would do without a provider: which models would serve, or none."""
    answer = client.get(path_of("outage-simulations"), {"provider": down})
    found = answer["routes"]
    if not found:
        output.note(f"{down} serves no route now")
    output.rows(found, OUTAGE_COLUMNS, answer)


def _explained(found: Mapping[str, Any]) -> Iterator[str]:
    # Any: the admin API's JSON.
    yield styled(_verdict_line(found), "bold")
    if found["code"]:
        yield f"  {found['code']}: {shown_text(found['message'])}"
        yield f"  {shown_text(found['hint'])}"
    yield ""
    for name in ("app", "team", "environment", "route", "release", "operation", "task", "data_class"):
        if found[name]:
            yield f"  {label(name):<16}{shown_text(found[name])}"
    words = {verdict.value: text for verdict, text in VERDICTS.items()}
    checks = [
        {
            **row,
            "check": label(row["check"]),
            "verdict": words[row["verdict"]] + (f" by {row['rule']}" if row["rule"] else ""),
        }
        for row in found["checks"]
    ]
    for title, rows, columns in (
        ("checks, in their order", checks, CHECK_COLUMNS),
        ("policy rules, asked of each model that its card allows", found["policy_rules"], RULE_COLUMNS),
    ):
        if rows:
            yield ""
            yield styled(title, "bold")
            width = width_chars()
            width_max = None if width is None else width - 2
            yield from (f"  {line}" for line in table_lines(rows, columns, width_max=width_max))


def _verdict_line(found: Mapping[str, Any]) -> str:
    if not found["allowed"]:
        return "it would be refused"
    serving = [one["model"] for one in found["candidates"] if one["verdict"] == "passed"]
    return f"it would be served by {' or '.join(shown_text(model) for model in serving)}"
