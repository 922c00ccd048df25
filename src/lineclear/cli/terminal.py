"""What a terminal shows: colours only where a person sees them, tables that line up and fit, text that steers nothing.

In: rows, texts. Out: lines. Honours NO_COLOR, TERM=dumb and COLUMNS; without a terminal nothing is coloured.
"""

import json
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import click

from lineclear.config.settings import process_environment

CELL_CHARS_MAX = 60
"""Longer cells are cut in tables; the other formats always have the whole."""
CELL_CHARS_MIN = 8
"""A table that must fit cuts no cell to less; a narrower terminal breaks its lines."""
GAP = "  "
STATE_COLOURS: Mapping[str, str] = {
    **dict.fromkeys(("ready", "active", "approved", "ok"), "green"),
    **dict.fromkeys(("draining", "starting", "loading", "test", "warning", "deprecated", "expired"), "yellow"),
    **dict.fromkeys(("down", "failed", "revoked", "blocked", "failure", "error"), "red"),
}
"""Words of state columns that are worth a glance."""
NUMBER_COLUMN_ENDS = ("_ms", "_usd", "_tokens", "_bytes", "status", "attempts")
"""Ends of the names of columns that hold figures, where a table cannot look at all its rows first."""
STATE_COLUMNS = frozenset({"state", "status", "outcome"})


def is_coloured(*, is_error: bool = False) -> bool:
    """Whether colours have a reader on stdout, or on stderr."""
    stream = sys.stderr if is_error else sys.stdout
    environment = process_environment()
    # Source: https://no-color.org, any value but an empty one counts.
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def styled(text: str, style: str, *, is_error: bool = False) -> str:
    """The text in bold or in a colour, or as it is where colours have no reader."""
    if not text or not is_coloured(is_error=is_error):
        return text
    return click.style(text, bold=True) if style == "bold" else click.style(text, fg=style)


def width_chars() -> int | None:
    """How wide a table may be: COLUMNS if it is set, a terminal's width; None for a pipe, where nothing must fit."""
    if not process_environment().get("COLUMNS", "").isdigit() and not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


def table_lines(
    rows: Iterable[Mapping[str, object]], columns: Sequence[str], *, width_max: int | None = None
) -> list[str]:
    """Aligned text: upper-case heads, two spaces between columns, numbers to the right, cut to `width_max`."""
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    right = [bool(cells) and all(_is_number(line[at]) for line in cells) for at in range(len(columns))]
    widths = [max([_width(column), *(_width(line[at]) for line in cells)]) for at, column in enumerate(columns)]
    widths = _fitted(widths, [_width(column) for column in columns], right, width_max)
    heads = [column.replace("_", " ").upper() for column in columns]
    lines = [_line(heads, widths, right, [None] * len(columns))]
    for line in cells:
        colours = [STATE_COLOURS.get(text) if column in STATE_COLUMNS else None
                   for column, text in zip(columns, line, strict=True)]  # fmt: skip
        lines.append(_line(line, widths, right, colours))
    return lines


class GrowingTable:
    """Lines of a table whose rows come one by one: a column never gets narrower, so what follows stays aligned."""

    def __init__(self, columns: Sequence[str], widths: Mapping[str, int]) -> None:
        """`widths` is what columns begin with where their head is not wider."""
        self._columns = tuple(columns)
        self._heads = [column.replace("_", " ").upper() for column in columns]
        self._widths = [max(widths.get(column, 0), _width(column)) for column in columns]
        self._right = [column.endswith(NUMBER_COLUMN_ENDS) for column in columns]

    def head(self, width_max: int | None) -> str:
        """The heads of the columns."""
        return _line(self._heads, self._fitted(width_max), self._right, [None] * len(self._columns))

    def line(self, row: Mapping[str, object], width_max: int | None) -> str:
        """One row."""
        cells = [_cell(row.get(column)) for column in self._columns]
        self._widths = [max(width, _width(cell)) for width, cell in zip(self._widths, cells, strict=True)]
        colours = [STATE_COLOURS.get(text) if column in STATE_COLUMNS else None
                   for column, text in zip(self._columns, cells, strict=True)]  # fmt: skip
        return _line(cells, self._fitted(width_max), self._right, colours)

    def _fitted(self, width_max: int | None) -> list[int]:
        return _fitted(list(self._widths), [_width(head) for head in self._heads], self._right, width_max)


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


def _fitted(widths: list[int], heads: Sequence[int], right: Sequence[bool], width_max: int | None) -> list[int]:
    """The widest text columns give way, one character at a time, until the table fits or nothing can give."""
    over = 0 if width_max is None else sum(widths) + len(GAP) * (len(widths) - 1) - width_max
    while over > 0:
        giving = [at for at in range(len(widths)) if not right[at] and widths[at] > max(CELL_CHARS_MIN, heads[at])]
        if not giving:
            break
        widths[max(giving, key=lambda at: widths[at])] -= 1
        over -= 1
    return widths


def _line(texts: Sequence[str], widths: Sequence[int], right: Sequence[bool], colours: Sequence[str | None]) -> str:
    parts = []
    for text, width, to_right, colour in zip(texts, widths, right, colours, strict=True):
        cut = _cut(text, width)
        space = " " * (width - _width(cut))
        shown = styled(cut, colour) if colour else cut
        parts.append(space + shown if to_right else shown + space)
    return GAP.join(parts).rstrip()


def _cell(value: object) -> str:
    return _cut(shown_text(value), CELL_CHARS_MAX)


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    kept = ""
    for char in text:
        if _width(kept + char) > width - 1:
            break
        kept += char
    return kept + "…"


def _is_number(text: str) -> bool:
    return text == "-" or text.replace(".", "", 1).removeprefix("-").isdigit()


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
