"""`lineclear releases list|show|diff`."""

import json
from collections.abc import Iterable, Iterator, Mapping
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
    """List, show and compare the releases of routes; tell how they behaved."""


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
    output.value(answer, list(component_lines(answer["components"])) or ["nothing differs"])


@releases.command()
@click.argument("route", shell_complete=names_of("routes"))
@click.option("-e", "--env", "environment", default="live", show_default=True,
              shell_complete=names_of("environments"), help="Its environment.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="At most so many.")
@admin_command
def changelog(client: AdminClient, output: Output, route: str, environment: str, limit: int) -> None:
    """Tell what differs between each release and the one before, and how both behaved, newest first."""
    answer = client.get(path_of("changelogs"), {"route": route, "environment": environment, "limit": limit})
    output.value(answer, [line for entry in answer["entries"] for line in changelog_lines(entry)])


def changelog_lines(entry: Mapping[str, Any]) -> Iterator[str]:
    """One move of a deployment, for a person. Any: the admin API's JSON."""
    note = f": {entry['note']}" if entry["note"] else ""
    yield f"{entry['at']} {entry['before'] or 'nothing'} → {entry['after'] or 'nothing'} by {entry['by']}{note}"
    yield from component_lines(entry["components"], "  ")
    for name in ("before", "after"):
        found = entry[f"behaviour_{name}"]
        if found is not None:
            yield (
                f"  {name}: {found['requests']:,} requests, errors {found['error_share']:.2%}, "
                f"refused {found['refused_share']:.2%}, {found['output_tokens_mean']:.0f} tokens of output, "
                f"{found['cost_usd_mean']} USD, {shown_value(found['latency_ms_p50'])} ms (p50), "
                f"{shown_value(found['latency_ms_p95'])} ms (p95)"
            )
    delta = entry["delta"]
    if delta is not None:
        yield (
            f"  delta: errors {delta['error_share']:+.2%}, refused {delta['refused_share']:+.2%}, "
            f"{delta['output_tokens_mean']:+.0f} tokens of output, {delta['cost_usd_mean']} USD, "
            f"{shown_value(delta['latency_ms_p50'])} ms (p50), {shown_value(delta['latency_ms_p95'])} ms (p95)"
        )


def component_lines(components: Iterable[Mapping[str, Any]], indent: str = "") -> Iterator[str]:
    """What differs between two releases, for a person. Any: the admin API's JSON."""
    for component in components:
        yield f"{indent}{component['component']}:"
        for item in component["fields"]:
            yield f"{indent}  {item['field']}: {shown_value(item['before'])} → {shown_value(item['after'])}"
        if component["passages"]:
            yield from (f"{indent}  {line}" for line in passage_lines(component["passages"]))


def shown_value(value: object) -> str:
    """A JSON value for a person."""
    if value is None:
        return "nothing"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
