"""From `lineclear up` in an empty directory to first answers: curl, Python, JavaScript, the console. Under a minute.

What is run is what the page Get started prints. No model, no vendor and no network is needed: `simulated` answers.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from lineclear.testing.platform import Platform

WHOLE_S = 60
"""The promise. Source: research/ux-ecosystem.md §1c, journey 1."""
SNIPPET_S = 30
WAITING = "Waiting for your first request"
GREEN = ".says.good"
SIMULATED = "This answer is simulated"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; scripts/system_packages.sh installs it."""
    program = shutil.which("chromium")
    assert program is not None, "chromium is missing: run scripts/system_packages.sh"
    with sync_playwright() as playwright:
        # Root has no sandbox to drop into; pages here are our own.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def run_printed(page: Page, language: str, directory: Path, key: str) -> str:
    """Run a snippet of the page exactly as it is printed there; what it wrote."""
    code = page.locator(f"#code-{language}").text_content() or ""
    program = directory / {"curl": "hello.sh", "python": "hello.py", "javascript": "hello.mjs"}[language]
    program.write_text(code)
    interpreter = {"curl": "sh", "python": sys.executable, "javascript": "node"}[language]
    done = subprocess.run(
        [interpreter, str(program)],
        capture_output=True,
        text=True,
        env={**os.environ, "LINECLEAR_KEY": key},
        timeout=SNIPPET_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_stranger_has_four_answers_within_a_minute(
    browser: Browser, tmp_path: Path, child_environment: Mapping[str, str]
) -> None:
    began = time.monotonic()
    with Platform(tmp_path, environment=child_environment) as platform:
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))

        page.goto(platform.facts["console_url"])
        page.get_by_role("link", name="Get started").first.click()
        expect(page.get_by_text(WAITING)).to_be_visible()

        # The line turns green by itself while a terminal asks.
        assert SIMULATED in run_printed(page, "curl", tmp_path, platform.keys["test"])
        expect(page.locator(GREEN)).to_contain_text("It works")
        expect(page.get_by_text(WAITING)).to_have_count(0)

        assert SIMULATED in run_printed(page, "python", tmp_path, platform.keys["test"])
        assert SIMULATED in run_printed(page, "javascript", tmp_path, platform.keys["test"])

        page.get_by_role("textbox", name="Message").fill("Is anybody there?")
        page.get_by_role("button", name="Send a test message").click()
        expect(page.get_by_role("heading", name="What came back")).to_be_visible()
        expect(page.get_by_text(SIMULATED)).to_be_visible()
        expect(page.locator(GREEN)).to_contain_text("It works")
        took_s = time.monotonic() - began

        page.get_by_role("link", name="See why it went there and what it cost").click()
        expect(page.get_by_text("simulated@1").first).to_be_visible()
        page.close()

        assert {urlsplit(url).netloc for url in asked} == {urlsplit(platform.admin_url).netloc}
        rows = platform.cli_json("logs")
        assert [row["outcome"] for row in rows] == ["ok"] * 4
        assert {row["model"] for row in rows} == {"simulated@1"}
        assert took_s < WHOLE_S


def test_message_alone_turns_the_page_green(
    browser: Browser, tmp_path: Path, child_environment: Mapping[str, str]
) -> None:
    with Platform(tmp_path, environment=child_environment) as platform:
        page = browser.new_page()
        page.goto(platform.facts["console_url"])
        page.get_by_role("link", name="Get started").first.click()
        expect(page.get_by_text(WAITING)).to_be_visible()
        page.get_by_role("button", name="Send a test message").click()
        expect(page.locator(GREEN)).to_contain_text("It works")
        page.close()
