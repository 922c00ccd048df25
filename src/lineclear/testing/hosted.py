"""A runtime process as the supervisor starts it: a life socket, a boot message, a Unix socket to call.

In: a RuntimeSpec as plain JSON. Out: its states in order, and answers over plain HTTP. Blocking; for tests only.
"""

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineclear.base.log import LogChoice
from lineclear.compose.life import Boot
from lineclear.config.settings import read_settings
from lineclear.serving.bundled import SMOLLM2, BundledModel, find_artifact, hosted_settings

WAIT_S = 60.0


@dataclass
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class UnixConnection(http.client.HTTPConnection):
    """HTTP/1.1 over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("runtime", timeout=WAIT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(WAIT_S)
        self.sock.connect(str(self._path))

    def read(self) -> Answer:
        """The whole answer to the request that was sent."""
        response = self.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())


class HostedModel:
    """One process of `lineclear.compose.runtime`."""

    def __init__(self, run_dir: Path, spec: Mapping[str, object], life: int = 0) -> None:
        self.run_dir = run_dir
        self.socket_path = run_dir / f"rt-{spec['name']}.sock"
        self.states: list[dict[str, Any]] = []
        ours, theirs = socket.socketpair()
        ours.settimeout(WAIT_S)
        self.life = ours
        self._lines = ours.makefile("rb")
        self.log = (run_dir / f"{spec['name']}.{life}.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lineclear.compose.runtime", "--life-fd", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stderr=self.log,
        )
        theirs.close()
        boot = Boot(
            role="runtime",
            data_dir=run_dir,
            run_dir=run_dir,
            node="local",
            boot_id="b0",
            slot=0,
            life=life,
            listen_fds=(),
            master_key=b"",
            log=LogChoice(),
            workers=1,
            options={"spec": dict(spec)},
        )
        ours.sendall(boot.to_line())

    def wait_for(self, state: str) -> dict[str, Any]:
        """The status line of the first such state; fails if the process ends before."""
        while True:
            line = self._lines.readline()
            if not line:
                raise AssertionError(f"the runtime ended before {state!r}; said {self.states}; log: {self.log_text()}")
            self.states.append(json.loads(line))
            if self.states[-1]["state"] == state:
                return self.states[-1]

    def names(self) -> list[str]:
        """The states in order; heartbeats, which repeat one, are left out."""
        told = [status["state"] for status in self.states]
        return [state for at, state in enumerate(told) if at == 0 or state != told[at - 1]]

    def call(
        self, path: str, body: object = None, headers: Mapping[str, str] | None = None, method: str | None = None
    ) -> Answer:
        connection = self.open(path, body, headers, method)
        try:
            return connection.read()
        finally:
            connection.close()

    def open(
        self, path: str, body: object = None, headers: Mapping[str, str] | None = None, method: str | None = None
    ) -> UnixConnection:
        """Sends a request and leaves the answer to be read."""
        connection = UnixConnection(self.socket_path)
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method or ("GET" if body is None else "POST"), path, data, dict(headers or {}))
        return connection

    def facts(self) -> dict[str, Any]:
        return dict(self.call("/readyz").json)

    def drain(self) -> int:
        """End of file; returns the exit code."""
        self.life.shutdown(socket.SHUT_WR)
        return self.process.wait(WAIT_S)

    def log_text(self) -> str:
        return Path(self.log.name).read_text()

    def close(self) -> None:
        self._lines.close()
        self.life.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()


def simulated_spec(name: str, **settings: object) -> dict[str, object]:
    """A RuntimeSpec of the simulated engine."""
    return {
        "name": name,
        "model": "simulated@1",
        "engine": "simulated",
        "artifact": None,
        "sha256": None,
        "settings": settings,
        "upstream_id": "simulated",
    }


def smollm2_spec(name: str, **settings: object) -> dict[str, object]:
    """A RuntimeSpec of the bundled language model with a small context."""
    return bundled_spec(SMOLLM2, name, **{"context": 512, **settings})


def bundled_spec(model: BundledModel, name: str, **settings: object) -> dict[str, object]:
    """A RuntimeSpec of a bundled model, which must have been pulled."""
    artifact = find_artifact(model, read_settings().model_store)
    if artifact is None:
        raise FileNotFoundError(f"{model.name} is not on this machine: run `lineclear models pull {model.name}`")
    return {
        "name": name,
        "model": f"{model.name}@{model.version}",
        "engine": model.engine.value,
        "artifact": str(artifact),
        "sha256": model.sha256,
        "settings": {**hosted_settings(model, artifact), **settings},
        "upstream_id": model.name,
    }
