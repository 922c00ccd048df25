"""`lineclear down`: asks the supervisor of a data directory to drain and waits until it is gone.

In: a data directory. Out: a signal, and the wait.
"""

import os
import signal
from pathlib import Path

import click

from lineclear.cli.connect import local_command
from lineclear.cli.environment import command_settings
from lineclear.cli.held import data_option, find_holder, wait_until
from lineclear.cli.output import PERSON_FORMATS, ExitCode, Output
from lineclear.cli.waiting import sign_of_life

NOW_S = 10.0
"""After a kill nothing has to finish any more; this long is for the machine."""


@click.command()
@data_option
@click.option("--now", "is_now", is_flag=True, help="Cut running exchanges instead of waiting for them.")
@click.option("--wait-s", type=click.FloatRange(0), default=700.0, show_default=True, help="Longest wait.")
@local_command
def down(output: Output, data_dir: Path | None, is_now: bool, wait_s: float) -> None:
    """Stop the platform of a data directory; running exchanges may finish first."""
    directory = (data_dir or command_settings().data_dir).absolute()
    holder = find_holder(directory)
    if holder is None:
        output.note(f"nothing runs in {directory}")
        _tell(output, None)
        return
    output.note(f"stopping process {holder.pid}; running exchanges may finish")
    os.kill(holder.pid, signal.SIGTERM)
    if is_now and not wait_until(lambda: not holder.is_running(), 0.5):
        os.kill(holder.pid, signal.SIGTERM)
        wait_s = NOW_S
    with sign_of_life(output, f"waiting for process {holder.pid} to end"):
        is_gone = wait_until(lambda: not holder.is_running(), wait_s)
    if not is_gone:
        output.fail(
            ExitCode.UNAVAILABLE,
            f"process {holder.pid} is still draining after {wait_s:g} s",
            hint="wait longer with --wait-s, or cut what runs with --now",
        )
    output.note("stopped")
    _tell(output, holder.pid)


def _tell(output: Output, pid: int | None) -> None:
    # For a person it is said above, on stderr.
    if output.format not in PERSON_FORMATS:
        output.value({"stopped": pid is not None, "pid": pid})
