"""Makes the pictures of the documentation: pages of the console in a real browser, light and dark, with demo data.

In: a directory. Out: PNG files `PAGE-light.png` and `PAGE-dark.png` there, and `layout.txt`, which names the layout
that they show. Run as `python -m lineclear.testing.pictures DIRECTORY`, or `make pictures`.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, get_args

from playwright.sync_api import ViewportSize, sync_playwright

from lineclear.config.settings import process_environment
from lineclear.console.assets import LAYOUT_VERSION

Scheme = Literal["light", "dark"]
SCHEMES: Final[tuple[Scheme, ...]] = get_args(Scheme)
PAGES: Final[Mapping[str, ViewportSize]] = {
    "home": {"width": 1280, "height": 800},
    "request": {"width": 1280, "height": 800},
    "cost": {"width": 1280, "height": 800},
}
"""Pages that have pictures, and how much of each is shown."""
LAYOUT_FILE = "layout.txt"
SEED = 1
ROWS = 1000
"""Newest requests among which the one to show is chosen."""
READY_S = 120.0
STOP_S = 40.0
POLL_S = 0.1


def picture_names() -> list[str]:
    """Every file that `make_pictures` writes beside the layout file."""
    return [f"{page}-{scheme}.png" for page in PAGES for scheme in SCHEMES]


def make_pictures(directory: Path) -> None:
    """Write every picture, and the layout version that they show."""
    directory.mkdir(parents=True, exist_ok=True)
    with demo_platform() as (data_dir, facts), sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
        context = browser.new_context(reduced_motion="reduce", timezone_id="UTC", locale="en-GB")
        page = context.new_page()
        page.goto(str(facts["console_url"]))
        home = page.url.rstrip("/")
        found = _telling_request(data_dir, lambda id_: page.request.get(f"{home}/requests/{id_}.json").json())
        paths = {"home": "", "request": f"/requests/{found}", "cost": "/cost"}
        for name, size in PAGES.items():
            page.set_viewport_size(size)
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                page.goto(home + paths[name])
                page.screenshot(path=directory / f"{name}-{scheme}.png")
        browser.close()
    (directory / LAYOUT_FILE).write_text(f"{LAYOUT_VERSION}\n")


@contextmanager
def demo_platform() -> Iterator[tuple[Path, dict[str, Any]]]:
    """`lineclear demo` in a directory of its own: data directory and ready facts. Any: JSON."""
    with tempfile.TemporaryDirectory(prefix="lineclear-pictures-") as name:
        place = Path(name)
        data_dir, ready, log = place / "data", place / "ready.json", place / "log.txt"
        command = ["demo", "--data", str(data_dir), "--seed", str(SEED), "--ready-file", str(ready)]
        ports = ["--port", "0", "--admin-port", "0", "--workers", "1"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "lineclear", *command, *ports],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Only what every installation has, so that the pictures do not depend on who makes them.
                env={**process_environment(), "XDG_DATA_HOME": name},
            )
        try:
            deadline = time.monotonic() + READY_S
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the demo did not start: {log.read_text(errors='replace')}")
                time.sleep(POLL_S)
            yield data_dir, json.loads(ready.read_text())
        finally:
            process.terminate()
            process.wait(STOP_S)


def _telling_request(data_dir: Path, twin: Callable[[str], Any]) -> str:
    """One that shows most: answered after attempts at the most different models; of several the newest.

    Args:
        data_dir: where the demo runs.
        twin: the JSON twin of a request's page, by its id. Any: JSON.
    """
    command = ["logs", "--limit", str(ROWS), "--outcome", "ok", "-o", "json", "--data", str(data_dir)]
    done = subprocess.run([sys.executable, "-m", "lineclear", *command], capture_output=True, text=True, check=True)
    tried_again = [row["id"] for row in json.loads(done.stdout) if (row["attempts"] or 0) > 1]
    return str(max(tried_again, key=lambda id_: (len(_tried_models(twin(id_))), id_)))


def _tried_models(value: Mapping[str, Any]) -> set[str]:
    return {attempt["model"] for attempt in value["request"]["attempts"]}


def _chromium() -> str:
    found = shutil.which("chromium")
    if found is None:
        raise RuntimeError("chromium is missing; on Debian and Ubuntu: apt-get install chromium")
    return found


if __name__ == "__main__":
    make_pictures(Path(sys.argv[1]))
