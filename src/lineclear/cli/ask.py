"""`lineclear ask`: one test message through the data port, as the console sends it."""

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.offered import names_of
from lineclear.cli.output import ExitCode, Output
from lineclear.client.admin import AdminClient, path_of

OK = 200


@click.command()
@click.argument("route", shell_complete=names_of("routes"))
@click.argument("text", default="Say hello.")
@click.option(
    "--app",
    default="default",
    shell_complete=names_of("apps"),
    show_default=True,
    help="The app that it counts and is paid for.",
)
@admin_command
def ask(client: AdminClient, output: Output, route: str, text: str, app: str) -> None:
    """Send one message to ROUTE in the environment test, with a key made for it; exits 8 if it is not answered."""
    answer = client.post(path_of("test-messages"), {"route": route, "text": text, "app": app})
    lines = [answer["text"], *([f"next: {answer['hint']}"] if answer["hint"] else [])]
    output.value(answer, lines)
    cost = f", {answer['cost_usd']} USD" if answer["cost_usd"] else ""
    output.note(f"status {answer['status']}, {answer['duration_ms']:.0f} ms{cost}")
    if answer["request_id"]:
        output.note(f"why it went there: lineclear explain {answer['request_id']}")
    if answer["status"] != OK:
        raise click.exceptions.Exit(ExitCode.GATE_FAILED)
