"""A check in Python as control asks it: in a process of its own, with a time limit for each answer.

In: cases and answers. Out: scores; None, with words, where the check broke, took too long or said no number from 0
to 1. A process that broke is begun anew for the next answer, a few times.
"""

import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final

import msgspec

from lineclear.domain.replay import Case

ANSWER_S: Final = 30.0
"""For one answer, the start of the process included."""
STARTS_MAX: Final = 5
LINE_BYTES_MAX: Final = 65_536
PASSED_ON: Final = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
"""Variables that the process gets; none of them is a secret of the server."""


class PythonCheck:
    """One entry point; end it with `close`."""

    def __init__(self, entry_point: str, environment: Mapping[str, str], answer_s: float = ANSWER_S) -> None:
        self._entry_point = entry_point
        self._environment = {name: environment[name] for name in PASSED_ON if name in environment}
        self._answer_s = answer_s
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self.trouble = ""
        """What was wrong last."""

    def __enter__(self) -> "PythonCheck":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def score(self, case: Case, answer: str) -> float | None:
        """What it says of an answer, from 0 to 1; None if it says nothing that can be used."""
        line = self._asked(msgspec.json.encode({"case": msgspec.to_builtins(case), "answer": answer}) + b"\n")
        if line is None:
            return None
        try:
            said = msgspec.json.decode(line, type=dict[str, float | str])
        except msgspec.DecodeError:
            said = {"error": "it answered no JSON"}
        score = said.get("score")
        if isinstance(score, float | int) and 0 <= score <= 1:
            return float(score)
        self.trouble = str(said.get("error", f"{score!r} is no score from 0 to 1"))
        return None

    def close(self) -> None:
        """End its process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                # What was not read by it yet has nowhere to go.
                with suppress(OSError):
                    if pipe is not None:
                        pipe.close()

    def _asked(self, line: bytes) -> bytes | None:
        process = self._process or self._started()
        if process is None or process.stdin is None or process.stdout is None:
            return None
        # Its end ends whatever waits for it: the pipe that it does not read from, or the answer.
        limit = threading.Timer(self._answer_s, process.kill)
        limit.start()
        answer = b""
        try:
            process.stdin.write(line)
            process.stdin.flush()
            answer = process.stdout.readline(LINE_BYTES_MAX)
        except OSError:
            answer = b""
        finally:
            is_late = not limit.is_alive()
            limit.cancel()
        if answer.endswith(b"\n"):
            return answer
        self.trouble = f"it took longer than {self._answer_s:g} s" if is_late else "its process ended"
        self.close()
        return None

    def _started(self) -> subprocess.Popen[bytes] | None:
        if self._starts >= STARTS_MAX:
            return None
        self._starts += 1
        self._process = subprocess.Popen(  # noqa: S603 - our own module, and a name that manifests may hold
            [sys.executable, "-P", "-m", "lineclear.control.evals.python_child", self._entry_point],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment,
        )
        return self._process
