"""What Linux tells about processes: children, command lines, CPU time, memory, open files; and where they run.

In: process ids. Out: numbers. A process that ended meanwhile has no children, no CPU time and no memory.
"""

import os
from pathlib import Path

_PROC = Path("/proc")
_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, parents before children."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = sorted(children.get(waiting.pop(0), ()))
        found += below
        waiting += below
    return found


def command_line(pid: int) -> str:
    """The arguments, joined by spaces; empty if the process is gone."""
    return _read(pid, "cmdline").replace("\0", " ").strip()


def is_running(pid: int) -> bool:
    """It exists and is not a zombie."""
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z"


def cpu_us(pid: int) -> float:
    """CPU time of all its threads so far, user and system, in µs.

    Threads' own counters have nanoseconds; where the kernel does not keep them, clock ticks (10 ms) serve.
    """
    total_ns = 0
    for thread in _threads(pid):
        text = _read(pid, f"task/{thread}/schedstat")
        if not text:
            fields = _stat(pid)
            return (int(fields[11]) + int(fields[12])) * _TICK_US if fields else 0.0
        total_ns += int(text.split()[0])
    return total_ns / 1000


def rss_bytes(pid: int) -> int:
    """Resident memory; 0 if the process is gone."""
    text = _read(pid, "statm")
    return int(text.split()[1]) * _PAGE_BYTES if text else 0


def open_files(pid: int) -> int:
    """How many file descriptors it holds."""
    try:
        return sum(1 for _ in (_PROC / str(pid) / "fd").iterdir())
    except OSError:
        return 0


def pin(pid: int, core: int) -> None:
    """Bind every thread of a process to one core; new threads inherit it."""
    for thread in _threads(pid):
        try:
            os.sched_setaffinity(thread, {core})
        except ProcessLookupError:
            continue  # the thread ended meanwhile


def _threads(pid: int) -> list[int]:
    try:
        return [int(entry.name) for entry in (_PROC / str(pid) / "task").iterdir()]
    except OSError:
        return []


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the command's name: state, parent, …; empty if the process is gone."""
    return _read(pid, "stat").rpartition(")")[2].split()


def _read(pid: int, name: str) -> str:
    try:
        return (_PROC / str(pid) / name).read_text()
    except OSError:
        return ""
