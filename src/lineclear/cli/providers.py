"""`lineclear providers list|show|add|test`: the vendors and hosts that models are called at."""

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.nouns import show_noun
from lineclear.cli.offered import names_of
from lineclear.cli.output import ExitCode, Output
from lineclear.cli.table import CommandRow, LazyGroup
from lineclear.cli.terminal import shown_text, table_lines
from lineclear.client.admin import AdminClient, path_of

COMMANDS = {
    "list": CommandRow("lineclear.cli.providers:list_providers", "List providers with their models."),
    "show": CommandRow("lineclear.cli.providers:show", "Show one provider."),
    "add": CommandRow("lineclear.cli.providers_add:add", "Add a provider with its key, and a model to call."),
    "test": CommandRow("lineclear.cli.providers:test", "Call a provider and tell what came."),
}
COLUMNS = ["name", "dialects", "base_url", "credential", "models", "managed_by"]


@click.group(cls=LazyGroup, table=COMMANDS)
def providers() -> None:
    """List, add and test the vendors and hosts that models are called at."""


@click.command("list")
@admin_command
def list_providers(client: AdminClient, output: Output) -> None:
    """List providers: where they are, how they are spoken to, which credential and models they have."""
    answer = client.get(path_of("providers"))
    models: dict[str, list[str]] = {}
    for version in client.get(path_of("model-versions"))["versions"]:
        models.setdefault(version["provider"], []).append(version["model"])
    rows = [
        {
            "name": item["name"],
            "dialects": item["manifest"]["dialects"],
            "base_url": item["manifest"]["base_url"],
            "credential": item["manifest"]["credential"],
            "models": models.get(item["name"], []),
            "managed_by": item["managed_by"],
        }
        for item in answer["items"]
    ]
    output.rows(rows, COLUMNS, {"providers": rows})


@click.command()
@click.argument("name", shell_complete=names_of("providers"))
@admin_command
def show(client: AdminClient, output: Output, name: str) -> None:
    """Show one provider; its credential is named, never shown."""
    show_noun(output, client.get(path_of("providers", name)))


@click.command()
@click.argument("name", shell_complete=names_of("providers"))
@click.option(
    "-e",
    "--env",
    "environment",
    default="test",
    show_default=True,
    shell_complete=names_of("environments"),
    help="Environment whose key is used.",
)
@click.option("--model", default=None, help="Ask this model, as the provider calls it, for one short answer.")
@admin_command
def test(client: AdminClient, output: Output, name: str, environment: str, model: str | None) -> None:
    """Call a provider with its credential and tell what came; exits 8 if calls would not be served.

    The list of models is asked for, which costs nothing. Where that proves nothing about the key, or with --model, a
    model is asked for an answer of one token.
    """
    answer = client.post(path_of("providers", name, "test"), {"environment": environment, "model": model})
    steps = [{**step, "latency": f"{step['latency_ms']:.0f} ms"} for step in answer["steps"]]
    lines = table_lines(steps, ["what", "status", "latency", "message"]) if steps else []
    if answer["ok"]:
        key = f" with {answer['credential']}" if answer["credential"] else ""
        words = f"{name} works in {environment}{key}: {shown_text(answer['message'])}"
        output.value(answer, [*lines, "", words, *([f"note: {answer['hint']}"] if answer["hint"] else [])])
        return
    output.value(answer, lines)
    words = f"{name} in {environment} is {answer['verdict']}: {answer['message']}"
    output.fail(ExitCode.GATE_FAILED, words, hint=answer["hint"], kind=f"provider_{answer['verdict']}")
