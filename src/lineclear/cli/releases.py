"""`lineclear releases list|show|diff`."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.offered import names_of
from lineclear.cli.output import Output
from lineclear.cli.prompts import passage_lines
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of


@click.group(cls=NounGroup)
def releases() -> None:
    """List, show and compare the releases of routes."""


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


@releases.command()
@click.argument("before", shell_complete=names_of("releases"))
@click.argument("after", shell_complete=names_of("releases"))
@admin_command
def diff(client: AdminClient, output: Output, before: str, after: str) -> None:
    """Compare two releases by id or digest: words of prompts, fields of the rest, weights of targets."""
    answer = client.get(path_of("release-diffs"), {"before": before, "after": after})
    output.value(answer, list(_diff_lines(answer)) or ["nothing differs"])


def _diff_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    # Any: the admin API's JSON.
    for component in answer["components"]:
        yield f"{component['component']}:"
        for item in component["fields"]:
            yield f"  {item['field']}: {_value(item['before'])} → {_value(item['after'])}"
        if component["passages"]:
            yield from (f"  {line}" for line in passage_lines(component["passages"]))


def _value(value: object) -> str:
    if value is None:
        return "nothing"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
