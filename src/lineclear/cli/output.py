"""How commands speak: table, JSON or JSON lines on stdout, errors on stderr, and the exit codes.

In: rows and values as the admin API answered them. Out: text. Must not fetch anything.
"""

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum, StrEnum
from typing import Any, NoReturn

import click

CELL_CHARS_MAX = 60
"""Longer cells are cut in tables; JSON always has the whole."""


class ExitCode(IntEnum):
    """What a script may rely on. Source: research/ux-ecosystem.md §3."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    PLAN_HAS_CHANGES = 3
    NOT_AUTHORISED = 4
    NOT_FOUND = 5
    CONFLICT = 6
    APPROVAL_PENDING = 7
    GATE_FAILED = 8
    UNAVAILABLE = 9
    INTERRUPTED = 130


class Format(StrEnum):
    """Output formats of `-o`."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


class Output:
    """Writes answers in the format that was asked for."""

    def __init__(self, format_: Format) -> None:
        self.format = format_

    def value(self, value: Mapping[str, Any], lines: Sequence[str] = ()) -> None:
        """One object: JSON as it is, or for a person `lines` (its fields if none are given)."""
        if self.format is Format.TABLE:
            for line in lines or [f"{name}: {shown_text(item)}" for name, item in value.items()]:
                click.echo(line)
        else:
            self._json(value)

    def rows(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], answer: object = None) -> None:
        """A list: a table of `columns`, JSON lines of the rows, or as JSON `answer` (the rows if None)."""
        if self.format is Format.JSONL:
            for row in rows:
                click.echo(json.dumps(row, ensure_ascii=False, separators=(",", ":")))
        elif self.format is Format.JSON:
            self._json(rows if answer is None else answer)
        else:
            for line in table_lines(rows, columns):
                click.echo(line)

    def note(self, text: str) -> None:
        """Something a person should know; on stderr, so that pipes stay clean. Silent in JSON formats."""
        if self.format is Format.TABLE:
            click.echo(text, err=True)

    def fail(
        self,
        code: ExitCode,
        message: str,
        *,
        hint: str = "",
        details: Sequence[Mapping[str, Any]] = (),
        kind: str = "error",
    ) -> NoReturn:
        """Say what went wrong on stderr, as JSON in JSON formats, and exit."""
        if self.format is Format.TABLE:
            for line in [f"error: {message}", *map(finding_line, details), *([f"hint: {hint}"] if hint else [])]:
                click.echo(line, err=True)
        else:
            body = {"error": {"code": kind, "message": message, "hint": hint, "findings": list(details)}}
            click.echo(json.dumps(body, ensure_ascii=False), err=True)
        sys.exit(code)

    def _json(self, value: object) -> None:
        indent = None if self.format is Format.JSONL else 2
        click.echo(json.dumps(value, ensure_ascii=False, indent=indent))


def finding_line(finding: Mapping[str, Any]) -> str:
    """`file:line:column: message` of one finding, without the parts that are not known."""
    where = ":".join(str(part) for part in (finding.get("file"), finding.get("line"), finding.get("column")) if part)
    return f"  {where}: {finding.get('message', '')}" if where else f"  {finding.get('message', '')}"


def table_lines(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """Aligned plain text: upper-case heads, two spaces between columns, numbers to the right."""
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    right = [bool(cells) and all(_is_number(line[at]) for line in cells) for at in range(len(columns))]
    widths = [max([_width(column), *(_width(line[at]) for line in cells)]) for at, column in enumerate(columns)]
    heads = [column.replace("_", " ").upper() for column in columns]
    return [
        "  ".join(_pad(text, widths[at], right=right[at]) for at, text in enumerate(line)).rstrip()
        for line in [heads, *cells]
    ]


def _cell(value: object) -> str:
    text = shown_text(value)
    return text if len(text) <= CELL_CHARS_MAX else text[: CELL_CHARS_MAX - 1] + "…"


def shown_text(value: object) -> str:
    """A value as one line of text that cannot steer the terminal; not cut."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        text = ",".join(shown_text(item) for item in value)
    elif isinstance(value, dict):
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    else:
        text = str(value)
    # A control character in a name must not steer the terminal.
    return "".join(char if char.isprintable() else "�" for char in text)


def _is_number(text: str) -> bool:
    return text == "-" or text.replace(".", "", 1).removeprefix("-").isdigit()


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _pad(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
