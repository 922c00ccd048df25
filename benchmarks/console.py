"""How long pages of the console take over a long history: the server's share, and the first paint in a real browser.

In: `--days` of simulated history (180 are about half a million requests), `--runs` per page. Out: a table with the
median of each page. Run it on a machine that does nothing else: `.venv/bin/python benchmarks/console.py`.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from lineclear.config.settings import process_environment

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
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lineclear-console-") as name:
        place = Path(name)
        command = [sys.executable, "-m", "lineclear", "demo", "--data", str(place / "data")]
        command += ["--days", str(arguments.days), "--port", "0", "--admin-port", "0", "--workers", "1"]
        command += ["--ready-file", str(place / "ready.json")]
        environment = {**process_environment(), "XDG_DATA_HOME": str(place / "xdg")}
        with (place / "log.txt").open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
            try:
                measure(wait_for(place / "ready.json", process, place / "log.txt"), arguments.runs)
            finally:
                process.terminate()
                process.wait(STOP_S)


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
        print(f"{'page':<36} {'first byte':>11} {'first paint':>12}")
        for path in PAGES:
            page.goto(home + path)
            found = []
            for _ in range(runs):
                page.goto(home + path)
                found.append(page.evaluate(PAINT))
            paint, first = (statistics.median(one[place] for one in found) for place in (0, 1))
            print(f"{path:<36} {first:8.0f} ms {paint:9.0f} ms")
        browser.close()


if __name__ == "__main__":
    main()
