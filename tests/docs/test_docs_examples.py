"""Every example of the README and of the guides works as it stands.

The platform is started by the README's own `make up`, with the real bundled models; each page is one terminal in a
directory where `.venv` and `.data` are what they are to a reader. Readers' own values, an address and a key, are put in
at `export` lines and nowhere else. Vendors are the scripted one, over a real socket.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from lineclear.cli.output import ExitCode
from lineclear.testing import proc
from lineclear.testing.doc_blocks import (
    EXECUTED,
    FILES,
    SHOWN,
    Block,
    ExampleError,
    Terminal,
    blocks_of,
    missing_lines,
    typed_outside_exports,
)
from lineclear.testing.upstream_process import UpstreamProcess

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "docs/explain.md",
    "docs/reviews.md",
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs/guides").glob("*.md"))),
]
NOT_RUN: Mapping[tuple[str, str], str] = {
    ("README.md", "make up"): "run once for all pages, by the fixture `platform`; `make test` is this very run",
}
"""Blocks that no terminal of a page runs, by page and first words, and why."""
ENDS_WITH: Mapping[str, int] = {
    "lineclear plan -f": ExitCode.PLAN_HAS_CHANGES,
    "sed 's/kind and brief/": ExitCode.PLAN_HAS_CHANGES,
    "sed '/prompt: bakery/d'": ExitCode.APPROVAL_PENDING,
    "lineclear providers add openai --model gpt-4o-mini-2024-07-18 --dry-run": ExitCode.PLAN_HAS_CHANGES,
}
"""Blocks that end with another exit code than 0, as their page says, by their first words."""
VENDOR_KEY = "sk-examples-0123456789"
READY_S = 120.0
LEDGER_S = 10.0
POLL_S = 0.2


def reason_not_run(block: Block) -> str | None:
    found = [why for (page, words), why in NOT_RUN.items() if page == block.page and block.code.startswith(words)]
    return found[0] if found else None


@dataclass(frozen=True)
class Running:
    """What `make up` printed, and where it runs."""

    data_dir: Path
    text: str

    def printed(self, pattern: str) -> str:
        found = re.search(pattern, self.text)
        assert found is not None, self.text
        return found[1]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, store_environment: Mapping[str, str]) -> Iterator[Running]:
    """`make up` as the README has it, in a directory of its own and on free ports."""
    directory = tmp_path_factory.mktemp("platform")
    [block] = [block for block in blocks_of(ROOT, "README.md") if block.code.startswith("make up")]
    environment = {
        **store_environment,
        "DATA": str(directory / "data"),
        "UP_FLAGS": "--port 0 --admin-port 0 --workers 1",
        # The environment of the tests has everything; setting it up again would only ask the network.
        "MAKEFLAGS": "-o .venv/.local",
    }
    output = directory / "output.txt"
    with output.open("wb") as log:
        process = subprocess.Popen(
            ["sh", "-c", block.code.splitlines()[0]],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + READY_S
        while "Stop with Ctrl-C" not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(POLL_S)
        yield Running(directory / "data", output.read_text())
    finally:
        below = proc.descendants(process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(READY_S)
        for pid in [process.pid, *below]:
            with contextlib.suppress(ProcessLookupError):
                if proc.is_running(pid):
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpstreamProcess]:
    with UpstreamProcess(tmp_path_factory.mktemp("vendor") / "dispatches.jsonl") as vendor:
        yield vendor


@pytest.fixture
def terminal(
    platform: Running, vendor: UpstreamProcess, tmp_path: Path, store_environment: Mapping[str, str]
) -> Terminal:
    """A terminal in a directory that looks like a reader's clone."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / ".data").symlink_to(platform.data_dir)
    own = {
        "http://127.0.0.1:4100": platform.printed(r"data port +(\S+)"),
        "https://api.example.com/v1": vendor.base_url,
        "=…": f"={VENDOR_KEY}",
        "lc_test_…": platform.printed(r"(lc_test_\S+)"),
    }
    return Terminal(tmp_path, store_environment, own, VENDOR_KEY + "\n")


@pytest.mark.parametrize("page", PAGES)
def test_page_does_what_it_shows(terminal: Terminal, page: str) -> None:
    blocks = [block for block in blocks_of(ROOT, page) if reason_not_run(block) is None]
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block.language in SHOWN:
            continue
        shown = following.code if following is not None and following.language in SHOWN else ""
        exit_code = next((code for words, code in ENDS_WITH.items() if block.code.startswith(words)), ExitCode.OK)
        real, missing = attempt(terminal, block, exit_code, shown)
        # The ledger is written a moment after an answer: what only reads it is asked again until it is there.
        deadline = time.monotonic() + LEDGER_S
        while missing and is_reading(block) and time.monotonic() < deadline:
            time.sleep(POLL_S)
            real, missing = attempt(terminal, block, exit_code, shown)
        assert missing == [], f"{block.name} printed:\n{real}"


def attempt(terminal: Terminal, block: Block, exit_code: int, shown: str) -> tuple[str, list[str]]:
    """What a block printed, and what it lacks; a wrong exit code is a lack of everything."""
    try:
        real = terminal.run(block, exit_code)
    except ExampleError as error:
        return str(error), [f"exit code {exit_code}"]
    return real, missing_lines(shown, real)


def is_reading(block: Block) -> bool:
    """All it does is ask the ledger."""
    commands = [line for line in block.code.splitlines() if line and not line.startswith("#")]
    return all(re.match(r"lineclear (explain|logs|usage)\b", command) for command in commands)


def test_make_up_prints_what_the_readme_shows(platform: Running) -> None:
    [shown] = [block for block in blocks_of(ROOT, "README.md") if block.code.startswith("Lineclear is ready.")]
    assert missing_lines(shown.code, platform.text) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_written_or_shown_after_one_that_is(page: str) -> None:
    blocks = blocks_of(ROOT, page)
    assert {block.language for block in blocks} <= EXECUTED | FILES | SHOWN
    for before, block in zip([None, *blocks], blocks, strict=False):
        if block.language in SHOWN:
            assert before is not None, block.name
            assert before.language in EXECUTED, f"{block.name} shows the output of nothing"
        if block.language in FILES:
            later = "".join(other.code for other in blocks if other.line > block.line)
            assert block.file_name, f"{block.name} does not say in its first line how the file is called"
            assert block.file_name in later, f"{block.name} is used by no later block"


def test_readers_put_their_own_values_in_at_exports_only() -> None:
    for page in PAGES:
        for block in blocks_of(ROOT, page):
            if block.language in EXECUTED:
                assert not re.search(r":410[01]|lc_(test|live)_|api\.example", typed_outside_exports(block)), block.name


def test_every_reason_not_to_run_a_block_is_still_needed() -> None:
    blocks = [block for page in PAGES for block in blocks_of(ROOT, page)]
    assert {(block.page, words) for block in blocks for _, words in NOT_RUN if reason_not_run(block)} == set(NOT_RUN)


def test_readme_calls_in_every_language() -> None:
    blocks = blocks_of(ROOT, "README.md")
    assert {"sh", "python", "js"} <= {block.language for block in blocks}
    text = "".join(block.code for block in blocks)
    assert "curl " in text
    assert "from openai" in text
    assert "from anthropic" in text


def test_a_shown_line_is_missed_where_only_numbers_and_ids_may_differ() -> None:
    shown = "request req_0a1  took 1.5 ms\nmodel …@1\n"
    assert missing_lines(shown, "request req_ffe0 took 20 ms\nmodel a@1") == []
    assert missing_lines(shown, "request req_ffe0 took long\nmodel a@1") == ["request req_0a1  took 1.5 ms"]
    assert missing_lines(shown, "request req_ffe0 took 20 ms\nmodels a@1") == ["model …@1"]
