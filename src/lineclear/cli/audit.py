"""`lineclear audit list|log|who|verify|export|key`."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import click

from lineclear.cli.audit_file import verify_export
from lineclear.cli.connect import admin_command, local_command, server_errors, server_options
from lineclear.cli.environment import command_settings
from lineclear.cli.offered import names_of
from lineclear.cli.output import ExitCode, Output
from lineclear.cli.releases import shown_value
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of
from lineclear.client.find import find_server
from lineclear.domain.audit_lines import checkpoint_line, event_line, header_line

WHO_COLUMNS = [
    "app", "team", "keys", "route", "way", "model", "status", "release", "since", "changed_by", "approved_by",
]  # fmt: skip
COLUMNS = ["number", "at", "actor", "action", "object", "reason", "change_id"]


@click.group(cls=NounGroup)
def audit() -> None:
    """List, follow back, verify and export the audit trail."""


@audit.command("list")
@click.option("--after", type=click.IntRange(0), default=0, help="Only events with a higher number.")
@admin_command
def list_events(client: AdminClient, output: Output, after: int) -> None:
    """List who changed what, oldest first, all of it."""
    events = []
    place: int | None = after
    while place is not None:
        page = client.get(path_of("audit-events"), {"after": place})
        events += page["events"]
        place = page["next_after"]
    rows = [{**event, "at": _iso(event["at_us"])} for event in events]
    output.rows(rows, COLUMNS, {"events": rows})


@audit.command()
@click.option("--actor", default=None, help="Only what this principal did.")
@click.option("--action", default=None, help="Only this action; with a dot at its end all that begin so: `key.`")
@click.option("--object", "object_", default=None, help="Only this object; with a slash at its end all that begin so.")
@click.option("--change", default=None, help="Only what belongs to this change or override.")
@click.option("--before", type=click.IntRange(1), default=None, help="Only events with a lower number.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="At most so many.")
@admin_command
def log(
    client: AdminClient,
    output: Output,
    actor: str | None,
    action: str | None,
    object_: str | None,
    change: str | None,
    before: int | None,
    limit: int,
) -> None:
    """Tell who changed what, newest first, and which fields."""
    query = {
        "actor": actor, "action": action, "object": object_, "change": change, "before": before, "limit": limit,
    }  # fmt: skip
    answer = client.get(path_of("audit-feed"), query)
    output.value(answer, [line for event in answer["events"] for line in _event_lines(event)])


@audit.command()
@click.argument("model", shell_complete=names_of("models"))
@click.option("-e", "--env", "environment", default="live", show_default=True,
              shell_complete=names_of("environments"), help="In this environment.")  # fmt: skip
@click.option("--at", default=None, metavar="DATE", help="ISO 8601, or a span back (24h, 7d); default: now.")
@admin_command
def who(client: AdminClient, output: Output, model: str, environment: str, at: str | None) -> None:
    """Tell who could call MODEL (a name, or name@version) then, through which release, and who approved that."""
    answer = client.get(path_of("model-access"), {"model": model, "environment": environment, "at": at})
    found = answer["access"]
    if not found:
        output.note(f"no app had a route to {model} in {environment} at {answer['at']}")
    output.rows([{**one, "keys": len(one["keys"])} for one in found], WHO_COLUMNS, answer)


@audit.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.option("--key", default="", help="Of a FILE: the public key as `audit key` told it; without it the file's own.")
@click.option(
    "--checkpoint",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=None,
    help="Of a FILE: a signed checkpoint that was kept elsewhere; the file must have all that it signs.",
)
@server_options
@local_command
def verify(
    output: Output,
    file: Path | None,
    key: str,
    checkpoint: Path | None,
    url: str | None,
    token: str | None,
    data_dir: Path | None,
    ca_file: Path | None,
) -> None:
    """Check that no event was altered, removed or reordered: of an exported FILE without a server, else of the server.

    Exits with 8 if something does not fit, and says which row is the first.
    """
    if file is not None:
        with file.open("rb") as opened:
            note = checkpoint.read_text(encoding="utf-8") if checkpoint is not None else ""
            _tell(output, asdict(verify_export(opened, key, note)))
        if not key:
            output.note("held to the key in the file itself; compare it with `lineclear audit key`, or give --key")
        return
    if key or checkpoint is not None:
        raise click.UsageError("--key and --checkpoint are for a FILE")
    with server_errors(output):
        client = AdminClient(find_server(command_settings(), url, token, data_dir, ca_file))
        _tell(output, client.get(path_of("audit-events", "verdict")))


@audit.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@admin_command
def export(client: AdminClient, output: Output, file: Path) -> None:
    """Write the whole trail with its signed checkpoints and the public key to FILE, for `audit verify FILE`."""
    begun = client.post(path_of("audit-exports"), None)
    try:
        with file.open("wb") as opened:
            events = _write(client, begun, opened)
    except OSError as error:
        output.fail(ExitCode.FAILURE, f"{file} cannot be written: {error.strerror}")
    facts = {"file": str(file), "events": events, "public_key": begun["public_key"], "checkpoint": begun["checkpoint"]}
    output.value(facts, [f"{events} events in {file}", f"public key {begun['public_key']}"])


@audit.command()
@admin_command
def key(client: AdminClient, output: Output) -> None:
    """Print the public key of the trail's checkpoints, to be kept elsewhere."""
    answer = client.get(path_of("audit-key"))
    output.value(answer, [answer["public_key"]])


def _event_lines(event: Mapping[str, Any]) -> Iterator[str]:
    """Any: the admin API's JSON."""
    why = f": {event['reason']}" if event["reason"] else ""
    by = f" ({event['change']})" if event["change"] else ""
    yield f"{event['number']}  {event['at']}  {event['actor']}  {event['action']}  {event['object']}{by}{why}"
    for item in event["fields"]:
        yield f"    {item['path']}: {item['words'] or _arrow(item)}"
    if event["more_fields"]:
        yield f"    and {event['more_fields']} more fields"
    if event["before"] or event["after"]:
        yield from (
            f"    {line}" for line in f"{event['before'] or 'nothing'} → {event['after'] or 'nothing'}".splitlines()
        )


def _arrow(item: Mapping[str, Any]) -> str:
    return f"{shown_value(item['before'])} → {shown_value(item['after'])}"


def _write(client: AdminClient, begun: Mapping[str, Any], file: BinaryIO) -> int:
    file.write(header_line(begun["public_key"], begun["checkpoint"]))
    place: int | None = 0
    events = 0
    while place is not None:
        page = client.get(path_of("audit-exports", str(begun["number"])), {"after": place})
        for row in page["events"]:
            file.write(event_line(row))
            events += 1
            note = page["checkpoints"].get(str(row["number"]))
            if note is not None:
                file.write(checkpoint_line(note))
        place = page["next_after"]
    return events


def _tell(output: Output, verdict: Mapping[str, Any]) -> None:
    if not verdict["ok"]:
        output.fail(ExitCode.GATE_FAILED, f"the audit trail is broken: {verdict['problem']}", kind="audit_broken")
    words = f"{verdict['events']} events, unbroken, held to {verdict['checkpoints']} signed checkpoints"
    output.value(verdict, [f"{words}; head {verdict['head']}"])


def _iso(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
