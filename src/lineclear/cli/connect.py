"""The options every command that talks to the server has, and how its refusals become exit codes.

In: a command function taking `(client, output, …)`. Out: a click command body. Must not know any command.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click

from lineclear.cli.output import ExitCode, Format, Output
from lineclear.client.admin import AdminClient, AdminError, AdminUnreachable
from lineclear.client.find import ServerNotFound, find_server
from lineclear.config.settings import read_settings

P = ParamSpec("P")

EXIT_BY_STATUS = {
    400: ExitCode.USAGE,
    401: ExitCode.NOT_AUTHORISED,
    403: ExitCode.NOT_AUTHORISED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    412: ExitCode.CONFLICT,
    503: ExitCode.UNAVAILABLE,
}
"""Any other refusal is a failure (1)."""

output_option = click.option(
    "-o",
    "--output",
    "format_",
    type=click.Choice([item.value for item in Format]),
    default=Format.TABLE.value,
    show_default=True,
    help="Output format.",
)


def admin_command(function: Callable[Concatenate[AdminClient, Output, P], None]) -> Callable[..., None]:
    """Give a command `--url --token --data -o`, a client and an output; map refusals to exit codes.

    Put it right above the function, below click's own decorators.
    """

    @click.option("--url", default=None, help="Admin address; else LINECLEAR_URL or the data directory.")
    @click.option("--token", default=None, help="Admin token; else LINECLEAR_TOKEN or the data directory.")
    @click.option(
        "--data",
        "data_dir",
        type=click.Path(path_type=Path),
        default=None,
        help="Data directory to find the server by.",
    )
    @output_option
    @functools.wraps(function)
    def command(
        *args: Any,  # Any: click passes the command's own arguments through
        url: str | None,
        token: str | None,
        data_dir: Path | None,
        format_: str,
        **options: Any,  # Any: as above
    ) -> None:
        output = Output(Format(format_))
        try:
            client = AdminClient(find_server(read_settings(), url, token, data_dir))
            function(client, output, *args, **options)
        except ServerNotFound as error:
            output.fail(ExitCode.NOT_AUTHORISED, str(error), hint="start one with `lineclear up`, or pass --data")
        except AdminUnreachable as error:
            output.fail(ExitCode.UNAVAILABLE, str(error), hint="is it running? `lineclear up` starts it")
        except AdminError as error:
            code = EXIT_BY_STATUS.get(error.status, ExitCode.FAILURE)
            output.fail(code, error.message, hint=error.hint, details=error.findings, kind=error.code)

    return command
