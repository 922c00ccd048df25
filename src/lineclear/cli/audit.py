"""`lineclear audit list|verify`."""

from datetime import UTC, datetime

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.output import ExitCode, Output
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of

COLUMNS = ["number", "at", "actor", "action", "object", "reason", "change_id"]


@click.group(cls=NounGroup)
def audit() -> None:
    """List and verify the audit trail."""


@audit.command("list")
@click.option("--after", type=click.IntRange(0), default=0, help="Only events with a higher number.")
@admin_command
def list_events(client: AdminClient, output: Output, after: int) -> None:
    """List who changed what, oldest first."""
    events = []
    place: int | None = after
    while place is not None:
        page = client.get(path_of("audit-events"), {"after": place})
        events += page["events"]
        place = page["next_after"]
    rows = [{**event, "at": _iso(event["at_us"])} for event in events]
    output.rows(rows, COLUMNS, {"events": rows})


@audit.command()
@admin_command
def verify(client: AdminClient, output: Output) -> None:
    """Check that no event was altered, removed or reordered."""
    verdict = client.get(path_of("audit-events", "verdict"))
    if not verdict["ok"]:
        output.fail(ExitCode.GATE_FAILED, f"the audit trail is broken: {verdict['problem']}", kind="audit_broken")
    output.value(verdict, [f"{verdict['events']} events, unbroken; head {verdict['head']}"])


def _iso(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
