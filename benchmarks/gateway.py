"""The platform's speed beside nginx, in one run on pinned cores: `make bench`.

In: nothing but the options. Out: a table of figures and the machine they came from; exit code 1 if a floor is
missed or if one request lacks its intent, its settle or its reservation. nginx and we alternate round by round.
Core 0 carries the process under test, core 1 the load, the vendor and every other process.
"""

import argparse
import asyncio
import contextlib
import importlib.metadata
import json
import os
import platform as machine
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path

from packaging.requirements import Requirement

import setting
from lineclear.domain.ledger import STEPS
from lineclear.testing import proc
from lineclear.testing.load import Call, LoadConnection, LoadReport, closed_loop, quantile
from lineclear.testing.platform import Platform, PlatformError
from lineclear.testing.upstream_process import UpstreamProcess
from nginx import Nginx
from wrk import Wrk, WrkResult

TEST_CORE = 0
OTHER_CORE = 1
CONNECTIONS = 32
QUIET_SHARE = 0.02
"""Control counts as done with ingesting when it uses less than this share of a core."""
QUIET_WINDOW_S = 1.5
"""Longer than control waits between two looks at the spool, so that no work hides in a pause."""
QUIET_LIMIT_S = 60.0
RESERVATION_USD_MAX = Decimal("0.01")
"""What the last request may still hold reserved when it tells the remaining budget."""
STREAMS = 32
STREAM_TOKENS = 150
EVENT_DELAY_MS = 10
OPEN_STREAMS = 200
FIRST_EVENT_CALLS = 200
STEP_CALLS = 300
STEP_SAMPLES = 200
HELP_RUNS = 5

STEP_BUDGET_US = {"head": 30, "identify": 15, "entry": 15, "admit": 5, "plan": 8, "relay": 3, "settle": 12}
"""What a step may cost by itself. `reserve` and `attempt` wait for others, so they have no budget here."""
STEP_BUDGET_SLACK = 1.1

GATEWAY_FLOOR = 6.0
GATEWAY_AIM = 4.0
PLATFORM_FLOOR = 8.0
PLATFORM_AIM = 5.0


@dataclass(frozen=True)
class Options:
    rounds: int
    seconds: int
    slope_requests: int
    json_path: Path | None


@dataclass
class Figures:
    """Everything measured, in the order it is printed."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, name: str, key: str, value: float, unit: str, note: str = "") -> None:
        self.values[key] = round(value, 3)
        self.rows.append((name, f"{value:,.2f} {unit}".strip(), note))

    def fail(self, why: str) -> None:
        self.failures.append(why)


@dataclass(frozen=True)
class Bench:
    """The parts of one run."""

    directory: Path
    options: Options
    vendor: Nginx
    proxy: Nginx
    streams: UpstreamProcess
    platform: Platform
    keys: list[str]
    wrk: Wrk
    figures: Figures

    @property
    def gateway_pid(self) -> int:
        return self.platform.processes("gateway")[0]

    def platform_cpu_us(self) -> float:
        """CPU of every process of the platform so far."""
        return sum(proc.cpu_us(pid) for pid in [self.platform.pid, *proc.descendants(self.platform.pid)])

    def load(self, url: str, connections: int = CONNECTIONS, seconds: int | None = None) -> WrkResult:
        result = self.wrk.run(url, connections=connections, seconds=seconds or self.options.seconds, core=OTHER_CORE)
        if result.errors:
            self.figures.fail(f"{result.errors} of {result.requests} answers from {url} failed")
        return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds")
    parser.add_argument("--seconds", type=int, default=3, help="length of each measurement")
    parser.add_argument("--slope-requests", type=int, default=20_000, help="requests for the memory slope")
    parser.add_argument("--json", type=Path, default=None, help="also write the figures here")
    given = parser.parse_args()
    options = Options(given.rounds, given.seconds, given.slope_requests, given.json)
    figures = Figures()
    os.sched_setaffinity(0, {OTHER_CORE})
    with tempfile.TemporaryDirectory(prefix="lineclear-bench-") as name:
        try:
            run(Path(name), options, figures)
        except (PlatformError, RuntimeError) as error:
            figures.fail(f"the run ended early: {error}")
    report(figures, options)
    return 1 if figures.failures else 0


def run(directory: Path, options: Options, figures: Figures) -> None:
    """Start every part, measure, check the books."""
    with contextlib.ExitStack() as parts:
        streams = parts.enter_context(UpstreamProcess(directory / "streams.jsonl"))
        vendor = parts.enter_context(Nginx(directory / "vendor"))
        proxy = parts.enter_context(Nginx(directory / "proxy", proxy_to=vendor.port, extra_proxy_to=streams.port))
        (directory / "setting.yaml").write_text(setting.manifest(vendor.port, streams.port))
        platform = Platform(
            directory,
            manifests=[directory / "setting.yaml"],
            environment={**os.environ, "XDG_DATA_HOME": str(directory / "xdg")},
        )
        with platform:
            keys = setting.create_keys(platform)
            wrk = Wrk(directory, "calls", setting.calls(keys))
            bench = Bench(directory, options, vendor, proxy, streams, platform, keys, wrk, figures)
            place(bench)
            measure(bench)
            check_books(bench)
    measure_start(directory, figures)
    measure_command(figures)


def place(bench: Bench) -> None:
    """Pin every process to its core."""
    for pid in [bench.platform.pid, *proc.descendants(bench.platform.pid), bench.vendor.pid, bench.streams.pid]:
        proc.pin(pid, OTHER_CORE)
    for pid in (bench.proxy.pid, bench.gateway_pid):
        proc.pin(pid, TEST_CORE)


def measure(bench: Bench) -> None:
    idle_mib = proc.rss_bytes(bench.gateway_pid) / 2**20
    bench.load(bench.platform.gateway_url, seconds=2)  # connections, caches and code paths warm on both sides
    bench.load(bench.proxy.url, seconds=1)
    per_request_us = measure_cpu(bench)
    measure_steps(bench)
    measure_latency(bench)
    measure_streams(bench, per_request_us)
    measure_memory(bench, idle_mib)


def measure_cpu(bench: Bench) -> dict[str, float]:
    """CPU µs per request at 32 connections, nginx and we alternating.

    Returns:
        µs per request by subject: `nginx`, `gateway`.
    """
    nginx: list[float] = []
    gateway: list[float] = []
    whole: list[float] = []
    for _ in range(bench.options.rounds):
        before = proc.cpu_us(bench.proxy.pid)
        result = bench.load(bench.proxy.url)
        nginx.append((proc.cpu_us(bench.proxy.pid) - before) / result.requests)
        wait_until_quiet(bench)
        before, before_all = proc.cpu_us(bench.gateway_pid), bench.platform_cpu_us()
        result = bench.load(bench.platform.gateway_url)
        gateway.append((proc.cpu_us(bench.gateway_pid) - before) / result.requests)
        wait_until_quiet(bench)
        whole.append((bench.platform_cpu_us() - before_all) / result.requests)
    base, front, everything = statistics.median(nginx), statistics.median(gateway), statistics.median(whole)
    add = bench.figures.add
    add("nginx, CPU per request", "nginx_us", base, "µs", spread(nginx))
    add("gateway process, CPU per request", "gateway_us", front, "µs", spread(gateway))
    add("all processes, CPU per request", "platform_us", everything, "µs", spread(whole))
    add("gateway ÷ nginx", "gateway_ratio", front / base, "x", f"floor {GATEWAY_FLOOR:g}, aim {GATEWAY_AIM:g}")
    add(
        "all processes ÷ nginx",
        "platform_ratio",
        everything / base,
        "x",
        f"floor {PLATFORM_FLOOR:g}, aim {PLATFORM_AIM:g}",
    )
    if front / base > GATEWAY_FLOOR:
        bench.figures.fail(f"the gateway process costs {front / base:.1f} x nginx; the floor is {GATEWAY_FLOOR:g}")
    if everything / base > PLATFORM_FLOOR:
        bench.figures.fail(f"all processes cost {everything / base:.1f} x nginx; the floor is {PLATFORM_FLOOR:g}")
    return {"nginx": base, "gateway": front}


def wait_until_quiet(bench: Bench) -> None:
    """Until control has ingested what was spooled: its CPU share falls below `QUIET_SHARE`."""
    deadline = time.monotonic() + QUIET_LIMIT_S
    control = bench.platform.processes("control")[0]
    while time.monotonic() < deadline:
        before = proc.cpu_us(control)
        time.sleep(QUIET_WINDOW_S)
        if (proc.cpu_us(control) - before) / 1e6 / QUIET_WINDOW_S < QUIET_SHARE:
            return
    bench.figures.fail(f"control had not become quiet after {QUIET_LIMIT_S:g} s")


def measure_steps(bench: Bench) -> None:
    """µs inside each step of the walk at one connection, from the ledger's own records, against the budgets.

    The lowest tenth of the samples is what a step costs; the rest is what else the machine did.
    """
    call = setting.calls(bench.keys)[0]
    answers = sequential(bench.platform.gateway_url, [call] * STEP_CALLS)
    steps: dict[str, list[int]] = {}
    for answer in answers.ok[-STEP_SAMPLES:]:
        explained = bench.platform.admin("GET", f"/api/v1/requests/{answer.request_id}")
        for step, spent_us in explained["steps_us"].items():
            steps.setdefault(step, []).append(spent_us)
    if set(steps) != set(STEPS):
        bench.figures.fail(f"the ledger knows the steps {sorted(steps)}, the budgets {sorted(STEPS)}")
        return
    for step in STEPS:
        cost_us = quantile(steps[step], 0.1)
        budget_us = STEP_BUDGET_US.get(step)
        note = "with its wait" if budget_us is None else f"budget {budget_us} µs"
        bench.figures.add(f"step {step}", f"step_{step}_us", cost_us, "µs", note)
        if budget_us is not None and cost_us > budget_us * STEP_BUDGET_SLACK:
            bench.figures.fail(f"step {step} costs {cost_us} µs, more than its budget of {budget_us} µs and a tenth")


def measure_latency(bench: Bench) -> None:
    """p50 and p99 added over the vendor itself, at 1 and at 32 connections."""
    for connections in (1, CONNECTIONS):
        p50: dict[str, list[int]] = {}
        p99: dict[str, list[int]] = {}
        for _ in range(max(2, bench.options.rounds - 2)):
            urls = {"vendor": bench.vendor.url, "nginx": bench.proxy.url, "gateway": bench.platform.gateway_url}
            for name, url in urls.items():
                result = bench.load(url, connections=connections)
                p50.setdefault(name, []).append(result.p50_us)
                p99.setdefault(name, []).append(result.p99_us)
        for quantity, samples in (("p50", p50), ("p99", p99)):
            base = statistics.median(samples["vendor"])
            beside = statistics.median(samples["nginx"]) - base
            bench.figures.add(
                f"{quantity} added at {connections} connection{'s' * (connections > 1)}",
                f"added_{quantity}_us_{connections}",
                statistics.median(samples["gateway"]) - base,
                "µs",
                f"nginx {beside:,.0f} µs",
            )


def measure_streams(bench: Bench, per_request_us: dict[str, float]) -> None:
    """Delay of the first event at one connection; CPU per event with 32 streams open."""
    script = f"[[tokens={STREAM_TOKENS},event-delay-ms={EVENT_DELAY_MS}]]"
    gateway_call = setting.call(bench.keys[0], "streaming", "[[tokens=3]]", stream=True)
    direct_call = setting.call("", "streamer-1", "[[tokens=3]]", stream=True)
    direct_url = f"http://127.0.0.1:{bench.streams.port}"
    direct: list[int] = []
    through: list[int] = []
    for _ in range(4):
        many = FIRST_EVENT_CALLS // 4
        direct += [answer.first_event_us for answer in sequential(direct_url, [direct_call] * many).ok]
        through += [
            answer.first_event_us for answer in sequential(bench.platform.gateway_url, [gateway_call] * many).ok
        ]
    if not direct or not through:
        bench.figures.fail("no streamed answer came")
        return
    delay_us = statistics.median(through) - statistics.median(direct)
    bench.figures.add("first event added, p50", "first_event_us", delay_us, "µs", "aim 300 µs")
    subjects: list[tuple[str, int, str, Call]] = [
        ("nginx", bench.proxy.pid, bench.proxy.url, setting.proxied_stream("streamer-1", script)),
        (
            "gateway",
            bench.gateway_pid,
            bench.platform.gateway_url,
            setting.call(bench.keys[0], "streaming", script, stream=True),
        ),
    ]
    for name, pid, url, call in subjects:
        before = proc.cpu_us(pid)
        answers = many_streams(url, call)
        spent_us = proc.cpu_us(pid) - before - per_request_us[name] * len(answers.results)
        for kind, count in answers.failures.items():
            bench.figures.fail(f"{count} streams through {name} failed: {kind}")
        events = sum(answer.body.count(b"\n\n") for answer in answers.ok)
        if events:
            note = "aim 15 µs" if name == "gateway" else "beside it"
            bench.figures.add(f"CPU per streamed event, {name}", f"event_us_{name}", spent_us / events, "µs", note)


def measure_memory(bench: Bench, idle_mib: float) -> None:
    """RSS idle, per open stream, and its slope over many requests."""
    pid = bench.gateway_pid
    bench.figures.add("RSS of a worker, idle", "rss_idle_mib", idle_mib, "MiB", "aim 60 MiB")
    before = proc.rss_bytes(pid)
    call = setting.call(bench.keys[0], "streaming", "[[hang-after=2]]", stream=True)
    per_stream = asyncio.run(rss_of_open_streams(bench.platform.gateway_url, call, pid)) - before
    bench.figures.add("RSS per open stream", "rss_stream_kib", per_stream / OPEN_STREAMS / 1024, "KiB", "aim 64 KiB")
    made = 0
    first = proc.rss_bytes(pid)
    while made < bench.options.slope_requests:
        made += bench.load(bench.platform.gateway_url, seconds=bench.options.seconds).requests
    grown_kib = (proc.rss_bytes(pid) - first) / 1024
    bench.figures.add(
        "RSS growth per 1,000 requests", "rss_slope_kib", grown_kib / made * 1000, "KiB", f"{made:,} requests"
    )


async def rss_of_open_streams(url: str, call: Call, pid: int) -> int:
    """Resident bytes of `pid` while 200 streams are open and silent."""
    connections = [LoadConnection(url, deadline_s=6.0) for _ in range(OPEN_STREAMS)]
    tasks = [asyncio.create_task(connection.call(call)) for connection in connections]
    await asyncio.sleep(4.0)
    resident = proc.rss_bytes(pid)
    await asyncio.gather(*tasks)
    for connection in connections:
        await connection.close()
    return resident


def check_books(bench: Bench) -> None:
    """Every dispatch has one intent and one settle, and the strict budget was charged for every answer."""
    last = sequential(bench.platform.gateway_url, setting.calls(bench.keys)[:1]).results[0]
    bench.vendor.stop()
    checked = bench.platform.check_ledger(bench.vendor.log_path)
    if not checked["ok"] or checked["missing"] or checked["doubled"]:
        bench.figures.fail(f"the ledger does not agree with the vendor's log: {checked}")
    bench.figures.add("intents in the ledger", "intents", checked["intents"], "", f"settles {checked['settles']:,}")
    rows = bench.platform.cli_json("usage", "--by", "team")["rows"]
    spent = sum(Decimal(row["cost_usd"]) for row in rows if row["team"] == "bench")
    charged = Decimal(setting.BUDGET_USD) - Decimal(last.headers["x-lineclear-budget-remaining-usd"])
    bench.figures.add("cost in the ledger", "cost_usd", float(spent), "USD", f"charged to the budget: {charged} USD")
    if abs(charged - spent) > RESERVATION_USD_MAX:
        bench.figures.fail(f"the ledger says {spent} USD and the strict budget {charged} USD: a reservation is missing")


def measure_start(directory: Path, figures: Figures) -> None:
    """From `lineclear up` until the data port says that it is ready: a first start, then one on its data.

    As installed, with the bytecode that pip writes: the start before the measured ones compiles what has none yet.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(directory / "bytecode")
    seconds = [
        seconds_of_start(platform)
        for name, starts in (("compile", 1), ("start", 2))
        for platform in [platform_in(directory / name, environment)]
        for _ in range(starts)
    ]
    names = (("start_first_s", "serving after, first start"), ("start_s", "serving after, later start"))
    for (key, name), found_s in zip(names, seconds[1:], strict=True):
        figures.add(name, key, found_s, "s", "models load meanwhile; aim 3 s")


def platform_in(directory: Path, environment: dict[str, str]) -> Platform:
    directory.mkdir()
    return Platform(directory, environment=environment)


def seconds_of_start(platform: Platform) -> float:
    began = time.monotonic()
    platform.launch()
    platform.wait_for(lambda: is_serving(platform), "the data port to be ready", 60.0)
    took_s = time.monotonic() - began
    platform.stop()
    return took_s


def is_serving(platform: Platform) -> bool:
    try:
        url = json.loads((platform.data_dir / "up.json").read_text())["gateway_url"]
        with urllib.request.urlopen(f"{url}/readyz", timeout=1) as response:
            return bool(response.status == 200)
    except (OSError, ValueError):
        return False


def measure_command(figures: Figures) -> None:
    """Packages that an installation without extras brings, and the CPU time of `--help`."""
    figures.add("packages installed", "packages", float(len(closure("lineclear"))), "", "without extras; at most 40")
    spent: list[float] = []
    for _ in range(HELP_RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "lineclear", "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)
    figures.add("CPU time of --help", "help_ms", min(spent), "ms", "at most 150 ms")


def closure(name: str) -> set[str]:
    """The distributions that installing `name` without extras brings, itself included."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop().lower().replace("_", "-")
        if current in found:
            continue
        found.add(current)
        for text in importlib.metadata.requires(current) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def sequential(url: str, calls: Sequence[Call]) -> LoadReport:
    """The calls one after another on one connection."""
    return asyncio.run(closed_loop(url, lambda number: calls[number], connections=1, count=len(calls)))


def many_streams(url: str, call: Call) -> LoadReport:
    """Two streams on each of 32 connections."""
    return asyncio.run(closed_loop(url, lambda _: call, connections=STREAMS, count=STREAMS * 2))


def spread(values: Sequence[float]) -> str:
    return f"{min(values):.1f} to {max(values):.1f}"


def report(figures: Figures, options: Options) -> None:
    """Print the table and its setting."""
    print(
        f"\nLineclear {importlib.metadata.version('lineclear')} on {machine.machine()}, {os.cpu_count()} cores, "
        f"Linux {machine.release()}, Python {machine.python_version()}, {options.rounds} rounds of {options.seconds} s"
    )
    print("on: " + "; ".join(setting.FEATURES) + "\n")
    width = max(len(name) for name, _, _ in figures.rows)
    for name, value, note in figures.rows:
        print(f"{name:<{width}}  {value:>16}  {note}")
    for why in figures.failures:
        print(f"FAILED: {why}")
    if options.json_path is not None:
        options.json_path.write_text(
            json.dumps(
                {
                    "options": {**asdict(options), "json_path": None},
                    "values": figures.values,
                    "failures": figures.failures,
                },
                indent=1,
            )
            + "\n"
        )


if __name__ == "__main__":
    sys.exit(main())
