"""Overrides: through control if it answers, else as owner of the data directory, and then it says so.

In: what to do, as an API call and as a call of the desk. Out: the same answer either way. Without control the fact goes
into the override journal; gateways take it from there, and control takes it over when it is back.
"""

import dataclasses
import functools
import json
import os
import pwd
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click

from lineclear.base.clock import SystemClock
from lineclear.base.seal import Keys
from lineclear.cli.connect import EXIT_BY_CODE, local_command, server_errors, server_options
from lineclear.cli.environment import command_settings
from lineclear.cli.output import ExitCode, Output
from lineclear.cli.waiting import sign_of_life
from lineclear.client.admin import AdminClient, AdminUnreachable
from lineclear.client.find import ServerNotRunning, find_server
from lineclear.domain.errors import LineclearError
from lineclear.handover.override_desk import Overridden, OverrideDesk, OverrideRefused

P = ParamSpec("P")

ANSWER_S = 4.0
"""How long control may take; its own answer waits at most two seconds for gateways and database."""
MASTER_KEY_FILE = "master.key"

cut_streams_option = click.option(
    "--cut-streams", is_flag=True, help="End open answers too; without it they run to their end."
)
reason_option = click.option("--reason", default="", help="Why; callers who are refused read it, and it is audited.")


@dataclass(frozen=True)
class Overriding:
    """One command's way to act."""

    output: Output
    client: AdminClient | None
    """None if no server of the data directory runs."""
    directory: Path | None
    """The data directory to act in where control does not answer; None if another server was named."""
    why: str = ""
    """Why there is no client."""

    def request(self, **fields: Any) -> dict[str, Any]:
        """The body of a call, with when it is too late: what lies in a dead control's queue must not happen later.

        Another machine's clock may go otherwise, and there is no other way to take there.
        """
        # Any: JSON values
        if self.directory is None:
            return fields
        return {**fields, "expires_at_us": SystemClock().unix_us() + int(ANSWER_S * 1e6)}

    def do(self, call: Callable[[AdminClient], Any], act: Callable[[OverrideDesk, str], Overridden]) -> Any:
        """The answer as JSON values.

        Args:
            call: asks control.
            act: does it at the desk, in the name of the actor it is given.

        Raises:
            AdminError: control refused.
            AdminUnreachable: it did not answer, and the data directory is not ours to write.
        """
        # Any: the JSON of the admin API's answer
        why = self.why
        if self.client is not None:
            try:
                return call(self.client)
            except AdminUnreachable as error:
                if self.directory is None or not _is_ours(self.directory):
                    raise
                why = str(error)
        if self.directory is None or not _is_ours(self.directory):
            raise AdminUnreachable(why)
        return self._act(self.directory, why, act)

    def _act(self, directory: Path, why: str, act: Callable[[OverrideDesk, str], Overridden]) -> Any:
        # Any: as above
        try:
            keys = Keys(bytes.fromhex((directory / MASTER_KEY_FILE).read_text(encoding="ascii").strip()))
            done = act(OverrideDesk(directory, _run_dir(directory), keys, SystemClock()), _owner())
        except OverrideRefused as error:
            self.output.fail(EXIT_BY_CODE[error.kind], str(error), hint=error.hint, kind=error.kind)
        except LineclearError as error:
            self.output.fail(ExitCode.UNAVAILABLE, error.message, hint=error.hint, kind="unavailable")
        except ValueError as error:
            self.output.fail(ExitCode.FAILURE, f"{directory / MASTER_KEY_FILE} is damaged: {error}")
        self.output.note(f"control is away ({why})")
        if done.changed:
            self.output.note(
                f"written to the override journal of {directory} as its owner; control takes it over later"
            )
        return dataclasses.asdict(done)


def override_command(function: Callable[Concatenate[Overriding, Output, P], None]) -> Callable[..., None]:
    """Give a command the options of every command that talks to the server, and a way to act without it."""

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
            settings = command_settings()
            is_named = bool(url or settings.url)
            directory = None if is_named else data_dir or settings.data_dir
            client, why = None, ""
            try:
                server = find_server(settings, url, token, data_dir, ca_file)
                client = AdminClient(server, ANSWER_S, around=lambda words: sign_of_life(output, words))
            except ServerNotRunning as error:
                why = str(error)
            if directory is not None and _is_control_down(directory):
                client, why = None, "the supervisor says that it is down"
            function(Overriding(output, client, directory, why), output, *args, **options)

    return command


def show(output: Output, answer: Mapping[str, Any]) -> None:
    """What was done, which gateways have it, and whether it is on record."""
    gateways = answer["gateways"]
    have, silent = len(gateways["acknowledged"]), gateways["silent"]
    lines = [str(answer["summary"])]
    if have or silent:
        lines.append(f"{have}/{have + len(silent)} gateways in {gateways['in_s']:.3f} s")
    elif answer["changed"]:
        lines.append("no gateway runs; it is in force when one starts")
    output.value(answer, lines)
    if silent:
        output.note(f"silent: {', '.join(silent)}; they take it when they wake")
    for complaint in gateways["complaints"]:
        output.note(f"a gateway says: {complaint}")
    if answer["changed"] and not answer["recorded"]:
        output.note("not in database and audit trail yet; control takes it over as soon as it can")


def _is_ours(directory: Path) -> bool:
    return os.access(directory / MASTER_KEY_FILE, os.R_OK) and os.access(directory, os.W_OK)


def _run_dir(directory: Path) -> Path:
    try:
        return Path(str(json.loads((directory / "up.json").read_bytes())["run_dir"]))
    except (OSError, ValueError, KeyError, TypeError):
        return directory / "run"


def _is_control_down(directory: Path) -> bool:
    """Whether the supervisor knows that control does not run: its port would be held open, and nobody would answer."""
    try:
        parts = json.loads((_run_dir(directory) / "state.json").read_bytes())["parts"]
        return any(part["role"] == "control" and part["pid"] is None for part in parts)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _owner() -> str:
    """Who acts where nobody checks a token: the operating system's user."""
    try:
        return f"owner:{pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"owner:{os.geteuid()}"
