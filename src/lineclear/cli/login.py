"""`lineclear login NAME`: a token for the day, for a person with an account."""

from pathlib import Path

import click

from lineclear.cli.asking import read_secret
from lineclear.cli.connect import fail_refused, local_command
from lineclear.cli.environment import command_settings
from lineclear.cli.output import ExitCode, Output
from lineclear.client.admin import AdminClient, AdminError, AdminUnreachable
from lineclear.client.find import ServerNotFound, find_server

NOBODY = "signing-in"
"""Stands where a token would: signing in needs none, and the one in the data directory is not for this."""


@click.command()
@click.argument("name")
@click.option("--url", default=None, help="Admin address; else LINECLEAR_URL or the data directory.")
@click.option(
    "--data", "data_dir", type=click.Path(path_type=Path), default=None, help="Data directory to find the server by."
)
@click.option(
    "--ca",
    "ca_file",
    type=click.Path(path_type=Path),
    default=None,
    help="PEM file of the authorities to trust; else LINECLEAR_CA or the system's.",
)
@click.option(
    "--from-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=None,
    help="File with the password.",
)
@local_command
def login(
    output: Output, name: str, url: str | None, data_dir: Path | None, ca_file: Path | None, from_file: Path | None
) -> None:
    """Sign in with a password, typed hidden or piped in, and print a token that is good for eight hours."""
    try:
        server = find_server(command_settings(), url, NOBODY, data_dir, ca_file)
        password = read_secret(f"Password of {name} (not shown)", from_file)
        answer = AdminClient(server).post("/sign-in", {"name": name, "password": password})
    except ServerNotFound as error:
        raise click.UsageError(str(error)) from error
    except AdminUnreachable as error:
        output.fail(ExitCode.UNAVAILABLE, str(error), hint="is it running? `lineclear status`", kind="unreachable")
    except AdminError as error:
        forgotten = f"forgotten? an administrator makes a link for a new one: `lineclear access invite {name}`"
        fail_refused(output, error, hint=forgotten if error.code == "unauthenticated" else "")
    else:
        output.value(answer, [f"export LINECLEAR_TOKEN={answer['token']}"])
        output.note(f'good until {answer["expires_at"]}; `eval "$(lineclear login {name})"` sets it in this shell')
