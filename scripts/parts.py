"""Runs the parts of the test suite one after the other and prints a table of them with their times.

In: names of parts, none for all; `--full` for the long form. Out: their own output, the table, exit code 1 if any
failed. Every part runs, so that one failure does not hide another.
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lineclear.base.clock import SystemClock
from lineclear.config.settings import process_environment

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
OWN_PARTS = frozenset({"architecture", "docs", "e2e", "faults", "packaging", "recordings"})
"""Folders of tests that are not rooms."""
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
COVERAGE = (sys.executable, "-m", "coverage")
COVERED = (*COVERAGE, "run", "--parallel-mode", "-m", "pytest", "-p", "no:cacheprovider")
COVERED_ROOMS = frozenset(
    {"accountant", "config", "control", "domain", "gateway", "handover", "ingest", "observe", "wire"}
)
"""Rooms whose tests walk through `domain` and `gateway` in their own process; pyproject.toml says what is counted."""
COVERAGE_MIN = 95


@dataclass(frozen=True)
class Part:
    """One line of the table."""

    name: str
    commands: tuple[Sequence[str], ...]
    """Run in order; the first failure ends the part."""


@dataclass(frozen=True)
class Result:
    name: str
    is_ok: bool
    seconds: float


def all_parts() -> list[Part]:
    """The suite, in the order in which a failure is cheapest to find."""
    rooms = sorted(path.name for path in TESTS.iterdir() if any(path.glob("test_*.py")) and path.name not in OWN_PARTS)
    tool = Path(sys.executable).parent
    return [
        Part("style", ((str(tool / "ruff"), "check"), (str(tool / "ruff"), "format", "--check"))),
        Part("types", ((str(tool / "mypy"),),)),
        Part("contracts", ((str(tool / "lint-imports"), "--no-logo"),)),
        Part("docs", ((*PYTEST, str(TESTS / "docs")),)),
        Part("architecture", ((*PYTEST, str(TESTS / "architecture")),)),
        *(Part(room, ((*(COVERED if room in COVERED_ROOMS else PYTEST), str(TESTS / room)),)) for room in rooms),
        Part("coverage", ((*COVERAGE, "combine", "--quiet"), (*COVERAGE, "report", f"--fail-under={COVERAGE_MIN}"))),
        Part("faults", ((*PYTEST, str(TESTS / "faults")),)),
        Part("packaging", ((*PYTEST, "-rs", str(TESTS / "packaging")),)),
        Part("e2e", ((*PYTEST, str(TESTS / "e2e")),)),
    ]


def run(part: Part, clock: SystemClock, environment: Mapping[str, str]) -> Result:
    """Runs one part with its output shown as it comes."""
    sys.stdout.write(f"\n=== {part.name}\n")
    sys.stdout.flush()
    began = clock.monotonic_ns()
    is_ok = all(
        subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0 for command in part.commands
    )
    return Result(part.name, is_ok, (clock.monotonic_ns() - began) / 1e9)


def table(results: Sequence[Result]) -> str:
    """Part, result and seconds, one line each, and their sum."""
    width = max(len(result.name) for result in results)
    lines = [
        f"{result.name:<{width}}  {'ok' if result.is_ok else 'FAILED':<6} {result.seconds:7.1f} s" for result in results
    ]
    total = sum(result.seconds for result in results)
    verdict = "ok" if all(result.is_ok for result in results) else "FAILED"
    return "\n".join(["", *lines, f"{'all':<{width}}  {verdict:<6} {total:7.1f} s", ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts to run; none = all")
    parser.add_argument("--full", action="store_true", help="the long form of the parts that have one")
    arguments = parser.parse_args()
    parts = all_parts()
    if unknown := set(arguments.names) - {part.name for part in parts}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(part.name for part in parts)}")
    clock = SystemClock()
    chosen = [part for part in parts if not arguments.names or part.name in arguments.names]
    environment = {**process_environment(), **({"LINECLEAR_TEST_FULL": "1"} if arguments.full else {})}
    if not arguments.names:
        # Counts of an earlier run that was cut short must not add to this one's.
        subprocess.run((*COVERAGE, "erase"), cwd=ROOT, check=True)
    results = [run(part, clock, environment) for part in chosen]
    sys.stdout.write(table(results))
    return 0 if all(result.is_ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
