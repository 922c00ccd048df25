"""Finds the supervisor that holds a data directory, for the commands that signal it.

In: a data directory. Out: its pid and what it tells about its processes. Must not start or stop anything.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lineclear.base.clock import SystemClock

LOCK_FILE = "supervisor.lock"
POLL_S = 0.05

data_option = click.option(
    "--data", "data_dir", type=click.Path(path_type=Path), default=None, help="Data directory; else the default one."
)


@dataclass(frozen=True)
class Holder:
    """A running supervisor on this machine."""

    pid: int
    data_dir: Path

    def state(self) -> dict[str, Any] | None:
        """Its state.json; None while it is starting or gone."""
        try:
            run_dir = json.loads((self.data_dir / "up.json").read_bytes())["run_dir"]
            return dict(json.loads((Path(run_dir) / "state.json").read_bytes()))
        except (OSError, ValueError, KeyError):
            return None

    def is_running(self) -> bool:
        return find_holder(self.data_dir) == self


def find_holder(data_dir: Path) -> Holder | None:
    """Who holds the directory's lock; None if nobody does."""
    try:
        lock_fd = os.open(data_dir / LOCK_FILE, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(lock_fd, 32, 0).decode(errors="replace").strip()
        return Holder(int(pid), data_dir) if pid.isdigit() else None
    finally:
        os.close(lock_fd)
    return None


def wait_until(is_so: Callable[[], bool], limit_s: float) -> bool:
    """Asks every POLL_S; False when the limit passed first."""
    clock = SystemClock()
    deadline_ns = clock.monotonic_ns() + int(limit_s * 1e9)
    while not is_so():
        if clock.monotonic_ns() > deadline_ns:
            return False
        time.sleep(POLL_S)
    return True
