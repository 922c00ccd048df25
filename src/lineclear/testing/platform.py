"""The whole platform under test: `lineclear up` as real processes in a directory of its own, on free ports.

In: manifests, workers, the environment of its processes. Out: URLs, keys, process ids by role, CLI answers.
Nothing it starts outlives the `with` block.
"""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from lineclear.testing import proc

READY_S = 60.0
STOP_S = 40.0
CLI_S = 60.0
POLL_S = 0.02
LOG_TAIL_CHARS = 6000


class PlatformError(AssertionError):
    """The platform did not do what the test needs; the message ends with the tail of its log."""


class Platform:
    """Use as a context manager; `start` and `stop` may be called again inside to restart on the same data."""

    words: Sequence[str] = ("up",)
    """The command that starts it, with what else it takes."""

    def __init__(
        self,
        directory: Path,
        *,
        manifests: Sequence[Path] = (),
        workers: int = 1,
        environment: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.log_path = directory / "platform.log"
        self.manifests = list(manifests)
        self.workers = workers
        self.environment = dict(environment) if environment is not None else None
        self.arguments = list(arguments)
        self.facts: dict[str, Any] = {}
        """The ready file of the last start."""
        self.keys: dict[str, str] = {}
        """`test` and `live` key of app `default`, from the first start."""
        self.started_s = 0.0
        """How long the last start took until the ready file."""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # life

    def start(self) -> None:
        """Run `lineclear up` and wait for its ready file.

        Raises:
            PlatformError: if it ends or stays silent.
        """
        ready = self.directory / "ready.json"
        ready.unlink(missing_ok=True)
        began = time.monotonic()
        self.launch(["--ready-file", str(ready)])
        self.wait_for(ready.exists, "the ready file", READY_S)
        self.started_s = time.monotonic() - began
        self.facts = json.loads(ready.read_text())
        self.keys = self.facts["keys"] or self.keys

    def launch(self, more: Sequence[str] = ()) -> None:
        """Run `lineclear up` and wait for nothing."""
        command = [sys.executable, "-m", "lineclear", *self.words, "--data", str(self.data_dir)]
        command += ["--port", "0", "--admin-port", "0", "--workers", str(self.workers), *more, *self.arguments]
        for manifest in self.manifests:
            command += ["-f", str(manifest)]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it with a signal and wait for every process of it; what does not end is killed.

        Returns:
            The supervisor's exit code; 0 if it was not running.
        """
        if self._process is None:
            return 0
        process, self._process = self._process, None
        below = proc.descendants(process.pid)
        if process.poll() is None:
            process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        deadline = time.monotonic() + (0 if process.poll() is None else STOP_S)
        while time.monotonic() < deadline and any(proc.is_running(pid) for pid in below):
            time.sleep(POLL_S)
        for pid in [process.pid, *below]:
            with contextlib.suppress(ProcessLookupError):
                if proc.is_running(pid):
                    os.kill(pid, signal.SIGKILL)
        return process.wait()

    @property
    def pid(self) -> int:
        """The supervisor."""
        if self._process is None:
            raise PlatformError("the platform is not running")
        return self._process.pid

    # its doors

    @property
    def gateway_url(self) -> str:
        return str(self.facts["gateway_url"])

    @property
    def admin_url(self) -> str:
        return str(self.facts["admin_url"])

    def cli(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a `lineclear` command against this data directory; standard output and error are kept."""
        return subprocess.run(
            [sys.executable, "-m", "lineclear", *arguments, "--data", str(self.data_dir)],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=CLI_S,
            check=False,
        )

    def cli_json(self, *arguments: str) -> Any:
        """The JSON that a command prints with `-o json`.

        Raises:
            PlatformError: if it exits with anything but 0.
        """
        done = self.cli(*arguments, "-o", "json")
        if done.returncode != 0:
            raise PlatformError(f"lineclear {' '.join(arguments)} exited {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)

    def check_ledger(self, dispatches: Path) -> dict[str, Any]:
        """What `ledger check` says of a vendor's own log; it exits with an error code where they do not agree."""
        done = self.cli("ledger", "check", "--dispatches", str(dispatches), "-o", "json")
        try:
            return dict(json.loads(done.stdout))
        except ValueError as error:
            raise PlatformError(f"ledger check exited {done.returncode}: {done.stdout}{done.stderr}") from error

    def trail(self) -> list[dict[str, Any]]:
        """The audit trail's first events, without those that tell of reading it. Any: decoded JSON."""
        events: list[dict[str, Any]] = self.admin("GET", "/api/v1/audit-events")["events"]
        return [event for event in events if event["action"] != "audit.read"]

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        """One call to the admin API with the admin token.

        Raises:
            PlatformError: for any status from 400 on.
        """
        parts = urlsplit(self.admin_url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=CLI_S)
        headers = {"authorization": f"Bearer {self.facts['admin_token']}", "content-type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            raise PlatformError(f"{method} {path} answered {response.status}: {text!r}")
        return json.loads(text) if text else None

    # its processes

    def processes(self, role: str) -> list[int]:
        """Process ids of a role (control, accountant, gateway, runtime), oldest first."""
        wanted = f"lineclear.compose.{role}"
        return [pid for pid in proc.descendants(self.pid) if wanted in command_words(pid)]

    def kill(self, role: str, index: int = 0) -> int:
        """`kill -9` one process of a role.

        Returns:
            The pid it had; 0 if none of that role runs at the moment.
        """
        pids = self.processes(role)
        if not pids:
            return 0
        pid = pids[index % len(pids)]
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return pid

    def wait_for(self, condition: Callable[[], object], what: str, limit_s: float = 20.0) -> None:
        """Wait until `condition()` is true.

        Raises:
            PlatformError: if the supervisor ends or `limit_s` passes before.
        """
        deadline = time.monotonic() + limit_s
        while not condition():
            if self._process is not None and self._process.poll() is not None:
                raise PlatformError(f"waiting for {what}: exited {self._process.returncode}\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise PlatformError(f"waiting for {what}: nothing after {limit_s} s\n{self.log_tail()}")
            time.sleep(POLL_S)

    def log_tail(self) -> str:
        """The end of everything its processes wrote."""
        return self.log_path.read_text(errors="replace")[-LOG_TAIL_CHARS:] if self.log_path.exists() else ""


def command_words(pid: int) -> list[str]:
    """The words of a process's command line."""
    return proc.command_line(pid).split(" ")
