"""`lineclear explain`: what happened to one request, and why."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.output import Output, table_lines
from lineclear.client.admin import AdminClient, path_of

HEAD = (
    ("when", ("at", "duration_ms", "first_event_ms")),
    ("who", ("environment", "team", "app", "key_id", "task")),
    ("what", ("route", "release", "revision", "operation", "dialect", "stream", "data_class")),
    ("served by", ("model", "provider", "model_echo", "response_id")),
    ("ended", ("outcome", "status", "error_code", "stop_reason")),
    ("cost", ("cost_usd", "cost_basis", "price_version", "waste_usd", "reserved_usd")),
    ("ids", ("inbound_id", "traceparent", "tags")),
)
TABLES = (
    ("attempts", ("attempt", "model", "attempt_class", "status", "error_code", "start_ms", "duration_ms", "cost_usd")),
    ("candidates", ("model", "score", "exclusion")),
    ("cost_lines", ("bucket", "tokens", "usd_per_mtok", "cost_usd")),
)


@click.command()
@click.argument("request_id")
@admin_command
def explain(client: AdminClient, output: Output, request_id: str) -> None:
    """Tell what happened to one request and why.

    REQUEST_ID is the response header x-request-id, or an id that the caller or the vendor gave the request.
    """
    found = client.get(path_of("requests", request_id))
    output.value(found, list(_lines(found)))


# Any: the admin API's JSON
def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"request {found['id']}"
    for title, names in HEAD:
        known = [f"{name}={found[name]}" for name in names if found.get(name) not in (None, "")]
        if known:
            yield f"  {title:<10} {'  '.join(known)}"
    for name in ("rules", "accounts"):
        if found.get(name):
            yield f"  {name:<10} {', '.join(found[name])}"
    for name in ("usage", "steps_us"):
        known = [f"{key}={value}" for key, value in (found.get(name) or {}).items() if value]
        if known:
            yield f"  {name:<10} {'  '.join(known)}"
    for name, columns in TABLES:
        if found.get(name):
            yield f"  {name.replace('_', ' ')}"
            yield from (f"    {line}" for line in table_lines(found[name], columns))
