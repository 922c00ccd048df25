"""CPU per relayed request of `net` alone, against nginx as a plain reverse proxy, alternating in one run.

    python benchmarks/net_proxy.py [--seconds 4] [--rounds 3] [--connections 32]

Needs nginx and wrk. The target is nginx with `return`; proxies run on core 0, target and load on core 1.
The loop reads a body, calls the target over the pool, and writes the whole answer: no authentication, no ledger.
"""

import argparse
import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from lineclear.base.clock import SystemClock
from lineclear.domain.errors import LineclearError
from lineclear.net.dns import Resolver
from lineclear.net.egress import EgressGuard
from lineclear.net.limits import PoolLimits, ServerLimits
from lineclear.net.server import HTTPServer, Reply, Request
from lineclear.net.tls import client_context
from lineclear.net.upstream import Origin, Pool

ANSWER = (
    '{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"'
    + "x" * 800
    + '"},"finish_reason":"stop"}],"usage":{"prompt_tokens":200,"completion_tokens":200,"total_tokens":400}}'
)
NGINX = """
daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 3600;
  client_body_temp_path {folder}/{name}-b; proxy_temp_path {folder}/{name}-p; fastcgi_temp_path {folder}/{name}-f;
  uwsgi_temp_path {folder}/{name}-u; scgi_temp_path {folder}/{name}-s;
  {extra}
  server {{ listen 127.0.0.1:{port}; location / {{ {location} }} }}
}}
"""
LOAD = """
wrk.method = "POST"
wrk.body = '{"model":"m","messages":[{"role":"user","content":"' .. string.rep("a", 900) .. '"}]}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer lc_test_abcdefghijkl_" .. string.rep("0", 51)
wrk.headers["Accept"] = "application/json"
wrk.headers["User-Agent"] = "OpenAI/Python"
wrk.headers["X-Stainless-Lang"] = "python"
"""


async def relay(port: int, target_port: int) -> None:
    """The loop that is measured."""
    clock = SystemClock()
    pool = Pool(clock=clock, resolver=Resolver(clock), guard=EgressGuard(), limits=PoolLimits(), tls=client_context())
    origin = Origin("http", "127.0.0.1", target_port, "", True)
    lines = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer sk-%b\r\n"
        b"content-type: application/json\r\ncontent-length: " % (b"a" * 40)
    )

    async def handler(request: Request, reply: Reply) -> None:
        body = await request.read_body(32 << 20)
        call = pool.call(origin, "c", b"%b%d\r\n\r\n" % (lines, len(body)), body)
        call.deadline(request.started_ns + 12_000_000_000, "head")
        await call.open()
        pieces = []
        while data := await call.read():
            pieces.append(data)
        call.release()
        reply.whole(call.status, b"content-type: application/json\r\nx-request-id: req_1\r\n", b"".join(pieces))

    def refuse(error: LineclearError) -> tuple[int, bytes, bytes]:
        return 500, b"", error.code.encode()

    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    HTTPServer(handler, clock=clock, limits=ServerLimits(), refuse=refuse).serve(listener)
    await asyncio.get_running_loop().create_future()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def cpu_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def child_of(pid: int) -> int:
    """The only child of a process (nginx's worker)."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def nginx(folder: Path, name: str, port: int, location: str, extra: str, core: int) -> "subprocess.Popen[bytes]":
    config = folder / f"{name}.conf"
    config.write_text(NGINX.format(folder=folder, name=name, port=port, location=location, extra=extra))
    return subprocess.Popen(["taskset", "-c", str(core), "nginx", "-c", str(config)])


def load(port: int, script: Path, arguments: argparse.Namespace) -> int:
    """Requests answered; fails if one was not answered well."""
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    wrk = ["wrk", "-t1", f"-c{arguments.connections}", f"-d{arguments.seconds}s", "-s", str(script), url]
    said = subprocess.run(
        ["taskset", "-c", "1", *wrk],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"not every request was answered well:\n{said}")
    return next(int(line.split()[0]) for line in said.splitlines() if "requests in" in line)


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"nothing listens on port {port}")


def measure(arguments: argparse.Namespace) -> None:
    target_port, nginx_port, our_port = free_port(), free_port(), free_port()
    upstream = f"upstream t {{ server 127.0.0.1:{target_port}; keepalive 64; keepalive_requests 1000000000; }}"
    location = 'proxy_pass http://t; proxy_http_version 1.1; proxy_set_header Connection "";'
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "load.lua"
        script.write_text(LOAD)
        returns = f"default_type application/json; return 200 '{ANSWER}';"
        ours = [sys.executable, __file__, "--relay", str(our_port), str(target_port)]
        started = [
            nginx(folder, "target", target_port, returns, "", 1),
            nginx(folder, "proxy", nginx_port, location, upstream, 0),
            subprocess.Popen(["taskset", "-c", "0", *ours]),
        ]
        try:
            for port in (target_port, nginx_port, our_port):
                wait_for(port)
            proxies = {"nginx": (child_of(started[1].pid), nginx_port), "lineclear.net": (started[2].pid, our_port)}
            costs: dict[str, list[float]] = {"nginx": [], "lineclear.net": []}
            for _ in range(arguments.rounds):
                for proxy, (pid, port) in proxies.items():
                    before_s = cpu_s(pid)
                    answered = load(port, script, arguments)
                    costs[proxy].append((cpu_s(pid) - before_s) / answered * 1e6)
        finally:
            for process in started:
                process.send_signal(signal.SIGTERM)
            for process in started:
                process.wait(10)
    for proxy, values in costs.items():
        rounds = ", ".join(f"{value:.1f}" for value in values)
        print(f"{proxy:15} {statistics.median(values):6.1f} µs CPU per request   (rounds: {rounds})")
    print(f"{'ratio':15} {statistics.median(costs['lineclear.net']) / statistics.median(costs['nginx']):6.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--relay", type=int, nargs=2, metavar=("PORT", "TARGET_PORT"))
    arguments = parser.parse_args()
    if arguments.relay:
        uvloop.run(relay(*arguments.relay))
    else:
        measure(arguments)


if __name__ == "__main__":
    main()
