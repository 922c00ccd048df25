"""`lineclear prompts list|show|diff`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.offered import names_of
from lineclear.cli.output import Output
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of

# Any, in this file: the admin API's JSON.

COLUMNS = ["name", "digest", "is_current", "first_at", "in_force", "releases"]
DIGEST_CHARS = 12
SAME_CHARS_SHOWN = 60
"""Of an unchanged passage on each side of a change."""


@click.group(cls=NounGroup)
def prompts() -> None:
    """List, show and compare versions of prompts."""


@prompts.command("list")
@click.argument("name", required=False, default=None, shell_complete=names_of("prompts"))
@admin_command
def list_prompts(client: AdminClient, output: Output, name: str | None) -> None:
    """List versions, newest first per prompt, with the releases that pin them and where they are in force."""
    found = client.get(path_of("prompt-versions"), {"name": name})["versions"]
    shown = [{**item, "digest": item["digest"][:DIGEST_CHARS]} for item in found]
    output.rows(shown, COLUMNS, {"versions": found})


@prompts.command()
@click.argument("name", shell_complete=names_of("prompts"))
@click.option("--version", default=None, help="The beginning of a version's digest; default: what the prompt says now.")
@admin_command
def show(client: AdminClient, output: Output, name: str, version: str | None) -> None:
    """Show one version of a prompt: its text, variables, and the releases that pin it."""
    found = client.get(path_of("prompt-versions"), {"name": name})["versions"]
    named = [item for item in found if (item["digest"].startswith(version) if version else item["is_current"])]
    if len(named) != 1:
        known = ", ".join(item["digest"][:DIGEST_CHARS] for item in found)
        raise click.UsageError(f"name one version of {name} with --version: {known}")
    item = named[0]
    head = f"# {item['name']} {item['digest'][:DIGEST_CHARS]}, {item['mode']}"
    facts = [
        f"# variables: {', '.join(item['variables']) or 'none'}",
        f"# pinned by: {', '.join(item['releases']) or 'no release'}",
        f"# in force: {', '.join(item['in_force']) or 'nowhere'}",
    ]
    output.value(item, [head, *facts, *item["text"].splitlines()])


@prompts.command()
@click.argument("name", shell_complete=names_of("prompts"))
@click.argument("before")
@click.argument("after", required=False, default="current")
@admin_command
def diff(client: AdminClient, output: Output, name: str, before: str, after: str) -> None:
    """Compare two versions word by word: beginnings of digests, or `current`."""
    answer = client.get(path_of("prompt-diffs"), {"name": name, "before": before, "after": after})
    lines = [f"# {name} {answer['before'][:DIGEST_CHARS]} → {answer['after'][:DIGEST_CHARS]}"]
    if answer["mode_before"] != answer["mode_after"]:
        lines.append(f"# mode: {answer['mode_before']} → {answer['mode_after']}")
    output.value(answer, [*lines, *passage_lines(answer["passages"])])


def passage_lines(passages: Sequence[Mapping[str, Any]]) -> list[str]:
    """A text's passages with `[-removed-]` and `{+added+}`; of long unchanged ones only the ends."""
    if all(item["edit"] == "same" for item in passages):
        return ["nothing differs"]
    return "".join(_marked(passages)).splitlines()


def _marked(passages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for place, item in enumerate(passages):
        text = item["text"]
        if item["edit"] == "removed":
            yield f"[-{text}-]"
        elif item["edit"] == "added":
            yield f"{{+{text}+}}"
        elif len(text) <= 2 * SAME_CHARS_SHOWN:
            yield text
        else:
            head = text[:SAME_CHARS_SHOWN] if place else ""
            yield f"{head} … {text[-SAME_CHARS_SHOWN:] if place + 1 < len(passages) else ''}"
