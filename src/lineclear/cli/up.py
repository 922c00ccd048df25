"""`lineclear up`: becomes the supervisor, which starts everything else.

In: flags. Out: an exec of the supervisor with one JSON configuration. Must not start a process itself.
"""

import functools
import importlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from lineclear.cli.environment import command_settings
from lineclear.cli.one_form import no_output_option
from lineclear.cli.output import Format, Output
from lineclear.config.settings import Settings, process_environment

FILE = click.Path(path_type=Path)
LOOPBACK = "127.0.0.1"
DRAIN_S = 600.0
"""Source: research/reliability-security.md S11, the longest wait for running streams."""


class PortNumber(click.IntRange):
    """A port; click would call a wrong one no valid integer range."""

    name = "port number"


class VariableOption(click.Option):
    """An option that says of a wrong value which variable it came from, where it came from one."""

    def get_error_hint(self, ctx: click.Context | None) -> str:
        source = None if ctx is None or self.name is None else ctx.get_parameter_source(self.name)
        if source is not ParameterSource.ENVIRONMENT:
            return super().get_error_hint(ctx)
        names = [self.envvar] if isinstance(self.envvar, str) else list(self.envvar or ())
        return next((name for name in names if process_environment().get(name)), " / ".join(names))


variable_option = functools.partial(click.option, cls=VariableOption)


# click reads the variables itself, so that a wrong value is told like a wrong option; config/settings lists them.
@click.command()
@click.option("--data", "data_dir", type=click.Path(path_type=Path), default=None, help="Data directory.")
@variable_option(
    "--port",
    type=PortNumber(0, 65535),
    default=4100,
    show_default=True,
    envvar=["LINECLEAR_PORT", "PORT"],
    help="Data port; 0 = any free.",
)
@variable_option(
    "--admin-port",
    type=PortNumber(0, 65535),
    default=4101,
    show_default=True,
    envvar="LINECLEAR_ADMIN_PORT",
    help="Admin port; 0 = any free.",
)
@variable_option(
    "--host", default=LOOPBACK, show_default=True, envvar="LINECLEAR_HOST", help="Address of the data port."
)
@variable_option(
    "--admin-host",
    default=LOOPBACK,
    show_default=True,
    envvar="LINECLEAR_ADMIN_HOST",
    help="Address of the admin port.",
)
@variable_option(
    "--tls-cert", type=FILE, default=None, envvar="LINECLEAR_TLS_CERT", help="PEM certificate chain of both ports."
)
@variable_option("--tls-key", type=FILE, default=None, envvar="LINECLEAR_TLS_KEY", help="PEM key of --tls-cert.")
@variable_option(
    "--behind-proxy",
    is_flag=True,
    envvar="LINECLEAR_BEHIND_PROXY",
    help="A proxy in front does TLS, so --host and --admin-host may be reachable by others.",
)
@variable_option(
    "--workers",
    type=click.IntRange(1, 64),
    default=None,
    envvar="LINECLEAR_WORKERS",
    help="Gateway processes; default: cores - 1.",
)
@click.option("-f", "--file", "files", type=click.Path(path_type=Path), multiple=True, help="Manifest file to apply.")
@click.argument("more_files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@click.option("--ready-file", type=click.Path(path_type=Path), default=None, help="Write URLs, token and keys here.")
@click.option("--root-path", default=None, help="Path that a proxy puts in front of the admin port's paths.")
@variable_option(
    "--public-url",
    default="",
    envvar="LINECLEAR_PUBLIC_URL",
    help="Address that callers reach the data port at, for everything shown.",
)
@variable_option(
    "--public-admin-url",
    default="",
    envvar="LINECLEAR_PUBLIC_ADMIN_URL",
    help="Address that people reach the admin port at, without --root-path.",
)
@variable_option(
    "--drain-s",
    type=click.FloatRange(0, 3600),
    default=DRAIN_S,
    envvar="LINECLEAR_DRAIN_S",
    help="Longest wait for running exchanges.",
)
@variable_option(
    "--log-format",
    type=click.Choice(["auto", "json", "human"]),
    default="auto",
    envvar="LINECLEAR_LOG_FORMAT",
    help="auto = human on a terminal.",
)
@variable_option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    envvar="LINECLEAR_LOG_LEVEL",
)
@click.option("--detach", "is_detached", is_flag=True, help="Return when it is ready; it goes on in the background.")
@no_output_option("--ready-file PATH writes addresses, token and keys as JSON")
def up(
    data_dir: Path | None,
    port: int,
    admin_port: int,
    host: str,
    admin_host: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    behind_proxy: bool,
    workers: int | None,
    files: tuple[Path, ...],
    more_files: tuple[Path, ...],
    ready_file: Path | None,
    root_path: str | None,
    public_url: str,
    public_admin_url: str,
    drain_s: float,
    log_format: str,
    log_level: str,
    is_detached: bool,
) -> None:
    """Start the platform on this machine, in the foreground unless --detach is given.

    Several files may follow one -f. Without --ready-file the URLs and, at the first start, the keys are printed.
    """
    if more_files and not files:
        raise click.UsageError(f"{more_files[0]} is no option; manifest files follow -f")
    settings = command_settings()
    directory = (data_dir or settings.data_dir).absolute()
    manifests = [path.absolute() for path in (*files, *more_files)]
    if manifests and _is_first_start(directory, settings):
        _refuse_mistakes(manifests)
    if log_format == "auto":
        log_format = "human" if sys.stderr.isatty() and not is_detached else "json"
    config = {
        "data_dir": str(directory),
        "host": host,
        "admin_host": admin_host,
        "tls_cert": _absolute(tls_cert),
        "tls_key": _absolute(tls_key),
        "port": port,
        "admin_port": admin_port,
        "workers": workers or default_workers(),
        "files": [str(path) for path in manifests],
        "ready_file": _absolute(ready_file),
        "behind_proxy": behind_proxy,
        "log": {"format": log_format, "level": log_level},
        "drain_s": drain_s,
        "root_path": settings.root_path if root_path is None else root_path.rstrip("/"),
        "public_url": public_url.rstrip("/"),
        "public_admin_url": public_admin_url.rstrip("/"),
        "is_detached": is_detached,
        "notify_socket": settings.notify_socket,
        "watchdog_s": settings.watchdog_s,
    }
    # The command line's own modules are of no use to a supervisor that lives for months, so it starts clean.
    # -P: files in the current directory are not modules.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "lineclear.compose.supervisor", json.dumps(config)])  # noqa: S606 - no shell is wanted


def _is_first_start(directory: Path, settings: Settings) -> bool:
    """Whether there is nothing to go on with if a file is not accepted; any other start goes on, and says so.

    What lies in a database of its own only the server can tell.
    """
    kept = (directory / "snapshot" / "CURRENT", directory / "lineclear.db")
    # What may not be looked at is for the supervisor to complain of.
    return not settings.database_url and not any(os.path.lexists(path) for path in kept)


def _refuse_mistakes(paths: Sequence[Path]) -> None:
    """Exit with every mistake that `lineclear validate` would find, before a process is started for nothing."""
    if not all(os.path.isfile(path) and os.access(path, os.R_OK) for path in paths):  # noqa: PTH113 - it never raises
        # The supervisor names all that are not there or cannot be read.
        return
    # Reading manifests costs more than the rest of the command, which mostly is given none.
    manifest_files = importlib.import_module("lineclear.cli.manifest_files")
    manifest_files.fail_findings(Output(Format.TABLE), manifest_files.find_files(paths, ()).reading())


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def default_workers() -> int:
    """One gateway per core that this process may use, one core left for the rest; at least one."""
    return max(1, len(os.sched_getaffinity(0)) - 1)
