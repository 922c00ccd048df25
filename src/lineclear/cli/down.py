"""`lineclear down`: asks the supervisor of a data directory to drain and waits until it is gone.

In: a data directory. Out: a signal, and the wait.
"""

import os
import signal
from pathlib import Path

import click

from lineclear.cli.held import data_option, find_holder, wait_until
from lineclear.cli.output import ExitCode, Format, Output
from lineclear.config.settings import read_settings

NOW_S = 10.0
"""After a kill nothing has to finish any more; this long is for the machine."""


@click.command()
@data_option
@click.option("--now", "is_now", is_flag=True, help="Cut running exchanges instead of waiting for them.")
@click.option("--wait-s", type=click.FloatRange(0), default=700.0, show_default=True, help="Longest wait.")
def down(data_dir: Path | None, is_now: bool, wait_s: float) -> None:
    """Stop the platform of a data directory; running exchanges may finish first."""
    output = Output(Format.TABLE)
    directory = (data_dir or read_settings().data_dir).absolute()
    holder = find_holder(directory)
    if holder is None:
        output.note(f"nothing runs in {directory}")
        return
    output.note(f"stopping process {holder.pid}; running exchanges may finish")
    os.kill(holder.pid, signal.SIGTERM)
    if is_now and not wait_until(lambda: not holder.is_running(), 0.5):
        os.kill(holder.pid, signal.SIGTERM)
        wait_s = NOW_S
    if not wait_until(lambda: not holder.is_running(), wait_s):
        output.fail(
            ExitCode.UNAVAILABLE,
            f"process {holder.pid} is still draining after {wait_s:g} s",
            hint="wait longer with --wait-s, or cut what runs with --now",
        )
    output.note("stopped")
