"""How long pages of the console take over a long history: the server's share, and the first paint in a real browser.

In: `--days` of simulated history (180 are about half a million requests), `--times` that each stands in the ledger,
`--runs` per page. Out: a table with the median of each page. Run it on a machine that does nothing else:
`.venv/bin/python benchmarks/console.py --times 3`. Where something else runs, the server's CPU time still says what a
page costs; the aim is 150 ms to the first paint.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright
from sqlalchemy import select

from lineclear.config.settings import process_environment
from lineclear.domain.entry import check_number
from lineclear.store.ledger import Ledger, LedgerBatch
from lineclear.store.ledger_tables import entries, facets

PAGES = ("/", "/requests", "/requests?since=30d", "/requests?outcome=failed&since=7d", "/cost", "/catalogue", "/routes")
READY_S = 900.0
STOP_S = 60.0
PAINT = """new Promise((done) => new PerformanceObserver((list) => {
  const paint = list.getEntriesByName("first-contentful-paint")[0];
  if (paint) done([paint.startTime, performance.getEntriesByType("navigation")[0].responseStart]);
}).observe({type: "paint", buffered: true}))"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=180)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lineclear-console-") as name:
        place = Path(name)
        with serving(place, "demo", "--days", str(arguments.days)) as facts:
            if arguments.times == 1:
                measure(facts, arguments.runs)
        if arguments.times > 1:
            multiply(place / "data" / "ledger", arguments.times)
            with serving(place, "up") as facts:
                measure(facts, arguments.runs)


@contextmanager
def serving(place: Path, *command: str) -> Iterator[dict[str, Any]]:
    """The platform on the directory; gives its ready facts. Any: JSON."""
    ready, log_path = place / f"{command[0]}.json", place / f"{command[0]}.log"
    line = [sys.executable, "-m", "lineclear", *command, "--data", str(place / "data"), "--workers", "1"]
    line += ["--port", "0", "--admin-port", "0", "--ready-file", str(ready)]
    environment = {**process_environment(), "XDG_DATA_HOME": str(place / "xdg")}
    with log_path.open("wb") as log:
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        try:
            yield wait_for(ready, process, log_path)
        finally:
            process.terminate()
            process.wait(STOP_S)


def multiply(directory: Path, times: int) -> None:
    """Put each entry into its day again under other ids, so that it stands there `times` times."""
    ledger = Ledger.open(directory)
    for day in ledger.days():
        with ledger.read(day) as connection:
            rows = [tuple(row) for row in connection.execute(select(entries))]
            values = {row[0]: tuple(row[1:]) for row in connection.execute(select(facets))}
        for copy in range(1, times):
            # The digits behind the time name the source; a copy is one more of them.
            renamed = [(f"{row[0][:16]}{copy:08x}{row[0][24:]}", *row[1:-1]) for row in rows]
            ledger.commit(LedgerBatch(day, [(*row, check_number(row)) for row in renamed], values))
    ledger.close()


def wait_for(ready: Path, process: "subprocess.Popen[bytes]", log: Path) -> dict[str, Any]:
    """The ready facts. Any: JSON."""
    deadline = time.monotonic() + READY_S
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(log.read_text(errors="replace")[-3000:])
        time.sleep(0.2)
    return dict(json.loads(ready.read_text()))


def measure(facts: dict[str, Any], runs: int) -> None:
    """Print the table."""
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("chromium is missing: run scripts/system_packages.sh")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.goto(str(facts["console_url"]))
        home = page.url.rstrip("/")
        total = page.request.get(f"{home}/cost.json?since=400d").json()["total"]
        print(f"{total['requests']:,} requests in the ledger; median of {runs} runs after one that fills caches")
        print(f"{'page':<36} {'server CPU':>11} {'first byte':>11} {'first paint':>12}")
        for path in PAGES:
            page.goto(home + path)
            found = []
            for _ in range(runs):
                page.goto(home + path)
                found.append(page.evaluate(PAINT))
            paint, first = (statistics.median(one[place] for one in found) for place in (0, 1))
            before = cpu_ms(int(facts["pid"]))
            for _ in range(runs):
                page.request.get(home + path)
            served = (cpu_ms(int(facts["pid"])) - before) / runs
            print(f"{path:<36} {served:8.0f} ms {first:8.0f} ms {paint:9.0f} ms")
        browser.close()


def cpu_ms(pid: int) -> float:
    """CPU time of a process and all it started that still runs. What the platform does by itself is in it too."""
    spent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(spent[11]) + int(spent[12])) * 1000 / os.sysconf("SC_CLK_TCK")
    children = " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return own + sum(cpu_ms(int(child)) for child in children.split())


if __name__ == "__main__":
    main()
