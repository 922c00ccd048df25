"""`lineclear demo`: an invented company with a month of requests in an empty directory, then served as by `up`.

In: flags. Out: a marked data directory, and the supervisor in this process's place. The making is a process of its own.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from lineclear.cli.environment import command_settings
from lineclear.cli.output import ExitCode
from lineclear.cli.up import up

DAYS_MAX = 180
OWN_TO_UP = frozenset({"data_dir", "files", "more_files"})
"""Parameters of `up` that make no sense here, or are the demo's own."""
SEED_MAX = 2**32 - 1


@click.pass_context
def _demo(context: click.Context, /, data_dir: Path | None, days: int, seed: int, **up_flags: Any) -> None:
    # Any: values of `up`'s own flags, passed on as they are.
    """Make an invented company with a month of requests in an empty directory, and serve it.

    Nothing of it is real, and every page says so. Afterwards `lineclear up --data DIR` serves it again. The options
    from --port on are those of `lineclear up`.
    """
    directory = (data_dir or command_settings().data_dir).absolute()
    made = _make(directory, days, seed)
    click.echo(
        f"demo data: {made['requests']:,} simulated requests of {days} days, {made['errors']:,} of them in error,"
        f" {made['cost_usd']} USD; budgets of this month count them",
        err=True,
    )
    click.echo(f"its manifests are in {directory / 'manifests'}", err=True)
    context.invoke(up, data_dir=directory, **up_flags)


def _make(directory: Path, days: int, seed: int) -> dict[str, Any]:
    order = json.dumps({"data_dir": str(directory), "days": days, "seed": seed})
    command = [sys.executable, "-P", "-m", "lineclear.compose.demo", order]
    answer: dict[str, Any] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as maker, _progress(days) as show:  # noqa: S603 - our own interpreter and module
        for line in maker.stdout or ():
            answer = json.loads(line)
            if "days" in answer:
                show(int(answer["days"]), int(answer["requests"]))
    if "made" in answer:
        return dict(answer["made"])
    if maker.returncode == ExitCode.INTERRUPTED:
        raise click.exceptions.Exit(ExitCode.INTERRUPTED)
    cut_short = f"the demo was not finished (exit {maker.returncode}); remove {directory}, then try again"
    click.echo(f"error: {answer.get('refused', cut_short)}", err=True)
    raise click.exceptions.Exit(ExitCode.CONFLICT if "refused" in answer else ExitCode.FAILURE)


@contextmanager
def _progress(days: int) -> Iterator[Callable[[int, int], None]]:
    """Days done and requests so far: a bar on a terminal, a line at the beginning anywhere else."""
    if not sys.stderr.isatty():
        is_told = False

        def tell(_days: int, _requests: int) -> None:
            # With the first day: a directory that is refused is none that anything was made in.
            nonlocal is_told
            if not is_told:
                is_told = True
                click.echo(f"making {days} days of simulated requests", err=True)

        yield tell
        return
    columns = (TextColumn("making {task.total} days"), BarColumn(), TextColumn("{task.fields[requests]:,} requests"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=days, requests=0)
        yield lambda done, requests: bar.update(task, completed=done, requests=requests)


demo = click.Command(
    "demo",
    callback=_demo,
    help=_demo.__doc__,
    params=[
        click.Option(["--data", "data_dir"], type=click.Path(path_type=Path), help="Data directory; empty or new."),
        click.Option(["--days"], type=click.IntRange(1, DAYS_MAX), default=30, show_default=True, help="Length."),
        click.Option(
            ["--seed"], type=click.IntRange(0, SEED_MAX), default=1, show_default=True,
            help="Another one gives other requests.",
        ),
        *(parameter for parameter in up.params if parameter.name not in OWN_TO_UP),
    ],
)  # fmt: skip
