"""The options every command that talks to the server has, and how its refusals become exit codes.

In: a command function taking `(client, output, …)`. Out: a click command body. Must not know any command.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click

from lineclear.base.secret import Secret
from lineclear.cli.environment import command_settings
from lineclear.cli.output import ExitCode, Format, Output
from lineclear.cli.waiting import sign_of_life
from lineclear.client.admin import INVALID_ANSWER, AdminClient, AdminError, AdminUnreachable, CallInvalid, Server
from lineclear.client.find import ServerInvalid, ServerNotFound, ServerNotRunning, TokenNotKnown, find_server

P = ParamSpec("P")

EXIT_BY_CODE: Mapping[str, ExitCode] = {
    "invalid_request": ExitCode.USAGE,
    "invalid_manifest": ExitCode.FAILURE,
    "unauthenticated": ExitCode.NOT_AUTHORISED,
    "forbidden": ExitCode.NOT_AUTHORISED,
    "not_found": ExitCode.NOT_FOUND,
    "method_not_allowed": ExitCode.FAILURE,
    "conflict": ExitCode.CONFLICT,
    "stale_plan": ExitCode.CONFLICT,
    "frozen": ExitCode.CONFLICT,
    "gate_not_passed": ExitCode.GATE_FAILED,
    "request_timeout": ExitCode.UNAVAILABLE,
    "body_too_large": ExitCode.USAGE,
    "rate_limited": ExitCode.UNAVAILABLE,
    "unavailable": ExitCode.UNAVAILABLE,
    "internal_error": ExitCode.FAILURE,
}
"""By the code of the admin API's refusal; a test holds it complete. A newer server's other ones are failures (1)."""
NEXT_BY_CODE: Mapping[str, str] = {
    "unauthenticated": "pass --token or LINECLEAR_TOKEN; it stands in admin.token of the data directory",
    "forbidden": "ask somebody who holds the permission; docs/permissions.md lists them",
    "invalid_request": "`--help` shows what the command takes",
    "body_too_large": "send it in several parts",
    "stale_plan": "look at the plan again, then apply that one",
    "request_timeout": "try again; the way to the server may be slow",
    "unavailable": "`lineclear status` shows what is away; try again then",
    "internal_error": "the server's log says why; `lineclear doctor --bundle FILE` gathers what a report needs",
}
"""What to do next where the server said nothing better."""

PROBE_S = 4.0
"""How long somebody may take to answer at an address for which no token is known."""
PROXY_STATUS_MIN = 500
NOBODY = Secret("nobody")
"""In place of a token where nobody asks for one."""
NOT_RUNNING = "is it running? `lineclear up` starts it, `lineclear doctor` looks for the cause"

output_option = click.option(
    "-o",
    "--output",
    "format_",
    type=click.Choice([item.value for item in Format]),
    default=Format.TABLE.value,
    show_default=True,
    help="Output format.",
)
fields_option = click.option("--fields", default=None, metavar="A,B,…", help="Only these fields, in this order.")
quiet_option = click.option("-q", "--quiet", "is_quiet", is_flag=True, help="Names only; no notes, no progress.")


def output_of(format_: str, fields: str | None, *, is_quiet: bool) -> Output:
    """The output that a command's options ask for."""
    names = [name.strip() for name in (fields or "").split(",") if name.strip()]
    return Output(Format(format_), names, is_quiet=is_quiet)


def local_command(function: Callable[Concatenate[Output, P], None]) -> Callable[..., None]:
    """Give a command that asks no server `-o --fields -q` and an output. Put it right above the function."""

    @output_option
    @fields_option
    @quiet_option
    @functools.wraps(function)
    def command(
        *args: Any,  # Any: click passes the command's own arguments through
        format_: str,
        fields: str | None,
        is_quiet: bool,
        **options: Any,  # Any: as above
    ) -> None:
        function(output_of(format_, fields, is_quiet=is_quiet), *args, **options)

    return command


def server_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--url --token --data --ca`."""

    @click.option("--url", default=None, help="Admin address; else LINECLEAR_URL or the data directory.")
    @click.option("--token", default=None, help="Admin token; else LINECLEAR_TOKEN or the data directory.")
    @click.option(
        "--data",
        "data_dir",
        type=click.Path(path_type=Path),
        default=None,
        help="Data directory to find the server by.",
    )
    @click.option(
        "--ca",
        "ca_file",
        type=click.Path(path_type=Path),
        default=None,
        help="PEM file of the authorities to trust; else LINECLEAR_CA or the system's.",
    )
    @functools.wraps(function)
    def command(*args: Any, **options: Any) -> None:  # Any: click passes the command's own through
        function(*args, **options)

    return command


def admin_command(function: Callable[Concatenate[AdminClient, Output, P], None]) -> Callable[..., None]:
    """Give a command `--url --token --data -o --fields -q`, a client and an output; map refusals to exit codes.

    Put it right above the function, below click's own decorators.
    """

    @server_options
    @local_command
    @functools.wraps(function)
    def command(
        output: Output,
        /,
        *args: Any,  # Any: click passes the command's own arguments through
        url: str | None,
        token: str | None,
        data_dir: Path | None,
        ca_file: Path | None,
        **options: Any,  # Any: as above
    ) -> None:
        with server_errors(output):
            server = find_server(command_settings(), url, token, data_dir, ca_file)
            client = AdminClient(server, around=lambda words: sign_of_life(output, words))
            function(client, output, *args, **options)

    return command


@contextmanager
def server_errors(output: Output) -> Iterator[None]:
    """Exit with the code and the words of whatever goes wrong between a command and its server."""
    try:
        yield
    except (ServerInvalid, CallInvalid) as error:
        raise click.UsageError(str(error)) from error
    except ServerNotRunning as error:
        output.fail(ExitCode.UNAVAILABLE, str(error), hint=NOT_RUNNING, kind="unreachable")
    except ServerNotFound as error:
        if isinstance(error, TokenNotKnown):
            _demand_answer(output, error)
        hint = "start one with `lineclear up`, or give --token and --url, or --data"
        output.fail(ExitCode.NOT_AUTHORISED, str(error), hint=hint, kind="no_server")
    except AdminUnreachable as error:
        output.fail(ExitCode.UNAVAILABLE, str(error), hint=NOT_RUNNING, kind="unreachable")
    except AdminError as error:
        # The server speaks of the header that a token travels in; who types commands gives an option or a variable.
        is_token = error.code == "unauthenticated"
        fail_refused(output, error, hint=NEXT_BY_CODE[error.code] if is_token else "")


def _demand_answer(output: Output, error: TokenNotKnown) -> None:
    """Exit as unreachable if nobody answers at the address: a token would not help there."""
    try:
        AdminClient(Server(error.url.rstrip("/"), NOBODY, error.ca_file), PROBE_S).get("/livez")
    except AdminUnreachable as away:
        output.fail(ExitCode.UNAVAILABLE, str(away), hint=NOT_RUNNING, kind="unreachable")
    except AdminError:
        # Somebody answers; that there is no token for them is what the command says.
        return


def fail_refused(output: Output, error: AdminError, hint: str = "") -> None:
    """Exit with what the server said, and with the next command: `hint`, else what the server says."""
    code = EXIT_BY_CODE.get(error.code, ExitCode.FAILURE)
    if error.code == INVALID_ANSWER:
        # Whoever answers for an admin port that is away is a proxy; anybody else was named by mistake.
        code = ExitCode.UNAVAILABLE if error.status >= PROXY_STATUS_MIN else ExitCode.USAGE
    hint = hint or error.hint or NEXT_BY_CODE.get(error.code, "")
    output.fail(code, error.message, hint=hint, details=error.findings, kind=error.code)
