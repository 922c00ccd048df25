"""`lineclear status`: what runs and which revision is in force."""

import time
from collections.abc import Mapping
from typing import Any

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.output import Format, Output, shown_text, table_lines
from lineclear.cli.terminal import styled
from lineclear.cli.waiting import is_animated
from lineclear.client.admin import AdminClient, AdminUnreachable, path_of
from lineclear.domain.demo import DEMO_WORDS


@click.command()
@click.option("-w", "--watch", is_flag=True, help="Show it again and again, until interrupted.")
@click.option("--every-s", type=click.FloatRange(0.2), default=2.0, show_default=True, help="How often, with --watch.")
@admin_command
def status(client: AdminClient, output: Output, watch: bool, every_s: float) -> None:
    """Show processes, their states, and the snapshot revision in force."""
    if not watch:
        _show(output, client.get(path_of("status")))
        return
    while True:
        try:
            answer = client.get(path_of("status"))
        except AdminUnreachable as error:
            # Whoever watches wants to see it come back.
            output.note(f"{error}; looking again")
        else:
            if output.format is Format.TABLE and is_animated():
                click.clear()
            _show(output, answer)
        time.sleep(every_s)


def _show(output: Output, answer: Mapping[str, Any]) -> None:
    gateways = answer["gateways"]
    silent = f", silent: {', '.join(gateways['silent'])}" if gateways["silent"] else ""
    lines = [
        f"Lineclear {answer['version']}, data port {answer['gateway_url']}",
        f"revision {answer['revision']}, in force at {len(gateways['acknowledged'])} processes{silent}",
    ]
    parts = _parts(answer["processes"])
    if parts:
        head, *rest = table_lines(parts, ["name", "state", "pid"])
        lines += ["", styled(head, "bold"), *rest]
        # Whole and below the table: a reason ends with what to do about it.
        reasons = [
            f"{shown_text(part.get('name'))}: {shown_text(part['reason'])}" for part in parts if part.get("reason")
        ]
        lines += ["", *reasons] if reasons else []
    lines += _overrides(answer.get("overrides"))
    lines += [f"not looked after: {problem}" for problem in answer.get("rollouts", ())]
    if answer.get("demo"):
        lines.insert(0, DEMO_WORDS)
    output.value(answer, lines)


def _overrides(state: Mapping[str, Any] | None) -> list[str]:
    """What is stopped, what could not go back at once, and what is wrong with overrides; empty if there is nothing."""
    if not state:
        return []
    lines = [
        f"{stop['scope']}: stopped by {stop['actor']}: {stop['reason'] or 'no reason was given'}"
        for stop in state["stops"]
    ]
    lines += [
        f"route {row['route']} in {row['environment']} could not go back at once: {row['reason']}"
        for row in state["not_ready"]
    ]
    lines += [f"overrides: {problem}" for problem in state["problems"]]
    return ["", *lines] if lines else []


def _parts(processes: Any) -> list[dict[str, Any]]:
    # Any: the supervisor's state file as it is
    if not isinstance(processes, dict) or not isinstance(processes.get("parts"), list):
        return []
    return [part for part in processes["parts"] if isinstance(part, dict)]
