"""`lineclear ledger check`: that no record is lost, doubled or altered."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.output import ExitCode, Output
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of

COUNTS = (
    "intents",
    "settles",
    "orphans_closed",
    "refusals",
    "open",
    "missing",
    "doubled",
    "altered",
    "unseen",
    "dispatches",
)


@click.group(cls=NounGroup)
def ledger() -> None:
    """Look after the record of every call."""


@ledger.command()
@click.option(
    "--dispatches",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=None,
    help="An upstream's own log to compare with: JSON lines with x_request_id, and status and usage where known.",
)
@admin_command
def check(client: AdminClient, output: Output, path: Path | None) -> None:
    """Check that no record is lost, doubled or altered; exits 8 if one is."""
    body: dict[str, str] = {}
    if path is not None:
        try:
            with path.open(encoding="utf-8") as lines:
                body["dispatches"] = "\n".join(_compact(lines))
        except (ValueError, TypeError, AttributeError) as error:
            output.fail(ExitCode.USAGE, f"{path} is no log of dispatches: {error}", hint="give one JSON object a line")
    verdict = client.post(path_of("ledger", "check"), body)
    shown = [f"{name.replace('_', ' ')}: {verdict[name]}" for name in COUNTS if verdict[name] is not None]
    shown += [f"  {item['kind']} {item['exchange'] or '-'}: {item['detail']}" for item in verdict["problems"]]
    output.value(verdict, [*shown, "ok" if verdict["ok"] else "NOT ok"])
    if not verdict["ok"]:
        raise click.exceptions.Exit(ExitCode.GATE_FAILED)


def _compact(lines: Iterable[str]) -> Iterator[str]:
    """`x_request_id status input output` of each line; calls that were not ours have no id and are left out."""
    for line in lines:
        if not line.strip():
            continue
        found = json.loads(line)
        if found.get("x_request_id"):
            usage = found.get("usage") or {}
            fields = (found.get("status"), usage.get("input_tokens"), usage.get("output_tokens"))
            yield " ".join((found["x_request_id"], *map(_field, fields)))


# Any: a value of somebody's JSON
def _field(value: Any) -> str:
    return "-" if value is None else str(int(value))
