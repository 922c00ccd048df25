"""nginx in the two parts that it plays in the benchmark: a vendor that answers at once, and a plain reverse proxy.

In: a directory and, for the proxy, where to. Out: a port and a process id; one process, no master.
"""

import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

START_S = 10.0

ANSWER = (
    '{"id":"chatcmpl-bench","object":"chat.completion","created":1700000000,"model":"bench",'
    '"choices":[{"index":0,"message":{"role":"assistant","content":"%s"},"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":200,"completion_tokens":150,"total_tokens":350}}'
) % ("A plain answer of about one kilobyte, as a small model gives it. " * 12)

_FRAME = """
daemon off;
master_process off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 4096; }}
http {{
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  client_body_buffer_size 64k;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  {log}
  {upstreams}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    {locations}
  }}
}}
"""


class Nginx:
    """Use as a context manager."""

    def __init__(self, directory: Path, *, proxy_to: int | None = None, extra_proxy_to: int | None = None) -> None:
        """A vendor if `proxy_to` is None, else a proxy to that loopback port.

        Args:
            directory: where its files go; made if missing.
            proxy_to: port that `/v1/` goes to.
            extra_proxy_to: port that `/v1/stream/` goes to, unbuffered; None = no such path.
        """
        self.directory = directory
        self.log_path = directory / "dispatches.jsonl"
        self.port = _free_port()
        self._proxy_to = proxy_to
        self._extra_proxy_to = extra_proxy_to
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / "nginx.conf"
        path.write_text(self._config())
        self._process = subprocess.Popen(["nginx", "-p", str(self.directory), "-c", str(path)])
        deadline = time.monotonic() + START_S
        while not _answers(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"nginx did not start: {(self.directory / 'error.log').read_text()}")
            time.sleep(0.02)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it; its log is complete afterwards."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def _config(self) -> str:
        log, upstreams = "access_log off;", ""
        if self._proxy_to is None:
            entry = """'{"x_request_id":"$http_x_request_id","status":$status}'"""
            # Only our dispatches carry an id; the plain proxy's are not in any ledger.
            log = 'map $http_x_request_id $is_ours { "" 0; default 1; } '
            log += f"log_format dispatch {entry}; "
            log += f"access_log {self.log_path} dispatch buffer=256k flush=1s if=$is_ours;"
            locations = f"location / {{ default_type application/json; return 200 '{ANSWER}'; }}"
        else:
            upstreams = f"upstream vendor {{ server 127.0.0.1:{self._proxy_to}; keepalive 128; }}"
            plain = 'proxy_http_version 1.1; proxy_set_header Connection "";'
            locations = f"location / {{ proxy_pass http://vendor; {plain} }}"
            if self._extra_proxy_to is not None:
                upstreams += f" upstream streams {{ server 127.0.0.1:{self._extra_proxy_to}; keepalive 128; }}"
                locations += f" location /stream/ {{ proxy_pass http://streams/; proxy_buffering off; {plain} }}"
        return _FRAME.format(
            directory=self.directory,
            port=self.port,
            log=log,
            upstreams=upstreams,
            locations=locations,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
