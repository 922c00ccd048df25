"""`lineclear up --detach`: the supervisor goes on in the background, and the command returns when it is ready.

In: the process that the person started. Out: a process without a terminal, its log in the data directory; the first
one passes on what the other tells and ends with its verdict. Standard library only.
"""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import IO

LOG_FILE = "lineclear.log"
LOG_BYTES_MAX = 64 * 1024 * 1024
"""A longer log is moved to `lineclear.log.1` and begun anew, so both together stay below twice this."""
READY_MARK = b"\0"
INTERRUPTED = 130


class Background:
    """The process in the background, until it has told the one at the terminal how its start ended."""

    def __init__(self, pipe_fd: int) -> None:
        self._told = os.fdopen(pipe_fd, "w", encoding="utf-8")
        # Neither is inherited by children, so the terminal is let go as soon as this process closes them.
        self._terminal = os.fdopen(os.dup(2), "w", encoding="utf-8")
        sys.stdout, sys.stderr = self._told, self._terminal

    def open_log(self, data_dir: Path) -> IO[str]:
        """What this process and its children write from now on goes to the log file; returns a stream to it."""
        trim_log(data_dir)
        log_fd = os.open(data_dir / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log_fd, 1)
        os.dup2(log_fd, 2)
        os.close(log_fd)
        return _stream(2)

    def finish(self) -> None:
        """The start is over and went well."""
        self._told.write(READY_MARK.decode())
        self._told.close()
        self._terminal.close()
        sys.stdout, sys.stderr = _stream(1), _stream(2)


def go_to_background() -> Background | int:
    """Forks: the new process gets a `Background`, the one at the terminal the exit code, once there is one."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.close(nothing)
        return Background(writer)
    os.close(writer)
    try:
        return _listen(reader, pid)
    except KeyboardInterrupt:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        return INTERRUPTED


def trim_log(data_dir: Path) -> None:
    """Moves a log that is too long aside; everyone who writes appends, so nobody has to open it anew."""
    path = data_dir / LOG_FILE
    try:
        if path.stat().st_size > LOG_BYTES_MAX:
            shutil.copy2(path, path.with_name(LOG_FILE + ".1"))
            os.truncate(path, 0)
    except FileNotFoundError:
        return


def _listen(reader: int, pid: int) -> int:
    is_ready = False
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while data := pipe.read(65536):
            is_ready = data.endswith(READY_MARK)
            sys.stdout.write(data.removesuffix(READY_MARK).decode("utf-8", "replace"))
            sys.stdout.flush()
    if is_ready:
        return 0
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) or 1


def _stream(fd: int) -> IO[str]:
    return open(fd, "w", encoding="utf-8", buffering=1, closefd=False)
