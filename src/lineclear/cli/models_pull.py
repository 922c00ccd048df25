"""`lineclear models pull [NAME…]`: fetches bundled models into the model store. Needs no server."""

from functools import partial

import click

from lineclear.cli.connect import output_option
from lineclear.cli.output import ExitCode, Format, Output
from lineclear.cli.progress import progress_bytes
from lineclear.config.settings import read_settings
from lineclear.serving.bundled import BUNDLED_MODELS, BundledModel, bundled_model
from lineclear.serving.pull import PullFailed, pull_model


@click.command("pull")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@output_option
def pull(names: tuple[str, ...], format_: str) -> None:
    """Fetch bundled models, compare their digests, and keep them where every `lineclear up` finds them.

    Without a NAME those that `make up` fetches: smollm2 and minilm. A model that is there already is only compared.
    """
    output = Output(Format(format_))
    models = [_known(output, name) for name in names] or [model for model in BUNDLED_MODELS if model.is_default]
    store = read_settings().model_store
    pulled: list[dict[str, str]] = []
    failures: list[str] = []
    for model in models:
        try:
            path = pull_model(model, store, output.note, partial(progress_bytes, output))
        except PullFailed as error:
            failures.append(f"{model.name}: {error}")
        else:
            pulled.append({"name": model.name, "path": str(path), "sha256": model.sha256})
    if pulled:
        output.value({"models": pulled}, lines=[item["path"] for item in pulled])
    if failures:
        hint = f"`lineclear models pull {' '.join(model.name for model in models)}` tries again"
        output.fail(ExitCode.UNAVAILABLE, "; ".join(failures), hint=hint, kind="pull_failed")


def _known(output: Output, name: str) -> BundledModel:
    model = bundled_model(name)
    if model is None:
        known = ", ".join(bundled.name for bundled in BUNDLED_MODELS)
        output.fail(ExitCode.NOT_FOUND, f"{name!r} is not a bundled model", hint=f"bundled models: {known}")
    return model
