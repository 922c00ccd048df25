"""Closed-loop load from wrk: a C program, so that the load generator is never what is measured.

In: a URL, prepared requests, connections, seconds. Out: requests, errors, latency percentiles in µs.
"""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lineclear.testing.load import Call

_SCRIPT = """
local requests = {}
local at = 0
function init(args)
  for line in io.lines("%(calls)s") do
    local path, headers, body = line:match("^(.-)\\t(.-)\\t(.*)$")
    local fields = {}
    for name, value in headers:gmatch("([^=;]+)=([^;]*)") do fields[name] = value end
    requests[#requests + 1] = wrk.format("POST", path, fields, body)
  end
end
function request()
  at = at %% #requests + 1
  return requests[at]
end
function done(summary, latency, other)
  local e = summary.errors
  io.write(string.format('RESULT {"requests":%%d,"errors":%%d,"duration_us":%%d,"p50_us":%%d,"p99_us":%%d}\\n',
    summary.requests, e.connect + e.read + e.write + e.status + e.timeout, summary.duration,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class WrkResult:
    """What wrk counted."""

    requests: int
    """Answers read."""
    errors: int
    """Answers that were not 2xx or 3xx, and connections that failed."""
    duration_us: int
    p50_us: int
    p99_us: int


class Wrk:
    """Prepared requests, sent in turn."""

    def __init__(self, directory: Path, name: str, calls: Sequence[Call]) -> None:
        self._script = directory / f"{name}.lua"
        listing = directory / f"{name}.calls"
        lines = []
        for call in calls:
            headers = ";".join(f"{key}={value}" for key, value in call.headers.items())
            lines.append(f"{call.path}\t{headers}\t{call.body.decode()}")
        listing.write_text("\n".join(lines) + "\n")
        self._script.write_text(_SCRIPT % {"calls": listing})

    def run(self, url: str, *, connections: int, seconds: int, core: int) -> WrkResult:
        """Load `url` for whole `seconds` from one thread on `core`."""
        command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
        done = subprocess.run(
            [*command, "--timeout", "30s", "-s", str(self._script), url],
            capture_output=True,
            text=True,
            check=False,
        )
        found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if not found:
            raise RuntimeError(f"wrk failed: {done.stdout}{done.stderr}")
        return WrkResult(**json.loads(found[0].removeprefix("RESULT ")))
