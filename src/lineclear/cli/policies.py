"""`lineclear policies list|show`."""

from collections.abc import Mapping
from typing import Any

import click
import yaml

from lineclear.cli.connect import admin_command
from lineclear.cli.offered import names_of
from lineclear.cli.output import Output
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of

# Any, in this file: the admin API's JSON.

COLUMNS = ["policy", "rule", "when", "then", "hits_7d", "hits_30d", "refused_30d", "last_hit_at"]


@click.group(cls=NounGroup)
def policies() -> None:
    """List and show policies, with how often their rules had a say."""


@policies.command("list")
@admin_command
def list_policies(client: AdminClient, output: Output) -> None:
    """List every rule with its hits: requests in whose record it stands, in the last 7 and 30 days."""
    found = client.get(path_of("policy-rules"))["rules"]
    rows = [{**item, "when": _conditions(item["when"]), "then": _then(item)} for item in found]
    output.rows(rows, COLUMNS, {"rules": found})


@policies.command()
@click.argument("name", shell_complete=names_of("policies"))
@admin_command
def show(client: AdminClient, output: Output, name: str) -> None:
    """Show one policy: its rules in the order in which they are asked, with their hits day by day."""
    found = client.get(path_of("policy-rules"), {"policy": name})["rules"]
    facts = client.get(path_of("policies", name))
    description = facts["manifest"].get("description")
    lines = [f"# managed by {facts['managed_by']}, last change {facts['change']}"]
    if description:
        lines.append(f"# {description}")
    for item in found:
        days = " ".join(str(count) for count in item["hits_by_day"])
        lines += [
            "",
            f"{item['rule']}: {_then(item)}",
            f"  when: {_conditions(item['when'])}",
            *([f"  {item['description']}"] if item["description"] else []),
            f"  hits: {item['hits_30d']} in 30 days, {item['refused_30d']} of them refused; by day: {days}",
            f"  last: {item['last_hit_at'] or 'not in 30 days'}",
        ]
    output.value({**facts, "rules": found}, lines)


def _conditions(when: Mapping[str, Any]) -> str:
    if not when:
        return "always"
    return yaml.safe_dump(dict(when), default_flow_style=True, sort_keys=False, width=10_000).strip("{}\n")


def _then(item: Mapping[str, Any]) -> str:
    return f"{item['then']} {item['route']}" if item["route"] else str(item["then"])
