"""A scripted upstream in a process of its own, so that its work does not slow the test that watches it.

In: where its log goes. Out: its base URL, and calls to script it and to read its facts.
"""

import http.client
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

START_S = 15.0
STOP_S = 5.0


class UpstreamProcess:
    """Use as a context manager; the process ends with the block, or with this process."""

    def __init__(self, log_path: Path) -> None:
        self.log_path = log_path
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def base_url(self) -> str:
        """What a Provider manifest gives as `base_url`."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "lineclear.testing.upstream", "--port", str(self.port), "--log"]
        self._process = subprocess.Popen(
            [*command, str(self.log_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(json.loads(self._process.stdout.readline())["port"])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def script(self, model: str, *, following: Sequence[str] = (), always: str | None = None) -> None:
        """Say what target `model` does: `following` once each, then `always` (None = plain answers)."""
        self._call("PUT", f"/__script/{model}", {"following": list(following), "always": always})

    def account(self, key: str, models: Sequence[str], *, is_list_public: bool = False) -> None:
        """From now on only `key` is accepted, and `GET /v1/models` lists `models` (none = there is no list)."""
        self._call("PUT", "/__account", {"key": key, "models": list(models), "is_list_public": is_list_public})

    def facts(self) -> dict[str, Any]:
        """Counters and hang-ups so far."""
        return dict(json.loads(self._call("GET", "/__facts", None)))

    def dispatches(self) -> list[dict[str, Any]]:
        """Every line of its log."""
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]

    def _call(self, method: str, path: str, body: Any) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_S)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            raise ValueError(f"the scripted upstream refused {method} {path}: {text!r}")
        return text
