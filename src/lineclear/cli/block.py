"""`lineclear block`: a model version is called no more, anywhere."""

import click

from lineclear.cli.output import Output
from lineclear.cli.overriding import Overriding, cut_streams_option, override_command, reason_option, show
from lineclear.client.admin import path_of


@click.command()
@click.argument("model", metavar="MODEL@VERSION")
@cut_streams_option
@reason_option
@override_command
def block(overriding: Overriding, output: Output, model: str, reason: str, cut_streams: bool) -> None:
    """Let a model version be called no more, in any environment.

    Routes go on with their other models and fallbacks; one that has none left refuses its calls with 403. The card of
    the model is kept by the command line from then on: a file that says otherwise is drift and does not undo it.
    """
    answer = overriding.do(
        lambda client: client.post(
            path_of("blocks"), overriding.request(model=model, reason=reason, cut_streams=cut_streams)
        ),
        lambda desk, actor: desk.block(model, actor, reason, cut_streams=cut_streams),
    )
    show(output, answer)
