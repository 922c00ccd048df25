"""The import contracts hold, and each of them can fail: a violation is planted in a copy and must be found."""

import configparser
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / ".importlinter"


@dataclass(frozen=True)
class Seed:
    """A line that breaks one contract when it is added to a module."""

    contract: str
    module: str
    line: str


SEEDS = (
    Seed("floors", "gateway/plan.py", "import lineclear.control.endpoint"),
    Seed("floors", "domain/money.py", "import lineclear.wire.sse"),
    Seed("floors", "cli/output.py", "import lineclear.compose.life"),
    Seed("hot-path", "gateway/plan.py", "import sqlite3"),
    Seed("hot-path", "wire/sse.py", "import pydantic"),
    Seed("hot-path", "net/server.py", "def _later() -> None:\n    import prometheus_client"),
    Seed("pure", "domain/money.py", "import asyncio"),
    Seed("floors", "checks/window.py", "import lineclear.wire.sse"),
    Seed("hot-path", "checks/window.py", "import pydantic"),
    Seed("detectors", "checks/window.py", "import pathlib"),
    Seed("openai", "wire/openai_chat.py", "import lineclear.wire.anthropic_events"),
    Seed("anthropic", "wire/anthropic_messages.py", "import lineclear.wire.openai_events"),
    Seed("slices", "control/keys/keys.py", "import lineclear.control.changes.plan"),
    Seed("acyclic", "base/clock.py", "import lineclear.base.ids"),
    Seed("drivers", "control/endpoint.py", "import sqlite3"),
    Seed("doors", "control/endpoint.py", "import fastapi"),
    Seed("screens", "config/settings.py", "import click"),
    Seed("fakes", "gateway/plan.py", "import lineclear.testing.clock"),
    Seed("supervisor", "compose/part.py", "import msgspec"),
)


def lint(package_home: Path, contract: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the linter over the package in `package_home`; it comes before the installed one on the path."""
    only = [] if contract is None else ["--contract", contract]
    return subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo", "--config", str(CONFIG), *only],
        cwd=package_home,
        env={**os.environ, "PYTHONPATH": str(package_home), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "src/lineclear", home / "lineclear", ignore=shutil.ignore_patterns("__pycache__"))
    return home


def test_every_contract_holds() -> None:
    done = lint(ROOT / "src")
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_every_contract_has_a_seed() -> None:
    config = configparser.ConfigParser()
    config.read(CONFIG)
    contracts = {name.rpartition(":")[2] for name in config.sections() if name.startswith("importlinter:contract:")}
    assert contracts == {seed.contract for seed in SEEDS}


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"{seed.contract}-{seed.module}")
def test_contract_finds_a_planted_violation(copy: Path, seed: Seed) -> None:
    path = copy / "lineclear" / seed.module
    clean = path.read_text()
    assert lint(copy, seed.contract).returncode == 0
    path.write_text(f"{clean}\n{seed.line}\n")
    try:
        done = lint(copy, seed.contract)
    finally:
        path.write_text(clean)
    assert done.returncode == 1, done.stdout
    assert "BROKEN" in done.stdout


def test_new_top_folder_needs_a_decision(copy: Path) -> None:
    room = copy / "lineclear" / "attic"
    room.mkdir()
    (room / "__init__.py").write_text("")
    try:
        done = lint(copy, "floors")
    finally:
        shutil.rmtree(room)
    assert done.returncode == 1
    assert "attic" in done.stdout
