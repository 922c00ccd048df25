"""`lineclear status`: what runs and which revision is in force."""

from typing import Any

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.output import Output, shown_text, table_lines
from lineclear.client.admin import AdminClient, path_of
from lineclear.domain.demo import DEMO_WORDS


@click.command()
@admin_command
def status(client: AdminClient, output: Output) -> None:
    """Show processes, their states, and the snapshot revision in force."""
    answer = client.get(path_of("status"))
    gateways = answer["gateways"]
    silent = f", silent: {', '.join(gateways['silent'])}" if gateways["silent"] else ""
    lines = [
        f"Lineclear {answer['version']}, data port {answer['gateway_url']}",
        f"revision {answer['revision']}, in force at {len(gateways['acknowledged'])} processes{silent}",
    ]
    parts = _parts(answer["processes"])
    if parts:
        lines += ["", *table_lines(parts, ["name", "state", "pid"])]
        # Whole and below the table: a reason ends with what to do about it.
        reasons = [
            f"{shown_text(part.get('name'))}: {shown_text(part['reason'])}" for part in parts if part.get("reason")
        ]
        lines += ["", *reasons] if reasons else []
    if answer.get("demo"):
        lines.insert(0, DEMO_WORDS)
    output.value(answer, lines)


def _parts(processes: Any) -> list[dict[str, Any]]:
    # Any: the supervisor's state file as it is
    if not isinstance(processes, dict) or not isinstance(processes.get("parts"), list):
        return []
    return [part for part in processes["parts"] if isinstance(part, dict)]
