"""Geometry of the pictures that templates draw as SVG: coordinates from figures, nothing else.

In: numbers. Out: frozen shapes in the units of a view box. Text never passes through here, so none can break out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SPARK_WIDTH, SPARK_HEIGHT = 120, 28
_PAD = 2.0


def spark_points(values: Sequence[float | None]) -> str:
    """The points of a line through the values that are there, from 0 up to the greatest; empty for fewer than two."""
    known = [value for value in values if value is not None]
    if len(known) < 2 or len(values) < 2:
        return ""
    top = max(known) or 1.0
    step = (SPARK_WIDTH - 2 * _PAD) / (len(values) - 1)
    height = SPARK_HEIGHT - 2 * _PAD
    return " ".join(
        f"{_PAD + index * step:.1f},{_PAD + height * (1 - value / top):.1f}"
        for index, value in enumerate(values)
        if value is not None
    )


@dataclass(frozen=True)
class Bar:
    """One rectangle."""

    x: float
    y: float
    width: float
    height: float
    series: int
    """Which of the stacked series it is, from 0."""
    column: int


@dataclass(frozen=True)
class Tick:
    """A line of the grid with the figure it stands for."""

    y: float
    value: float


@dataclass(frozen=True)
class Stack:
    """Stacked columns."""

    width: float
    height: float
    left: float
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    centres: tuple[float, ...]
    """The middle of each column."""
    step: float
    """Width of a column with its gap."""


def stack(columns: Sequence[Sequence[float]], *, width: float = 860, height: float = 180, left: float = 52) -> Stack:
    """Columns of figures drawn upon each other, first series lowest; the grid ends at a round figure."""
    top = round_up(max((sum(column) for column in columns), default=0.0))
    foot, head = height - 22, 8.0
    scale = (foot - head) / top
    step = (width - left - 8) / max(len(columns), 1)
    bars: list[Bar] = []
    for place, column in enumerate(columns):
        y = foot
        for series, figure in enumerate(column):
            tall = figure * scale
            if tall > 0:
                y -= tall
                gap = min(step * 0.2, 6)
                x = left + place * step + gap / 2
                bars.append(Bar(_r(x), _r(y), _r(max(step - gap, 0.5)), _r(max(tall, 0.75)), series, place))
    ticks = tuple(Tick(_r(foot - top * part / 4 * scale), top * part / 4) for part in range(5))
    centres = tuple(_r(left + (place + 0.5) * step) for place in range(len(columns)))
    return Stack(width, height, left, tuple(bars), ticks, centres, _r(step))


def good_and_bad(columns: Sequence[Mapping[str, int]]) -> list[tuple[int, int]]:
    """Errors and the other requests of each column, errors lowest so that they are seen first."""
    return [(column["errors"], column["requests"] - column["errors"]) for column in columns]


def round_up(value: float) -> float:
    """The next of 1, 2, 4 or 8 times a power of ten, so that quarters of it are readable; 1 for nothing."""
    if value <= 0:
        return 1.0
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next(power * factor for factor in (1, 2, 4, 8, 10) if power * factor >= value)


def _r(value: float) -> float:
    return round(value, 2)
