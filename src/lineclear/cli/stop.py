"""`lineclear stop` and `lineclear start`: refuse the calls of a scope, and serve them again."""

import click

from lineclear.cli.output import Output
from lineclear.cli.overriding import Overriding, cut_streams_option, override_command, reason_option, show
from lineclear.client.admin import path_of

SCOPE = "SCOPE"


@click.command()
@click.argument("scope", metavar=SCOPE)
@cut_streams_option
@reason_option
@override_command
def stop(overriding: Overriding, output: Output, scope: str, reason: str, cut_streams: bool) -> None:
    """Stop AI for SCOPE: all, app:NAME, route:ENVIRONMENT/NAME or provider:NAME.

    Calls are refused with 503 `stopped`, which says who stopped it and why; answers that are under way run
    to their end, unless --cut-streams ends them too, with the same error. `lineclear down` stops the server instead.
    """
    answer = overriding.do(
        lambda client: client.post(
            path_of("stops"), overriding.request(scope=scope, reason=reason, cut_streams=cut_streams)
        ),
        lambda desk, actor: desk.stop(scope, actor, reason, cut_streams=cut_streams),
    )
    show(output, answer)


@click.command()
@click.argument("scope", metavar=SCOPE)
@reason_option
@override_command
def start(overriding: Overriding, output: Output, scope: str, reason: str) -> None:
    """Lift the stop of exactly SCOPE; `lineclear status` lists what is stopped."""
    answer = overriding.do(
        lambda client: client.post(path_of("starts"), overriding.request(scope=scope, reason=reason)),
        lambda desk, actor: desk.start(scope, actor, reason),
    )
    show(output, answer)
