"""`lineclear access list|grant|revoke|members|add|invite|disable|enable|tokens|token|revoke-token|me`."""

from typing import Any

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.offered import names_of, one_of
from lineclear.cli.output import Output
from lineclear.cli.table import NounGroup
from lineclear.client.admin import AdminClient, path_of
from lineclear.domain.access import Role

GRANT_COLUMNS = ["id", "principal", "role", "scope", "state", "granted_by", "granted_at", "expires_at"]
MEMBER_COLUMNS = ["name", "kind", "team", "state", "signs_in_with", "groups", "created_by", "created_at"]
TOKEN_COLUMNS = ["id", "principal", "label", "carries", "state", "used_at", "expires_at", "created_by"]
ONESELF = "me"
"""Who asks, in place of a name."""
ROLES = one_of([role.value for role in Role])

reason_option = click.option("--reason", default=None, help="Why; kept in the audit trail.")


@click.group(cls=NounGroup)
def access() -> None:
    """Give, list and take roles; members and their tokens."""


@access.command("list")
@click.option("--principal", default=None, help="Only of this name, or of group:NAME.")
@admin_command
def list_grants(client: AdminClient, output: Output, principal: str | None) -> None:
    """List who has which role where."""
    answer = client.get(path_of("grants"), {"principal": principal})
    output.rows(answer["grants"], GRANT_COLUMNS, answer)


@access.command()
@click.argument("principal", shell_complete=names_of("members"))
@click.argument("role", shell_complete=ROLES)
@click.option("--scope", default="platform", show_default=True, help="team:NAME, environment:NAME, route:ENV/NAME.")
@click.option("--expires-in-days", type=click.IntRange(1, 3650), default=None, help="Default: until it is taken.")
@click.option("--sealed", "is_sealed", is_flag=True, help="In force only while its holder breaks the glass.")
@reason_option
@admin_command
def grant(
    client: AdminClient,
    output: Output,
    principal: str,
    role: str,
    scope: str,
    expires_in_days: int | None,
    is_sealed: bool,
    reason: str | None,
) -> None:
    """Give PRINCIPAL (a name, or group:NAME) a ROLE on a scope, no wider than your own."""
    request = {
        "principal": principal,
        "role": role,
        "scope": scope,
        "expires_in_days": expires_in_days,
        "is_sealed": is_sealed,
        "reason": reason or "",
    }
    answer = client.post(path_of("grants"), request)
    output.value(answer, [f"{answer['principal']} is {answer['role']} on {answer['scope']} ({answer['id']})"])


@access.command()
@click.argument("grant_id", shell_complete=names_of("grants"))
@reason_option
@admin_command
def revoke(client: AdminClient, output: Output, grant_id: str, reason: str | None) -> None:
    """Take a role away by the id of its grant; it is gone with the next call."""
    answer = client.delete(path_of("grants", grant_id), {"reason": reason})
    output.value(answer, [f"{answer['principal']} is {answer['role']} on {answer['scope']} no more"])


@access.command()
@admin_command
def members(client: AdminClient, output: Output) -> None:
    """List people and service accounts."""
    answer = client.get(path_of("members"))
    output.rows(answer["members"], MEMBER_COLUMNS, answer)


@access.command()
@click.argument("name")
@click.option("--service", "is_service", is_flag=True, help="A service account: it has tokens and never approves.")
@click.option("--team", default="", help="Whose administrators keep it; default: the platform's.")
@click.option("--display", default="", help="How people know it.")
@click.option("--issuer", default="", help="Of the identity provider that the person signs in with.")
@click.option("--subject", default="", help="What that provider calls the person (the claim sub).")
@admin_command
def add(
    client: AdminClient,
    output: Output,
    name: str,
    is_service: bool,
    team: str,
    display: str,
    issuer: str,
    subject: str,
) -> None:
    """Add a person or a service account, without any role."""
    kind = "service" if is_service else "person"
    request = {"name": name, "kind": kind, "team": team, "display": display, "issuer": issuer, "subject": subject}
    answer = client.post(path_of("members"), request)
    output.value(answer, [f"added {answer['name']}; `lineclear access grant {answer['name']} ROLE` gives a role"])


@access.command()
@click.argument("name", shell_complete=names_of("members"))
@admin_command
def invite(client: AdminClient, output: Output, name: str) -> None:
    """Print a one-use link with which a person chooses a password; valid for a day."""
    answer = client.post(path_of("members", name, "invitation"), None)
    output.value(answer, [answer["url"]])
    output.note(f"give it to {answer['name']} alone: whoever opens it first chooses the password")


@access.command()
@click.argument("name", shell_complete=names_of("members"))
@reason_option
@admin_command
def disable(client: AdminClient, output: Output, name: str, reason: str | None) -> None:
    """Shut somebody out: sessions, links and tokens end at once."""
    answer = client.post(path_of("members", name, "disable"), {"reason": reason or ""})
    output.value(answer, [f"{answer['name']} is {answer['state']}"])


@access.command()
@click.argument("name", shell_complete=names_of("members"))
@reason_option
@admin_command
def enable(client: AdminClient, output: Output, name: str, reason: str | None) -> None:
    """Let somebody in again; tokens and sessions from before stay ended."""
    answer = client.post(path_of("members", name, "enable"), {"reason": reason or ""})
    output.value(answer, [f"{answer['name']} is {answer['state']}"])


@access.command()
@admin_command
def tokens(client: AdminClient, output: Output) -> None:
    """List tokens of the admin port with their last use; their texts are stored nowhere."""
    answer = client.get(path_of("tokens"))
    output.rows(answer["tokens"], TOKEN_COLUMNS, answer)


@access.command()
@click.argument("name", shell_complete=names_of("members"))
@click.option("--label", default="", help="What it is for.")
@click.option("--expires-in-days", type=click.IntRange(1, 365), default=90, show_default=True, help="Its life.")
@click.option("--role", default=None, shell_complete=ROLES, help="Carry this role of NAME alone.")
@click.option("--scope", default="platform", show_default=True, help="Where it carries that role.")
@admin_command
def token(
    client: AdminClient, output: Output, name: str, label: str, expires_in_days: int, role: str | None, scope: str
) -> None:
    """Make a token of a service account, or of `me` after signing in; its text is shown once.

    Two of an account are live while one takes over from the other.
    """
    request: dict[str, Any] = {"label": label, "expires_in_days": expires_in_days}
    if name == ONESELF:
        request |= {"role": role or "", "scope": scope}
    else:
        request |= {"principal": name, "narrowed_to": [{"role": role, "scope": scope}] if role else []}
    output.value(client.post(path_of("me", "tokens") if name == ONESELF else path_of("tokens"), request))
    output.note("keep it now: it is not shown again")


@access.command("revoke-token")
@click.argument("token_id", shell_complete=names_of("tokens"))
@reason_option
@admin_command
def revoke_token(client: AdminClient, output: Output, token_id: str, reason: str | None) -> None:
    """Revoke a token by its id (or its whole text), everywhere at once."""
    answer = client.delete(path_of("tokens", id_of(token_id)), {"reason": reason})
    output.value(answer, [f"revoked {answer['id']} of {answer['principal']}"])


@access.command()
@admin_command
def me(client: AdminClient, output: Output) -> None:
    """Tell who you are to the server, and which roles you have."""
    answer = client.get(path_of("me"))
    lines = [f"{answer['name']} ({answer['kind']})", *(f"  {item}" for item in answer["grants"])]
    lines += [f"  sealed: {item}" for item in answer["sealed"]]
    output.value(answer, lines)


def id_of(text: str) -> str:
    """The id in a token's text, so that a leaked token can be pasted; the secret part is not sent anywhere."""
    parts = text.split("_", 2)
    return parts[1] if len(parts) == 3 and parts[0] == "lct" else text
