"""What a command sees of a hosted model's processes while it waits for them.

In: the platform's status, again and again. Out: the state they came to, and each on the way as a note.
"""

import time
from typing import Any

from lineclear.base.clock import SystemClock
from lineclear.cli.output import Output
from lineclear.client.admin import AdminClient, path_of

POLL_S = 0.2


def wait_until_ready(client: AdminClient, output: Output, model_id: str, replicas: int, wait_s: int) -> tuple[str, str]:
    """The state that the slowest replica reached, with its reason; tells each state as it comes."""
    clock = SystemClock()
    deadline_ns = clock.monotonic_ns() + wait_s * 1_000_000_000
    told = ""
    state, reason = "queued", ""
    while True:
        parts = _parts_of(client.get(path_of("status"))["processes"], model_id)
        waiting = [part for part in parts if part["state"] != "ready"]
        part = waiting[0] if waiting else parts[0] if parts else None
        if part is not None:
            failed = part["failures"] > 0 and part["state"] != "ready"
            state, reason = (
                ("failed", part["last_end"] or part["reason"]) if failed else (part["state"], part["reason"])
            )
            if state != told:
                output.note(f"{part['name']}: {state}")
                told = state
            if failed or (not waiting and len(parts) >= replicas):
                return state, reason
        if clock.monotonic_ns() >= deadline_ns:
            return state, reason
        time.sleep(POLL_S)


def _parts_of(processes: Any, model_id: str) -> list[dict[str, Any]]:
    parts = processes.get("parts", []) if isinstance(processes, dict) else []
    return [part for part in parts if part.get("role") == "runtime" and part.get("model") == model_id]
