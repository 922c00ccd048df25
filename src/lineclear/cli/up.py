"""`lineclear up`: becomes the supervisor, which starts everything else.

In: flags. Out: an exec of the supervisor with one JSON configuration. Must not start a process itself.
"""

import json
import os
import sys
from pathlib import Path

import click

from lineclear.config.settings import read_settings

DRAIN_S = 600.0
"""Source: research/reliability-security.md S11, the longest wait for running streams."""


@click.command()
@click.option("--data", "data_dir", type=click.Path(path_type=Path), default=None, help="Data directory.")
@click.option("--port", type=click.IntRange(0, 65535), default=4100, show_default=True, help="Data port; 0 = any free.")
@click.option(
    "--admin-port", type=click.IntRange(0, 65535), default=4101, show_default=True, help="Admin port; 0 = any free."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the data port.")
@click.option("--behind-proxy", is_flag=True, help="A proxy in front does TLS, so --host may be reachable by others.")
@click.option("--workers", type=click.IntRange(1, 64), default=None, help="Gateway processes; default: cores - 1.")
@click.option("-f", "--file", "files", type=click.Path(path_type=Path), multiple=True, help="Manifest file to apply.")
@click.argument("more_files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@click.option("--ready-file", type=click.Path(path_type=Path), default=None, help="Write URLs, token and keys here.")
@click.option("--root-path", default=None, help="Path that a proxy puts in front of the admin port's paths.")
@click.option("--drain-s", type=click.FloatRange(0, 3600), default=DRAIN_S, help="Longest wait for running exchanges.")
@click.option(
    "--log-format", type=click.Choice(["auto", "json", "human"]), default="auto", help="auto = human on a terminal."
)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
def up(
    data_dir: Path | None,
    port: int,
    admin_port: int,
    host: str,
    behind_proxy: bool,
    workers: int | None,
    files: tuple[Path, ...],
    more_files: tuple[Path, ...],
    ready_file: Path | None,
    root_path: str | None,
    drain_s: float,
    log_format: str,
    log_level: str,
) -> None:
    """Start the platform on this machine, in the foreground.

    Several files may follow one -f. Without --ready-file the URLs and, at the first start, the keys are printed.
    """
    if more_files and not files:
        raise click.UsageError(f"{more_files[0]} is no option; manifest files follow -f")
    directory = (data_dir or read_settings().data_dir).absolute()
    if log_format == "auto":
        log_format = "human" if sys.stderr.isatty() else "json"
    config = {
        "data_dir": str(directory),
        "host": host,
        "port": port,
        "admin_port": admin_port,
        "workers": workers or default_workers(),
        "files": [str(path.absolute()) for path in (*files, *more_files)],
        "ready_file": None if ready_file is None else str(ready_file.absolute()),
        "behind_proxy": behind_proxy,
        "log": {"format": log_format, "level": log_level},
        "drain_s": drain_s,
        "root_path": read_settings().root_path if root_path is None else root_path.rstrip("/"),
    }
    # The command line's own modules are of no use to a supervisor that lives for months, so it starts clean.
    # -P: files in the current directory are not modules.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "lineclear.compose.supervisor", json.dumps(config)])  # noqa: S606 - no shell is wanted


def default_workers() -> int:
    """One gateway per core that this process may use, one core left for the rest; at least one."""
    return max(1, len(os.sched_getaffinity(0)) - 1)
