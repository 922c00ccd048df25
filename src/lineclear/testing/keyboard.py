"""A person at a terminal: runs a command on a pseudo-terminal and types what its questions ask for.

In: a command, and pairs of what is waited for and what is typed then. Out: exit code and everything that was shown.
"""

import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping, Sequence

LIMIT_S = 60.0


def type_at(
    command: Sequence[str], answers: Sequence[tuple[str, str]] = (), environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a command; each answer is typed once its words were shown, in order.

    Raises:
        TimeoutError: if it does not end within LIMIT_S; it is killed then.
    """
    leader, follower = pty.openpty()
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    shown, place, waiting = b"", 0, list(answers)
    deadline = time.monotonic() + LIMIT_S
    try:
        while piece := _read(leader, deadline):
            shown += piece
            if waiting and (at := shown.find(waiting[0][0].encode(), place)) >= 0:
                place = at + len(waiting[0][0].encode())
                os.write(leader, waiting.pop(0)[1].encode() + b"\n")
        return process.wait(), shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def _read(leader: int, deadline: float) -> bytes:
    """What came; b"" when the other end is closed."""
    if not select.select([leader], [], [], max(0.0, deadline - time.monotonic()))[0]:
        raise TimeoutError(f"the command did not end within {LIMIT_S} s")
    try:
        return os.read(leader, 4096)
    except OSError:
        # Linux says so, instead of an end of file, when the last process of the terminal is gone.
        return b""
