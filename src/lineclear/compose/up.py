"""What `lineclear up` asks for, and everything that must hold before the first child starts.

In: the JSON that the command line built. Out: a held data directory and bound listeners, or a refusal in words.
Standard library and base only.
"""

import json
import logging
import re
import shlex
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lineclear.base.certificate import Certificate, CertificateUnusable, read_certificate
from lineclear.base.clock import SystemClock
from lineclear.base.log import LogChoice
from lineclear.compose.child import kill_group, start_ticks
from lineclear.compose.datadir import DataDirectory, UpRefused, make_empty_run_dir, open_data_directory
from lineclear.compose.listeners import bind_admin, bind_slots, is_loopback

log = logging.getLogger(__name__)

WORKERS_MAX = 64
DEMO_FILE = "demo"
"""As `handover.demo_mark`, which needs more than the standard library."""
_PATHS = {"ready_file", "tls_cert", "tls_key"}
"""Fields that are paths or None."""
_PUBLIC_URL = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*")
_ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
LEFTOVER_DRAIN_S = 15.0
"""How long processes of a supervisor that died may finish what they were doing before they are killed."""


@dataclass(frozen=True, slots=True)
class UpConfig:
    """The flags of `lineclear up`, complete and checked for shape."""

    data_dir: Path
    host: str
    """Where the data port listens."""
    port: int
    admin_port: int
    workers: int
    files: tuple[Path, ...]
    """Manifests to apply at start, absolute paths."""
    ready_file: Path | None
    behind_proxy: bool
    """A proxy in front does TLS, so that a bind other than loopback is allowed."""
    log: LogChoice
    drain_s: float
    """How long running exchanges may go on after a stop was asked for."""
    root_path: str = ""
    """What a proxy puts in front of every path of the admin port, such as `/ai/gateway`; empty = nothing."""
    public_url: str = ""
    """Where callers reach the data port, for everything shown; empty = at the address that it listens on."""
    public_admin_url: str = ""
    """The same of the admin port, without `root_path`."""
    admin_host: str = "127.0.0.1"
    """Where the admin port listens."""
    tls_cert: Path | None = None
    """PEM file of the chain that both ports show; None = no TLS."""
    tls_key: Path | None = None
    """PEM file of its key; given exactly if `tls_cert` is."""
    is_detached: bool = False
    """Goes on in the background, its log in the data directory."""
    notify_socket: str = ""
    """Where a service manager listens; empty = nowhere."""
    watchdog_s: float | None = None
    """How often that one wants a sign of life; None = never."""

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> "UpConfig":
        """Reads what the command line wrote.

        Raises:
            ValueError: a field is missing or unknown.
        """
        try:
            message: dict[str, Any] = json.loads(text)  # Any: what json gives; the constructor below names each field.
            return cls(
                **{
                    **message,
                    "data_dir": Path(message["data_dir"]),
                    "files": tuple(Path(path) for path in message["files"]),
                    **{
                        name: None if message[name] is None else Path(message[name]) for name in _PATHS & message.keys()
                    },
                    "log": LogChoice(**message["log"]),
                }
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"the configuration does not fit this program ({error})") from error


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the supervisor holds for its whole life."""

    data: DataDirectory
    slots: tuple[socket.socket, ...]
    """One listener per gateway slot."""
    admin: socket.socket
    certificate: Certificate | None = None
    """What both ports show at first; None = no TLS."""


def prepare(config: UpConfig) -> Prepared:
    """Checks the binds, takes the data directory, waits for leftovers, binds the ports.

    Raises:
        UpRefused: any of it cannot be; nothing was changed that a second try would stumble on.
    """
    _check(config)
    certificate = configured_certificate(config)
    data = open_data_directory(config.data_dir, _demand_whole)
    _wait_for_leftovers(data.run_dir / "state.json")
    slots = bind_slots(config.host, config.port, config.workers)
    admin = bind_admin(config.admin_host, config.admin_port)
    make_empty_run_dir(data.run_dir)
    if config.ready_file is not None:
        # Facts of a run that was killed would tell a waiting script that this one is ready.
        config.ready_file.unlink(missing_ok=True)
    return Prepared(data, tuple(slots), admin, certificate)


def configured_certificate(config: UpConfig) -> Certificate | None:
    """The pair of --tls-cert and --tls-key as it stands in the files now; None if none was given.

    Raises:
        UpRefused: it cannot be used.
    """
    if config.tls_cert is None or config.tls_key is None:
        return None
    try:
        return read_certificate(config.tls_cert, config.tls_key)
    except CertificateUnusable as error:
        raise UpRefused(f"--tls-cert and --tls-key: {error}") from error


def _check(config: UpConfig) -> None:
    if not 1 <= config.workers <= WORKERS_MAX:
        raise UpRefused(f"--workers {config.workers} is not between 1 and {WORKERS_MAX}")
    if config.port == config.admin_port != 0:
        raise UpRefused(f"--port and --admin-port are both {config.port}; the data and admin doors are two ports")
    _check_shown(config)
    if (config.tls_cert is None) != (config.tls_key is None):
        given, missing = ("--tls-cert", "--tls-key") if config.tls_key is None else ("--tls-key", "--tls-cert")
        raise UpRefused(f"{given} was given without {missing}; TLS needs both files")
    for flag, host in (("--host", config.host), ("--admin-host", config.admin_host)):
        if not is_loopback(host) and config.tls_cert is None and not config.behind_proxy:
            raise UpRefused(
                f"{flag} {host} can be reached by other machines, and keys would travel in the clear; give"
                " --tls-cert and --tls-key, or put a proxy that does TLS in front and say so with --behind-proxy,"
                f" or leave {flag} away"
            )
    # One at a time would be found one start at a time.
    absent = [f"-f {path}: there is no such file" for path in config.files if not path.is_file()]
    if absent:
        raise UpRefused("\n  ".join(absent))
    if config.ready_file is not None and config.ready_file.is_dir():
        raise UpRefused(f"--ready-file {config.ready_file} is a directory; name a file in it")
    if config.ready_file is not None and not config.ready_file.parent.is_dir():
        raise UpRefused(f"--ready-file {config.ready_file}: there is no directory {config.ready_file.parent}")


def _check_shown(config: UpConfig) -> None:
    """What stands in links and texts."""
    if not _ROOT_PATH.fullmatch(config.root_path):
        raise UpRefused(f"--root-path {config.root_path!r} is not a path such as /ai/gateway, without / at its end")
    for flag, url in (("--public-url", config.public_url), ("--public-admin-url", config.public_admin_url)):
        if url and not _PUBLIC_URL.fullmatch(url):
            raise UpRefused(f"{flag} {url!r} is no address such as https://ai.example.com, with or without a path")


def unfinished_demo(directory: Path) -> str:
    """What to say of a directory in which the making of a demo was cut short."""
    return (
        f"{directory} holds a demo that was not finished, with a part of its history; remove it with"
        f" `rm -r {shlex.quote(str(directory))}`, then make it anew with `lineclear demo --data"
        f" {shlex.quote(str(directory))}`"
    )


def _demand_whole(directory: Path) -> None:
    """Refuses a demo whose making was killed: its figures would be taken for the whole month."""
    try:
        mark = json.loads((directory / DEMO_FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return
    if isinstance(mark, dict) and mark.get("is_complete") is False:
        raise UpRefused(unfinished_demo(directory))


def _wait_for_leftovers(state_path: Path) -> None:
    """Processes of a supervisor that died drain by themselves; they still hold ports, sockets and locks meanwhile."""
    leftovers = _leftovers(state_path)
    if leftovers:
        log.info("waiting for processes of an earlier run to finish", extra={"facts": {"pids": sorted(leftovers)}})
    clock = SystemClock()
    deadline_ns = clock.monotonic_ns() + int(LEFTOVER_DRAIN_S * 1e9)
    while (living := _living(leftovers)) and clock.monotonic_ns() < deadline_ns:
        time.sleep(0.05)
    for pid in living:
        log.warning("killing a process of an earlier run", extra={"facts": {"pid": pid}})
        kill_group(pid)
    while _living(leftovers):
        time.sleep(0.01)


def _leftovers(state_path: Path) -> dict[int, int]:
    """Pid to start ticks of the children that an earlier state.json names. A damaged file names none."""
    try:
        parts = json.loads(state_path.read_bytes())["parts"]
        return {int(part["pid"]): int(part["start_ticks"]) for part in parts if part["pid"]}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


def _living(leftovers: dict[int, int]) -> list[int]:
    # The start time tells our old child from a stranger who got the same pid.
    return [pid for pid, ticks in leftovers.items() if start_ticks(pid) == ticks]
