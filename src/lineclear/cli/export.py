"""`lineclear export`: what stands, as manifests that apply back to an unchanged plan.

In: kinds or single nouns. Out: YAML documents, or the nouns as JSON. Comments of files are not kept; secrets stand
nowhere, only the names of their variables.
"""

from typing import Any

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.output import Format, Output
from lineclear.client.admin import AdminClient, path_of

COLUMNS = ("kind", "name", "managed_by")


@click.command()
@click.option("-f", "--filter", "filters", multiple=True, metavar="KIND[/NAME]", help="Only these; may be repeated.")
@click.argument("more", nargs=-1, metavar="[KIND[/NAME]]...")
@admin_command
def export(client: AdminClient, output: Output, filters: tuple[str, ...], more: tuple[str, ...]) -> None:
    """Write what stands as manifests: everything, a kind, or single nouns such as Route/chat."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for wanted in (*filters, *more) or ("",):
        kind, _, name = wanted.partition("/")
        answer = client.get(path_of("manifests"), {"kind": kind or None, "name": name or None})
        found |= {(item["kind"], item["name"]): item for item in answer["manifests"]}
    manifests = list(found.values())
    if output.format is Format.TABLE and not output.fields:
        click.echo("---\n".join(f"# managed by {item['managed_by']}\n{item['text']}" for item in manifests), nl=False)
    else:
        output.rows(manifests, COLUMNS, {"manifests": manifests})
