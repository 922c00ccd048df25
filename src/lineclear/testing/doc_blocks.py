"""The examples of a documentation page, read from Markdown and run in their order as a reader would.

In: a page, and the values that a reader puts in: an address, a key. Out: blocks, what each printed, lines that a
shown output promised and the real one lacks. A page is one terminal: what one block exports, the next one has.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 120.0
EXECUTED = frozenset({"sh", "python", "js"})
SHOWN = frozenset({"text", "json"})
"""What a reader sees, not types."""
FILES = frozenset({"yaml"})
"""Blocks that a reader saves under the name in their first line."""
_FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OWN_VALUE = re.compile(r"^export .*$", re.MULTILINE)
_FILE_NAME = re.compile(r"# (\S+\.yaml)\b")
_ID = re.compile(r"(?<![A-Za-z])(req|rel|chg)_[0-9a-f]+")
_DIGITS = re.compile(r"[0-9]+(?:[.,:][0-9]+)*")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: str
    """Path of the page from the repository's root."""
    line: int
    language: str
    code: str

    @property
    def name(self) -> str:
        """`page:line`, for the reader of a failure."""
        return f"{self.page}:{self.line}"

    @property
    def file_name(self) -> str:
        """What the first line of a file says it is called; empty if it says nothing."""
        found = _FILE_NAME.match(self.code)
        return found[1] if found else ""


def blocks_of(root: Path, page: str) -> list[Block]:
    """Every fenced block of a page, in order."""
    text = (root / page).read_text(encoding="utf-8")
    return [Block(page, text.count("\n", 0, match.start()) + 1, match[1], match[2]) for match in _FENCE.finditer(text)]


def typed_outside_exports(block: Block) -> str:
    """A block without the lines in which a reader puts values of their own."""
    return _OWN_VALUE.sub("", block.code)


class ExampleError(AssertionError):
    """A block ended badly or did not print what the page shows."""


class Terminal:
    """One reader's terminal: a working directory and an environment that lasts from block to block."""

    def __init__(self, directory: Path, environment: Mapping[str, str], own: Mapping[str, str], typed: str) -> None:
        """`own`: page's text → the reader's value, put in at `export` lines; `typed`: what every prompt is given."""
        self.directory = directory
        self.environment = dict(environment)
        self._own = dict(own)
        self._typed = typed
        self._state = directory / ".terminal"

    def run(self, block: Block, exit_code: int = 0) -> str:
        """Run one block that ends with `exit_code`.

        Returns:
            What it printed, stdout and stderr as they came.

        Raises:
            ExampleError: if it ended with another one.
        """
        match block.language:
            case "sh":
                script = f"trap 'env -0 > {self._state}' EXIT\n{self._with_own(block.code)}"
                command = ["bash", "-e", "-u", "-o", "pipefail", "-c", script]
            case "python":
                command = [sys.executable, "-c", block.code]
            case "js":
                command = ["node", "--input-type=module", "-e", block.code]
            case "yaml":
                (self.directory / block.file_name).write_text(block.code)
                return ""
            case _:
                raise ExampleError(f"{block.name}: nobody knows how to run {block.language!r}")
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self.environment,
            input=self._typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        if done.returncode != exit_code:
            raise ExampleError(f"{block.name} ended with {done.returncode}:\n{block.code}\n{done.stdout}")
        if block.language == "sh":
            self._keep_exports()
        return done.stdout

    def _with_own(self, code: str) -> str:
        def put(match: re.Match[str]) -> str:
            line = match[0]
            for shown, value in self._own.items():
                line = line.replace(shown, value)
            return line

        return _OWN_VALUE.sub(put, code)

    def _keep_exports(self) -> None:
        items = self._state.read_bytes().split(b"\0")
        pairs = [os.fsdecode(item).partition("=") for item in items if item]
        self.environment = {name: value for name, _, value in pairs}


def missing_lines(shown: str, real: str) -> list[str]:
    """Lines of a shown output that the real one has not: numbers and ids may differ, `…` stands for anything."""
    lines = real.splitlines()
    return [line for line in shown.splitlines() if line.strip(" …") and not any(map(_pattern(line).match, lines))]


def _pattern(line: str) -> re.Pattern[str]:
    places = re.compile(rf"{_ID.pattern}|{_DIGITS.pattern}|…|\s+")
    parts: list[str] = []
    end = 0
    for match in places.finditer(line.rstrip()):
        parts.append(re.escape(line[end : match.start()]))
        text = match[0]
        if text == "…":
            parts.append(".*")
        elif text.isspace():
            parts.append(r"\s+")
        elif text[0].isdigit():
            parts.append(_DIGITS.pattern)
        else:
            parts.append(f"{match[1]}_[0-9a-f]+")
        end = match.end()
    return re.compile("".join([*parts, re.escape(line.rstrip()[end:]), r"\s*$"]))
