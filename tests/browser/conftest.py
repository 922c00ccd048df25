"""Debian's Chromium, a platform with hostile text in every field, and one with nothing in it."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from lineclear.testing import hostile, manifests
from lineclear.testing.browser_calls import ask, chat
from lineclear.testing.platform import Platform

ARGUMENTS = (
    # Root has no sandbox to drop into; pages here are our own.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core."""
    return (Path(__file__).parent / "vendor/axe.min.js").read_text()


# Of a module, not of the session: other folders have drivers of their own, and one process holds one at a time.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests of a file; scripts/system_packages.sh installs it."""
    program = shutil.which("chromium")
    assert program is not None, "chromium is missing: run scripts/system_packages.sh"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Platform]:
    """Hostile text in every field that anybody outside can fill."""
    directory = tmp_path_factory.mktemp("hostile")
    with hostile.vendor() as port:
        path = directory / "hostile.yaml"
        path.write_text(manifests.text_of(hostile.documents(port)))
        with Platform(directory, environment=child_environment) as platform:
            done = platform.cli("apply", "-f", str(path), "--note", hostile.LINE[:300])
            assert done.returncode == 0, done.stderr
            path.write_text(manifests.text_of(hostile.documents(port, stepped_tokens=9)))
            assert platform.cli("apply", "-f", str(path), "--note", "a rollout").returncode == 0
            (rollout,) = platform.admin("GET", "/api/v1/rollouts")["rollouts"]
            platform.admin("POST", f"/api/v1/rollouts/{rollout['id']}/pauses", {"reason": hostile.TEXT})
            platform.admin("POST", "/api/v1/stops", {"scope": "app:idle", "reason": hostile.TEXT})
            platform.admin("POST", "/api/v1/members", {"name": "ann", "display": hostile.TEXT[:200]})
            platform.admin("POST", "/api/v1/grants", {"principal": "ann", "role": "approver", "scope": "team:testers"})
            platform.admin("POST", "/api/v1/members", {"name": "robot", "kind": "service"})
            platform.admin("POST", "/api/v1/tokens", {"principal": "robot", "label": hostile.LINE[:60]})
            key = platform.cli_json("keys", "create", "--app", "caller", "--env", "live")["key"]
            for text in ("Hello", "fail"):
                ask(platform, key, chat("hostile/route:1", text), x_lineclear_tags="channel=web")
            ask(platform, key, chat(hostile.TEXT))
            ask(platform, platform.keys["test"], chat("simulated", hostile.TEXT))
            ask(platform, platform.keys["test"], chat("simulated [[status=500]]"))
            compare(platform)
            yield platform


def compare(platform: Platform) -> None:
    """Two releases, by hand and by an eval."""
    admin = platform.admin
    admin("POST", "/api/v1/datasets", {"name": "planted", "team": hostile.COMPARERS, "content": hostile.cases()})
    asked = {"route": "compared", "environment": "live", "candidate_from": "test"}
    admin("POST", "/api/v1/replays", {**asked, "dataset": "planted", "app": "comparer"})
    admin("POST", "/api/v1/eval-runs", {**asked, "eval": "planted"})
    platform.wait_for(
        lambda: (
            all(one["ended_at"] for one in admin("GET", "/api/v1/eval-runs")["runs"])
            and all(one["ended_at"] for one in admin("GET", "/api/v1/replays")["replays"])
        ),
        "both comparisons",
        60,
    )


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Platform]:
    """Right after its first start."""
    with Platform(tmp_path_factory.mktemp("empty"), environment=child_environment) as platform:
        yield platform
