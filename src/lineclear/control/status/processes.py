"""What runs, as `ps` shows it: the supervisor's own list with what the kernel knows of each process.

In: the supervisor's state file, /proc. Out: facts per process. Never trusts a pid alone: another process may have it by
now, which its start time tells.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
START_FIELD = 19
"""Of /proc/PID/stat, counted after the command's name. Source: proc_pid_stat(5), field 22."""


WORK_FACTS = ("running", "queued", "answered", "failed", "refused", "cancelled", "steps", "last_step_unix_s")


@dataclass(frozen=True)
class ProcessFacts:
    """One process, or a place that nobody fills."""

    name: str
    """`control`, `accountant`, `gateway.0`, `runtime.NAME`, and `runtime.NAME~1` for a second replica."""
    role: str
    slot: int
    pid: int | None
    state: str
    reason: str
    uptime_s: float | None
    rss_bytes: int | None
    """Memory it holds; what processes share is counted in each."""
    life: int
    """How many processes filled the place before, since the platform was started."""
    failures: int
    """Unwanted ends in a row."""
    last_end: str
    """Why the process before ended unasked; empty if none did."""
    work: dict[str, int | None] | None
    """What a ready runtime's heartbeat said last: requests running, queued, answered, failed, refused and cancelled,
    the engine's steps, and when the last one was completed (`last_step_unix_s`). None for others."""
    model: str | None
    """`name@version` of a runtime."""
    replica: int | None
    """Of a runtime, from 0."""


def read_processes(state_file: Path) -> list[ProcessFacts]:
    """Every place and who fills it; empty while the supervisor's file cannot be read."""
    try:
        state: Any = json.loads(state_file.read_bytes())  # Any: the supervisor's file, judged below
    except (OSError, ValueError):
        return []
    parts = state.get("parts") if isinstance(state, dict) else None
    return [_facts(part) for part in parts or () if isinstance(part, dict)]


def _facts(part: Mapping[str, Any]) -> ProcessFacts:
    pid, role = part.get("pid"), str(part.get("role", ""))
    uptime_s, rss_bytes = _of_kernel(pid, part.get("start_ticks")) if isinstance(pid, int) else (None, None)
    replica = str(part.get("name", "")).partition("~")[2]
    return ProcessFacts(
        name=str(part.get("name", "")),
        role=role,
        slot=int(part.get("slot") or 0),
        pid=pid,
        state=str(part.get("state", "")),
        reason=str(part.get("reason") or ""),
        uptime_s=uptime_s,
        rss_bytes=rss_bytes,
        life=int(part.get("life") or 0),
        failures=int(part.get("failures") or 0),
        last_end=str(part.get("last_end") or ""),
        work=_work(part.get("facts")),
        model=part.get("model"),
        replica=None if role != "runtime" else int(replica) if replica.isdigit() else 0,
    )


def _work(facts: object) -> dict[str, int | None] | None:
    if not isinstance(facts, dict) or "steps" not in facts:
        return None
    return {name: facts.get(name) for name in WORK_FACTS}


def _of_kernel(pid: int, start_ticks: object) -> tuple[float | None, int | None]:
    """Seconds since the start and resident bytes; None for both if the process is another one by now, or gone."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
        since_boot_s = float((_PROC / "uptime").read_text().split()[0])
    except (OSError, IndexError, ValueError):
        return None, None
    if int(fields[START_FIELD]) != start_ticks:
        return None, None
    return round(since_boot_s - int(fields[START_FIELD]) / _TICKS_PER_S, 1), pages * _PAGE_BYTES
