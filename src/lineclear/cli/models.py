"""`lineclear models list|show|serve|pull`, and the verbs of `models_status`."""

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.nouns import show_noun
from lineclear.cli.offered import names_of
from lineclear.cli.output import Output
from lineclear.cli.table import CommandRow, LazyGroup
from lineclear.client.admin import AdminClient, path_of

COMMANDS = {
    "list": CommandRow("lineclear.cli.models:list_models", "List model versions with status and price."),
    "show": CommandRow("lineclear.cli.models:show", "Show one model's card."),
    "inventory": CommandRow("lineclear.cli.models_status:inventory", "Who calls what, at what cost, until when."),
    "callers": CommandRow("lineclear.cli.models_status:callers", "Who called a version lately."),
    "history": CommandRow("lineclear.cli.models_status:history", "Every status that a version had."),
    "approve": CommandRow("lineclear.cli.models_status:approve", "Let a version serve live calls."),
    "deprecate": CommandRow("lineclear.cli.models_status:deprecate", "Tell callers to move on."),
    "retire": CommandRow("lineclear.cli.models_status:retire", "Serve a version no more."),
    "block": CommandRow("lineclear.cli.block:block", "Let a version be called no more, at once."),
    "unblock": CommandRow("lineclear.cli.models_status:unblock", "Let a blocked version be tested again."),
    "replace": CommandRow("lineclear.cli.models_status:replace", "Put one version in another's place."),
    "card": CommandRow("lineclear.cli.models_cards:card", "Write a card as the Hugging Face Hub has them."),
    "bom": CommandRow("lineclear.cli.models_cards:bom", "Write models as a CycloneDX bill of materials."),
    "import": CommandRow("lineclear.cli.models_cards:import_card", "Make manifests of others' cards."),
    "serve": CommandRow("lineclear.cli.models_serve:serve", "Serve a model file of your own."),
    "pull": CommandRow("lineclear.cli.models_pull:pull", "Fetch a bundled model."),
}
COLUMNS = [
    "model",
    "provider",
    "engine",
    "status",
    "owner",
    "input_per_mtok_usd",
    "output_per_mtok_usd",
    "price_version",
]


@click.group(cls=LazyGroup, table=COMMANDS)
def models() -> None:
    """List models, move their status, see who calls them, serve files of your own, fetch bundled ones."""


@click.command("list")
@admin_command
def list_models(client: AdminClient, output: Output) -> None:
    """List model versions with status and price; `-` = unpriced."""
    answer = client.get(path_of("model-versions"))
    output.rows(answer["versions"], COLUMNS, answer)


@click.command()
@click.argument("name", shell_complete=names_of("models"))
@admin_command
def show(client: AdminClient, output: Output, name: str) -> None:
    """Show one model's card with all its versions."""
    show_noun(output, client.get(path_of("models", name)))
