"""How commands speak: tables for people, JSON, JSON lines, YAML, CSV and names for programs; errors; exit codes.

In: rows and values as the admin API answered them. Out: text; answers on stdout, everything else on stderr. Must not
fetch anything.
"""

import csv
import difflib
import io
import json
import sys
from collections.abc import Mapping, Sequence
from enum import IntEnum, StrEnum
from typing import Any, NoReturn

import click

from lineclear.cli.terminal import is_coloured, shown_text, styled, table_lines, width_chars

__all__ = ["ExitCode", "Format", "Output", "shown_text", "table_lines"]


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
    YAML = "yaml"
    CSV = "csv"
    NAME = "name"


PERSON_FORMATS = frozenset({Format.TABLE, Format.CSV, Format.NAME})
"""Formats whose errors are told in words; the others get an object."""


class Output:
    """Writes answers in the format that was asked for."""

    def __init__(self, format_: Format, fields: Sequence[str] = (), *, is_quiet: bool = False) -> None:
        """How to write.

        Args:
            format_: of `-o`.
            fields: of `--fields`; empty = a table's own columns, and everything in formats for programs.
            is_quiet: `-q`: of lists only the names, of the rest only what was asked for, no notes.
        """
        self.format = Format.NAME if is_quiet and format_ is Format.TABLE else format_
        self._fields = tuple(fields)
        self._is_quiet = is_quiet

    @property
    def is_talkative(self) -> bool:
        """Whether notes and progress have a reader."""
        return self.format is Format.TABLE and not self._is_quiet

    @property
    def fields(self) -> tuple[str, ...]:
        """Of `--fields`; empty = none were named."""
        return self._fields

    def value(self, value: Mapping[str, Any], lines: Sequence[str] = ()) -> None:
        """One object: as it is, or for a person `lines` (its fields if none are given)."""
        if self._fields:
            self._demand(self._fields, value)
            value = {name: value.get(name) for name in self._fields}
            lines = ()
        match self.format:
            case Format.TABLE | Format.NAME:
                for line in lines or [f"{name}: {shown_text(item)}" for name, item in value.items()]:
                    click.echo(line)
            case Format.CSV:
                self._csv([value], list(value))
            case Format.JSON | Format.JSONL:
                self._json(value)
            case Format.YAML:
                self._yaml(value)

    def rows(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], answer: object = None) -> None:
        """A list: a table or CSV of `columns`, lines of JSON or names, or as JSON and YAML `answer` (the rows if None).

        With `--fields` every format has those and no others.
        """
        if self._fields:
            self._demand(self._fields, {**dict.fromkeys(columns), **(rows[0] if rows else {})}, is_open=not rows)
            columns = self._fields
            rows = [{name: row.get(name) for name in self._fields} for row in rows]
            answer = None
        match self.format:
            case Format.TABLE:
                self._table(rows, columns)
            case Format.NAME:
                for row in rows:
                    click.echo(shown_text(row.get(_name_field(row, columns))))
            case Format.CSV:
                self._csv(rows, columns)
            case Format.JSONL:
                for row in rows:
                    click.echo(json.dumps(row, ensure_ascii=False, separators=(",", ":")))
            case Format.JSON:
                self._json(rows if answer is None else answer)
            case Format.YAML:
                self._yaml(rows if answer is None else answer)

    def note(self, text: str) -> None:
        """Something a person should know; on stderr, so that pipes stay clean. Silent in other formats and with -q."""
        if self.is_talkative:
            click.echo(text, err=True)

    def silent(self, gateways: Mapping[str, Any]) -> None:
        """Note which gateways have not said yet that a change is in force there."""
        if gateways["silent"]:
            self.note(f"not acknowledged in time by: {', '.join(gateways['silent'])}; they follow by themselves")

    def fail(
        self,
        code: ExitCode,
        message: str,
        *,
        hint: str = "",
        details: Sequence[Mapping[str, Any]] = (),
        kind: str = "error",
    ) -> NoReturn:
        """Say what went wrong on stderr, as an object in formats for programs, and exit."""
        write_error(self.format, message, hint=hint, details=details, kind=kind)
        sys.exit(code)

    def _demand(self, fields: Sequence[str], known: Mapping[str, Any], *, is_open: bool = False) -> None:
        """Refuse fields that are not there; of an empty list (`is_open`) only the table's columns are known."""
        for name in fields:
            if name not in known and not is_open:
                near = difflib.get_close_matches(name, list(known), n=1)
                also = f" Did you mean {near[0]!r}?" if near else ""
                raise click.UsageError(f"--fields: there is no field {name!r}.{also} There are: {', '.join(known)}.")

    def _table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        head, *rest = table_lines(rows, columns, width_max=width_chars())
        for line in [styled(head, "bold"), *rest]:
            click.echo(line)

    def _json(self, value: object) -> None:
        indent = None if self.format is Format.JSONL else 2
        click.echo(json.dumps(value, ensure_ascii=False, indent=indent))

    def _yaml(self, value: object) -> None:
        import yaml  # noqa: PLC0415 - it costs more than the whole rest of most commands

        click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)

    def _csv(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([csv_cell(row.get(column)) for column in columns] for row in rows)
        click.echo(text.getvalue(), nl=False)


def write_error(
    format_: Format,
    message: str,
    *,
    hint: str = "",
    details: Sequence[Mapping[str, Any]] = (),
    kind: str = "error",
) -> None:
    """Tell an error on stderr, in words or as one object."""
    if format_ in PERSON_FORMATS:
        head = styled("error:", "red", is_error=True)
        for line in [f"{head} {message}", *map(finding_line, details), *([f"hint: {hint}"] if hint else [])]:
            # Colour or not was decided above, for this very stream.
            click.echo(line, err=True, color=is_coloured(is_error=True))
        return
    body = {"error": {"code": kind, "message": message, "hint": hint, "findings": list(details)}}
    click.echo(json.dumps(body, ensure_ascii=False), err=True)


def finding_line(finding: Mapping[str, Any]) -> str:
    """`file:line:column: message` of one finding, without the parts that are not known."""
    where = ":".join(str(part) for part in (finding.get("file"), finding.get("line"), finding.get("column")) if part)
    return f"  {where}: {finding.get('message', '')}" if where else f"  {finding.get('message', '')}"


def _name_field(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    """What a row goes by in other commands: its first column, or else its name or id where it has one."""
    named = [name for name in ("name", "id") if name in row]
    return next((name for name in (columns[0], *named) if name in named), columns[0])


def csv_cell(value: object) -> object:
    """A value as CSV holds it: figures as they are, text that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    # A name that begins like a formula must not become one in the spreadsheet that opens the file. Figures may begin
    # so and are told apart by being figures.
    if text[:1] in ("=", "+", "-", "@", "\t", "\r") and not text.lstrip("+-").replace(".", "", 1).isdigit():
        return "'" + text
    return text
