"""Rules of the house that no linter knows: where clocks are read, what stays small, what stands on what."""

import ast
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/lineclear"
PACKAGES_MAX = 40
WALK_LINES_MAX = 120
DOCSTRING_LINES_MAX = 8
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
SLOW_ON_THE_HOT_PATH = {"TaskGroup", "timeout", "timeout_at", "wait_for", "shield"}
"""asyncio's conveniences cost more than the rest of a request together (decisions 16)."""
CLOCK_READS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"}


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the product by its path inside the package."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_text(), str(path)) for path in paths}


def calls(tree: ast.Module) -> Iterator[tuple[str, str, ast.Call]]:
    """`(module, function, call)` of each call written as `module.function(…)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            yield (owner.id if isinstance(owner, ast.Name) else "", node.func.attr, node)


def test_supervisor_runs_without_any_installed_package() -> None:
    # -S leaves site-packages out altogether: what is not standard library or ours cannot be imported.
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); import lineclear.compose.supervisor"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_loads_no_room_but_the_command_line() -> None:
    code = (
        "import sys\nfrom lineclear.cli.main import root\n"
        "root.main(['--help'], prog_name='lineclear', standalone_mode=False)\n"
        "print(sorted({name.split('.')[1] for name in sys.modules if name.startswith('lineclear.')}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "['cli']"


def test_no_more_packages_than_the_budget() -> None:
    found: set[str] = set()
    waiting = ["lineclear"]
    while waiting:
        name = waiting.pop()
        for text in importlib.metadata.requires(name) or ():
            requirement = Requirement(text)
            wanted = canonicalize_name(requirement.name)
            if wanted not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
                found.add(wanted)
                waiting.append(wanted)
    assert 10 < len(found) <= PACKAGES_MAX, sorted(found)


def test_walk_reads_like_the_documentation() -> None:
    lines = (PACKAGE / "gateway/walk.py").read_text().splitlines()
    assert len(lines) <= WALK_LINES_MAX


@pytest.mark.parametrize("path", sorted(modules()))
def test_module_says_what_room_it_is(path: str) -> None:
    docstring = ast.get_docstring(modules()[path])
    assert docstring, "a module docstring says what room this is, what comes in, what leaves, what it must not do"
    assert len(docstring.splitlines()) <= DOCSTRING_LINES_MAX


def test_no_file_is_called_after_nothing() -> None:
    assert not [path for path in modules() if FORBIDDEN_NAMES & set(Path(path).with_suffix("").parts)]


def test_only_the_clock_reads_clocks() -> None:
    readers = {
        path
        for path, tree in modules().items()
        for owner, function, _ in calls(tree)
        if owner == "time" and function in CLOCK_READS
    }
    # Fakes and load clients of `testing` measure from outside.
    assert {path for path in readers if not path.startswith("testing/")} == {"base/clock.py"}


def test_hot_path_uses_no_slow_conveniences() -> None:
    used = [
        (path, function)
        for path, tree in modules().items()
        for owner, function, _ in calls(tree)
        if path.startswith(("gateway/", "net/")) and owner == "asyncio" and function in SLOW_ON_THE_HOT_PATH
    ]
    assert used == []


def test_every_queue_is_bounded() -> None:
    unbounded = [
        (path, call.lineno)
        for path, tree in modules().items()
        for owner, function, call in calls(tree)
        if owner in ("asyncio", "queue") and "Queue" in function and not (call.args or call.keywords)
    ]
    assert unbounded == []


def test_every_exception_to_a_rule_carries_its_code_and_reason() -> None:
    bare = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if ("# noqa" in line and not re.search(r"# noqa: [A-Z]+\d+(, ?[A-Z]+\d+)*,? +-? ?\S", line))
        or ("# type: ignore" in line and not re.search(r"# type: ignore\[[a-z, -]+\] +# \S", line))
    ]
    assert bare == []


def test_open_ends_name_their_issue() -> None:
    # Split, so that this file does not find itself.
    mark = "TO" + "DO"
    unnamed = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if mark in line and not re.search(mark + r"\(#\d+\)", line)
    ]
    assert unnamed == []


def test_largest_files_are_shown() -> None:
    sizes = sorted(((len(path.read_text().splitlines()), path) for path in PACKAGE.rglob("*.py")), reverse=True)
    for lines, path in sizes[:10]:
        print(f"{lines:5} {path.relative_to(ROOT)}")
    assert sizes
