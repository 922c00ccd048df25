"""`lineclear notices list|show|ack|test|deliveries|retry`."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.offered import names_of, one_of
from lineclear.cli.output import ExitCode, Output
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of
from lineclear.domain.notices import DeliveryState, NoticeKind

COLUMNS = ["id", "at", "kind", "title", "teams", "acknowledged_by"]
DELIVERY_COLUMNS = ["id", "notice", "team", "channel", "state", "attempts", "next_at", "problem"]
KINDS = [kind.value for kind in NoticeKind]
STATES = [state.value for state in DeliveryState]

notice_argument = click.argument("notice", shell_complete=names_of("notices"))
team_option = click.option("--team", default=None, shell_complete=names_of("teams"), help="Only of this team.")
limit_option = click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True,
                            help="At most so many.")  # fmt: skip


@click.group(cls=NounGroup)
def notices() -> None:
    """Read notices, take note of them, try channels, follow deliveries."""


@notices.command("list")
@click.option("--state", type=click.Choice(["open", "acknowledged", "all"]), default="open", show_default=True,
              help="Whether somebody took note.")  # fmt: skip
@click.option("--kind", type=click.Choice(KINDS), default=None, shell_complete=one_of(KINDS), help="Only this kind.")
@team_option
@limit_option
@admin_command
def list_notices(
    client: AdminClient, output: Output, state: str, kind: str | None, team: str | None, limit: int
) -> None:
    """List what happened to what your teams own or call, newest first."""
    asked = {"state": state, "kind": kind, "team": team, "limit": limit}
    found = client.get(path_of("notices"), asked)
    rows = [
        {
            **notice,
            "teams": [address["team"] or "platform" for address in notice["addresses"]],
            "acknowledged_by": sorted({item["acknowledged_by"] for item in notice["addresses"]} - {None}),
        }
        for notice in found["notices"]
    ]
    output.rows(rows, COLUMNS, found)


@notices.command()
@notice_argument
@admin_command
def show(client: AdminClient, output: Output, notice: str) -> None:
    """Show a notice: whom it is for, who took note, how far it got."""
    answer = client.get(path_of("notices", notice))
    output.value(answer, list(detail_lines(answer)))


@notices.command()
@notice_argument
@team_option
@admin_command
def ack(client: AdminClient, output: Output, notice: str, team: str | None) -> None:
    """Take note of a notice, for every team of yours that it is for."""
    answer = client.post(path_of("notices", notice, "acknowledgements"), {"team": team})
    output.value(answer, list(detail_lines(answer)))


@notices.command()
@click.argument("team", shell_complete=names_of("teams"))
@click.option("--channel", default=None, help="Only this one.")
@admin_command
def test(client: AdminClient, output: Output, team: str, channel: str | None) -> None:
    """Send a notice of a test to a team's channels, now and once; exits 1 if one does not take it."""
    found = client.post(path_of("notice-tests"), {"team": team, "channel": channel})
    rows = found["deliveries"]
    output.rows(rows, DELIVERY_COLUMNS, found)
    if any(row["state"] != DeliveryState.DELIVERED for row in rows):
        raise click.exceptions.Exit(ExitCode.FAILURE)


@notices.command()
@click.option("--state", type=click.Choice(STATES), default=None, shell_complete=one_of(STATES),
              help="Only those in this state; `dead` = given up.")  # fmt: skip
@team_option
@limit_option
@admin_command
def deliveries(client: AdminClient, output: Output, state: str | None, team: str | None, limit: int) -> None:
    """List notices on their way to channels, newest first."""
    found = client.get(path_of("notice-deliveries"), {"state": state, "team": team, "limit": limit})
    output.rows(found["deliveries"], DELIVERY_COLUMNS, found)


@notices.command()
@click.argument("delivery", shell_complete=names_of("notice-deliveries"))
@admin_command
def retry(client: AdminClient, output: Output, delivery: str) -> None:
    """Send again what did not arrive, from its first attempt on."""
    answer = client.post(path_of("notice-deliveries", delivery, "retries"), None)
    output.value(answer, [f"{answer['id']} is tried again: {answer['team']}/{answer['channel']}"])


def detail_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """A notice for a person. Any: the admin API's JSON."""
    notice = answer["notice"]
    yield f"{notice['id']} {notice['kind']} at {notice['at']}"
    yield notice["title"] + (f" (said {notice['repeats'] + 1} times)" if notice["repeats"] else "")
    for name, value in notice["facts"].items():
        if value:
            yield f"{name}: {', '.join(value) if isinstance(value, list) else value}"
    for address in notice["addresses"]:
        apps = ", ".join(f"{app} {requests:,}" for app, requests in address["apps"].items())
        noted = f"; {address['acknowledged_by']} took note at {address['acknowledged_at']}"
        yield (
            f"for {address['team'] or 'the platform'} ({address['part']})"
            + (f": {apps} requests in 30 days" if apps else "")
            + (noted if address["acknowledged_at"] else "; nobody took note")
        )
    for delivery in answer["deliveries"]:
        problem = f": {delivery['problem']}" if delivery["problem"] else ""
        yield f"{delivery['id']} to {delivery['team']}/{delivery['channel']} {delivery['state']}{problem}"
