"""Geometry of the pictures that templates draw as SVG: coordinates from figures, nothing else.

In: numbers. Out: frozen shapes in the units of a view box. Text never passes through here, so none can break out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Lines:
    """Lines over time."""

    width: float
    height: float
    left: float
    lines: tuple[str, ...]
    """Paths; each begins anew after a figure that is missing."""
    ticks: tuple[Tick, ...]
    limit_y: float | None


def two_lines(
    rows: Sequence[Mapping[str, Any]],
    first: str,
    second: str,
    limit: float | None = None,
    *,
    width: float = 860,
    height: float = 180,
    left: float = 60,
) -> Lines:
    """Two figures of each row as lines from 0 up to a round figure, and a limit where there is one."""
    columns = [[row[name] for row in rows] for name in (first, second)]
    top = round_up(max((value for column in columns for value in [*column, limit] if value is not None), default=0.0))
    foot, head = height - 22, 8.0
    scale = (foot - head) / top
    step = (width - left - 8) / max(len(rows) - 1, 1)
    ticks = tuple(Tick(_r(foot - top * part / 4 * scale), top * part / 4) for part in range(5))
    lines = tuple(_path(column, left, step, foot, scale) for column in columns)
    return Lines(width, height, left, lines, ticks, None if limit is None else _r(foot - limit * scale))


def _path(values: Sequence[float | None], left: float, step: float, foot: float, scale: float) -> str:
    drawn: list[str] = []
    is_begun = False
    for place, value in enumerate(values):
        if value is None:
            is_begun = False
            continue
        # A line of its own length where neighbours are missing, so that a lone figure is seen.
        drawn.append(f"{'L' if is_begun else 'M'}{_r(left + place * step)} {_r(foot - value * scale)}")
        if not is_begun:
            drawn.append("h0.01")
        is_begun = True
    return "".join(drawn)


def good_and_bad(columns: Sequence[Mapping[str, int]]) -> list[tuple[int, int]]:
    """Errors and the other requests of each column, errors lowest so that they are seen first."""
    return [(column["errors"], column["requests"] - column["errors"]) for column in columns]


def costs(columns: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    """The cost of each series in each column."""
    return [[float(cost) for cost in column["cost_usd"]] for column in columns]


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


@dataclass(frozen=True)
class Span:
    """One line of a waterfall."""

    name: str
    x: float
    width: float
    start_ms: float
    duration_ms: float
    kind: str
    """step | attempt | attempt-bad"""


def waterfall(
    steps_us: Mapping[str, int], attempts: Sequence[Mapping[str, Any]], total_ms: float, *, width: float = 560
) -> list[Span]:
    """The steps of the walk one after the other, each attempt below the step that made it."""
    whole = max(total_ms, sum(steps_us.values()) / 1000, 0.001)
    spans: list[Span] = []
    at_ms = 0.0
    for name, duration_us in steps_us.items():
        spans.append(_span(name, at_ms, duration_us / 1000, whole, width, "step"))
        if name == "attempt":
            spans += [
                _span(
                    f"{one['attempt']}. {one['model']}", one["start_ms"], one["duration_ms"], whole, width,
                    "attempt" if one["error_code"] is None else "attempt-bad",
                )
                for one in attempts
            ]  # fmt: skip
        at_ms += duration_us / 1000
    return spans


def _span(name: str, start_ms: float, duration_ms: float, whole_ms: float, width: float, kind: str) -> Span:
    x = min(start_ms / whole_ms, 1) * width
    return Span(name, _r(x), _r(max(min(duration_ms / whole_ms * width, width - x), 1.5)), start_ms, duration_ms, kind)


@dataclass(frozen=True)
class Node:
    """A box of a flow."""

    text: str
    note: str
    x: float
    y: float
    mark: str


@dataclass(frozen=True)
class Edge:
    """A line of a flow; `share` is how much of the traffic takes it, None = said otherwise."""

    path: str
    width: float
    share: float | None
    label_x: float
    label_y: float
    is_fallback: bool


@dataclass(frozen=True)
class Flow:
    """App to route to targets."""

    width: float
    height: float
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


NODE_WIDTH, NODE_HEIGHT, NODE_STEP = 210.0, 44.0, 58.0
_COLUMNS = (8.0, 325.0, 642.0)
FLOW_ROWS_MAX = 8


def flow(route: str, environment: Mapping[str, Any]) -> Flow:
    """The way through a route in one environment: callers left, the route, targets and fallbacks right."""
    apps, targets, fallback = environment["apps"], environment["targets"], environment["fallback"]
    left = [(one["name"], f"{one['requests']:,} requests in 24 h", "") for one in apps[:FLOW_ROWS_MAX]]
    if len(apps) > FLOW_ROWS_MAX:
        left[-1] = (f"{len(apps) - FLOW_ROWS_MAX + 1} more apps", "", "")
    right = [(one["model"], one["status"] or "", one["share"], False) for one in targets]
    right += [(one["model"], f"fallback · {one['status'] or ''}", None, True) for one in fallback]
    rows = max(len(left), len(right), 1)
    height = rows * NODE_STEP + 4
    middle = height / 2
    nodes = [Node(route, "route", _COLUMNS[1], middle - NODE_HEIGHT / 2, "route")]
    edges: list[Edge] = []
    for place, (text, note, mark) in enumerate(left):
        y = _row(place, len(left), height)
        nodes.append(Node(text, note, _COLUMNS[0], y, mark))
        edges.append(_edge(_COLUMNS[0], y + NODE_HEIGHT / 2, _COLUMNS[1], middle, None, is_fallback=False))
    for place, (text, note, share, is_fallback) in enumerate(right):
        y = _row(place, len(right), height)
        nodes.append(Node(text, note, _COLUMNS[2], y, "fallback" if is_fallback else "target"))
        edges.append(_edge(_COLUMNS[1], middle, _COLUMNS[2], y + NODE_HEIGHT / 2, share, is_fallback=is_fallback))
    return Flow(860, _r(height), tuple(nodes), tuple(edges))


def cut(text: str, chars: int = 26) -> str:
    """Text that fits into a box; its whole stands in the box's title."""
    return text if len(text) <= chars else text[: chars - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _row(place: int, rows: int, height: float) -> float:
    return _r(height / 2 + (place - (rows - 1) / 2) * NODE_STEP - NODE_HEIGHT / 2)


def _edge(x: float, y: float, to_x: float, to_y: float, share: float | None, *, is_fallback: bool) -> Edge:
    begin, bend = x + NODE_WIDTH, (x + NODE_WIDTH + to_x) / 2
    path = f"M{begin},{_r(y)} C{bend},{_r(y)} {bend},{_r(to_y)} {to_x},{_r(to_y)}"
    return Edge(path, _r(1.5 + 4.5 * (share or 0)), share, to_x - 8, _r(to_y - 7), is_fallback)
