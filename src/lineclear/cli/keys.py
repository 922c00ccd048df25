"""`lineclear keys create|list|revoke`."""

import click

from lineclear.cli.asking import demand_typed, is_someone_there
from lineclear.cli.connect import admin_command
from lineclear.cli.offered import names_of
from lineclear.cli.output import Output
from lineclear.cli.overriding import Overriding, cut_streams_option, override_command, show
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of

COLUMNS = ["id", "app", "environment", "state", "created_at", "created_by", "expires_at"]


@click.group(cls=NounGroup)
def keys() -> None:
    """Create, list and revoke API keys."""


@keys.command()
@click.option("--app", required=True, shell_complete=names_of("apps"), help="The app that calls with it.")
@click.option(
    "-e",
    "--env",
    "environment",
    required=True,
    shell_complete=names_of("environments"),
    help="Environment whose routes it may call.",
)
@click.option("--expires-in-days", type=click.IntRange(1, 3650), default=None, help="Default: does not expire.")
@admin_command
def create(client: AdminClient, output: Output, app: str, environment: str, expires_in_days: int | None) -> None:
    """Create a key; its text is shown once. It works everywhere when this returns."""
    request = {"app": app, "environment": environment, "expires_in_days": expires_in_days}
    answer = client.post(path_of("keys"), request)
    shown = {name: answer[name] for name in ("id", "key", "app", "environment", "expires_at")}
    output.value(shown)
    output.note("keep it now: it is not shown again")
    if answer["gateways"]["silent"]:
        output.note(f"not acknowledged in time by: {', '.join(answer['gateways']['silent'])}")


@keys.command("list")
@click.option("--app", default=None, shell_complete=names_of("apps"), help="Only keys of this app.")
@click.option(
    "-e",
    "--env",
    "environment",
    default=None,
    shell_complete=names_of("environments"),
    help="Only keys of this environment.",
)
@admin_command
def list_keys(client: AdminClient, output: Output, app: str | None, environment: str | None) -> None:
    """List keys without their texts."""
    answer = client.get(path_of("keys"), {"app": app, "environment": environment})
    output.rows(answer["keys"], COLUMNS, answer)


@keys.command()
@click.argument("key_id", shell_complete=names_of("keys"))
@cut_streams_option
@click.option("--reason", default="", help="Why; kept in the audit trail.")
@click.option("--yes", "is_confirmed", is_flag=True, help="Do not ask.")
@override_command
def revoke(
    overriding: Overriding, output: Output, key_id: str, reason: str, cut_streams: bool, is_confirmed: bool
) -> None:
    """Revoke a key by its id (or its whole text); no gateway takes it when this returns.

    At a terminal the app's name has to be typed if the key works in an environment of class live. A script is never
    asked: a leaked key must go at once. Works without database and without control. Answers that are under way run to
    their end, unless --cut-streams ends them too; it also ends those of a key that was revoked before.
    """
    if not is_confirmed and is_someone_there() and overriding.client is not None:
        _demand_app(overriding.client, id_of(key_id))
    query = {"reason": reason, "cut_streams": "true" if cut_streams else None}
    answer = overriding.do(
        lambda client: client.delete(path_of("keys", id_of(key_id)), query),
        lambda desk, actor: desk.revoke(id_of(key_id), actor, reason, cut_streams=cut_streams),
    )
    if "summary" in answer:
        show(output, answer)
        return
    ending = "; its open answers are ended" if answer["cut_streams"] else ""
    output.value(answer, [f"revoked {answer['id']} of app {answer['app']} in {answer['environment']}{ending}"])
    if answer["gateways"]["silent"]:
        output.note(f"not acknowledged in time by: {', '.join(answer['gateways']['silent'])}")


def _demand_app(client: AdminClient, key_id: str) -> None:
    """Have the app's name typed out, if its callers in live would notice."""
    known = client.get(path_of("keys"))["keys"]
    key = next((item for item in known if item["id"] == key_id and item["state"] == "active"), None)
    environments = {item["name"]: item["manifest"]["class"] for item in client.get(path_of("environments"))["items"]}
    if key is not None and environments.get(key["environment"]) == "live":
        demand_typed(f"App {key['app']} calls {key['environment']} with this key, and will be refused.", key["app"])


def id_of(text: str) -> str:
    """The id in a key's text, so that a leaked key can be pasted; the secret part is not sent anywhere."""
    parts = text.split("_", 3)
    return parts[2] if len(parts) == 4 and parts[0] == "lc" else text
