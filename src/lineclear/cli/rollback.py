"""`lineclear rollback`: a route serves an earlier release, at once."""

import click

from lineclear.cli.offered import names_of
from lineclear.cli.output import Output
from lineclear.cli.overriding import Overriding, override_command, reason_option, show
from lineclear.client.admin import path_of


@click.command()
@click.argument("route", shell_complete=names_of("routes"))
@click.option("-e", "--env", "environment", required=True, shell_complete=names_of("environments"), help="Where.")
@click.option("--to", default=None, metavar="RELEASE", help="An earlier release; else the newest that is ready.")
@click.option(
    "--drill", "is_drill", is_flag=True, help="Only prepare it at every gateway and measure; nothing changes."
)
@reason_option
@override_command
def rollback(
    overriding: Overriding, output: Output, route: str, environment: str, to: str | None, is_drill: bool, reason: str
) -> None:
    """Let ROUTE serve an earlier release: one pointer, no approval, acknowledged by every gateway.

    Without --to it goes back once, from the release that was asked for to the newest earlier one that is ready; said
    again it changes nothing. Keys, blocked models, limits and statuses stay as they are. Files that say otherwise are
    drift from then on; `lineclear drift` shows it. Works without database and without control.
    """
    if is_drill and to is not None:
        raise click.UsageError("--drill tries what a rollback would take by itself; leave --to out")
    if is_drill:
        answer = overriding.do(
            lambda client: client.post(
                path_of("drills"), overriding.request(route=route, environment=environment, reason=reason)
            ),
            lambda desk, actor: desk.drill(environment, route, actor, reason),
        )
    else:
        answer = overriding.do(
            lambda client: client.post(
                path_of("rollbacks"), overriding.request(route=route, environment=environment, to=to, reason=reason)
            ),
            lambda desk, actor: desk.rollback(environment, route, to, actor, reason),
        )
    show(output, answer)
