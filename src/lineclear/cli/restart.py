"""`lineclear restart`: has the supervisor replace every process, itself included, one by one.

In: a data directory. Out: a signal, and what came of it.
"""

import os
import signal
from pathlib import Path
from typing import Any

import click

from lineclear.cli.connect import local_command
from lineclear.cli.environment import command_settings
from lineclear.cli.held import Holder, data_option, find_holder, wait_until
from lineclear.cli.output import PERSON_FORMATS, ExitCode, Output
from lineclear.cli.waiting import sign_of_life


@click.command()
@data_option
@click.option("--wait-s", type=click.FloatRange(0), default=900.0, show_default=True, help="Longest wait.")
@local_command
def restart(output: Output, data_dir: Path | None, wait_s: float) -> None:
    """Replace every process by a new one without refusing a request, for example after an upgrade."""
    directory = (data_dir or command_settings().data_dir).absolute()
    holder = find_holder(directory)
    before = None if holder is None else _progress(holder)
    if holder is None or before is None:
        output.fail(ExitCode.UNAVAILABLE, f"nothing runs in {directory}", hint="`lineclear up` starts it")
    output.note(f"restarting the processes of {holder.pid} one by one")
    os.kill(holder.pid, signal.SIGUSR2)
    with sign_of_life(output, "waiting for the new processes"):
        is_over = wait_until(lambda: _is_done(holder, before["done"]) or not holder.is_running(), wait_s)
    if not is_over:
        output.fail(ExitCode.UNAVAILABLE, f"not finished after {wait_s:g} s", hint="see `lineclear status` and the log")
    after = _progress(holder)
    if after is None:
        output.fail(ExitCode.FAILURE, "the supervisor ended during the restart", hint="see its log; `lineclear up`")
    if after["error"]:
        hint = "what was not replaced goes on as before; once that is mended, `lineclear restart` tries again"
        output.fail(ExitCode.FAILURE, after["error"], hint=hint)
    output.note("every process is new")
    if output.format not in PERSON_FORMATS:
        # For a person it is said above, on stderr.
        output.value({"restarted": True, "pid": holder.pid})


def _progress(holder: Holder) -> dict[str, Any] | None:
    state = holder.state()
    return None if state is None else dict(state["restart"])


def _is_done(holder: Holder, done_before: int) -> bool:
    progress = _progress(holder)
    return progress is not None and progress["done"] > done_before
