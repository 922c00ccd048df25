"""`lineclear models pull NAME`: fetches a bundled model into the model store. Needs no server."""

import click

from lineclear.cli.connect import output_option
from lineclear.cli.output import ExitCode, Format, Output
from lineclear.config.settings import read_settings
from lineclear.serving.bundled import BUNDLED_MODELS, bundled_model
from lineclear.serving.pull import PullFailed, pull_model


@click.command("pull")
@click.argument("name")
@output_option
def pull(name: str, format_: str) -> None:
    """Fetch the bundled model NAME, compare its digest, and keep it where every `lineclear up` finds it."""
    output = Output(Format(format_))
    model = bundled_model(name)
    if model is None:
        known = ", ".join(bundled.name for bundled in BUNDLED_MODELS)
        output.fail(ExitCode.NOT_FOUND, f"{name!r} is not a bundled model", hint=f"bundled models: {known}")
    try:
        path = pull_model(model, read_settings().model_store, output.note)
    except PullFailed as error:
        output.fail(ExitCode.FAILURE, str(error))
    output.value({"name": model.name, "path": str(path), "sha256": model.sha256}, lines=[str(path)])
