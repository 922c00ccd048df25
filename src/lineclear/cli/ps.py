"""`lineclear ps`: the platform's processes, one line each."""

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.output import Output
from lineclear.cli.terminal import shown_text
from lineclear.client.admin import AdminClient, path_of

COLUMNS = ["name", "slot", "pid", "state", "uptime", "memory", "restarts", "model"]
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_UNIT_STEP = 1024


@click.command()
@admin_command
def ps(client: AdminClient, output: Output) -> None:
    """List processes: slot, pid, state and reason, uptime, resident memory; a runtime's replicas are one line each."""
    answer = client.get(path_of("processes"))
    rows = [
        {
            **item,
            "uptime": span_text(item["uptime_s"]),
            "memory": bytes_text(item["rss_bytes"]),
            "restarts": item["life"],
        }
        for item in answer["processes"]
    ]
    output.rows(rows, COLUMNS, answer)
    for item in rows:
        if item["reason"]:
            # Whole and below the table: a reason ends with what to do about it.
            output.note(f"{item['name']}: {shown_text(item['reason'])}")
        if item["last_end"] and item["last_end"] != item["reason"]:
            output.note(f"{item['name']}: the process before ended: {shown_text(item['last_end'])}")


def span_text(seconds: float | None) -> str | None:
    """`41s`, `12m`, `3h 5m`, `2d 4h`."""
    if seconds is None:
        return None
    whole = int(seconds)
    days, hours, minutes = whole // 86_400, whole % 86_400 // 3_600, whole % 3_600 // 60
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m" if minutes else f"{whole}s"


def bytes_text(count: int | None) -> str | None:
    """`812 B`, `41.3 MiB`."""
    if count is None:
        return None
    amount, unit = float(count), 0
    while amount >= _UNIT_STEP and unit < len(_UNITS) - 1:
        amount, unit = amount / _UNIT_STEP, unit + 1
    return f"{count} B" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"
