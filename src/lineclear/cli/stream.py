"""Rows as they come, without an end: aligned under one head, as lines of JSON, as CSV or as names, each at once.

In: rows, a few at a time. Out: text, flushed, so that whoever reads the pipe has a line as soon as it is known. Must
not fetch anything.
"""

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from lineclear.cli.output import Format, Output, csv_cell
from lineclear.cli.terminal import GrowingTable, styled, width_chars

ENDLESS = frozenset({Format.TABLE, Format.JSONL, Format.CSV, Format.NAME})
"""Formats that need no end. JSON and YAML are one value, which would never be complete."""


class RowStream:
    """Writes rows of one kind."""

    def __init__(self, output: Output, columns: Sequence[str], widths: Mapping[str, int]) -> None:
        """Nothing is written yet.

        Args:
            output: says the format and the fields.
            columns: of a table or CSV, unless `--fields` names others.
            widths: what a column of a table is wide at the least; it grows with what comes.

        Raises:
            click.UsageError: the format is one value with an end.
        """
        if output.format not in ENDLESS:
            listed = ", ".join(sorted(ENDLESS))
            raise click.UsageError(f"-o {output.format}: what is followed has no end; use one of {listed}")
        self._output = output
        self._columns = output.fields or tuple(columns)
        self._table = GrowingTable(self._columns, widths)
        self._has_head = False

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows, and the head before the first of them. Any: text, int, float, bool and None."""
        if not self._has_head:
            self._has_head = True
            self._write_head()
        for row in rows:
            self._write_row(row)
        sys.stdout.flush()

    def _write_head(self) -> None:
        if self._output.format is Format.TABLE:
            click.echo(styled(self._table.head(width_chars()), "bold"))
            sys.stdout.flush()
        elif self._output.format is Format.CSV:
            click.echo(_csv_line(self._columns), nl=False)

    def _write_row(self, row: Mapping[str, Any]) -> None:
        if self._output.format is Format.TABLE:
            click.echo(self._table.line(row, width_chars()))
        elif self._output.format is Format.CSV:
            click.echo(_csv_line([csv_cell(row.get(column)) for column in self._columns]), nl=False)
        else:
            self._output.rows([row], self._columns)


def _csv_line(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
