"""Tensors as input of /v1/classify: nested lists of numbers, one array or a list of arrays.

In: a request's JSON tree and the form of the arrays that a model reads. Out: every array's numbers in row-major
order. Nothing is cut, padded, rounded or reshaped: what does not fit is refused at its place.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from lineclear.wire.openai_inputs import require_input
from lineclear.wire.request_fields import refused

NUMBERS_MAX = 1 << 22
"""Numbers of all inputs of one request: 32 MiB as doubles."""


class TensorForm(msgspec.Struct, frozen=True):
    """What the arrays of a model look like."""

    shape: tuple[int, ...]
    """Of one input, without the batch; at least one dimension."""
    is_whole: bool
    """Only whole numbers."""
    low: float
    high: float
    """The bounds of a number, both allowed."""

    @property
    def numbers(self) -> int:
        """How many numbers one input has."""
        total = 1
        for size in self.shape:
            total *= size
        return total


def read_tensors(tree: dict[str, Any], form: TensorForm, inputs_max: int) -> tuple[tuple[float, ...], ...]:
    """The inputs of a request, each of exactly the model's shape.

    Raises:
        CallerError: `invalid_request` for `input` or the element that does not fit.
    """
    require_input(tree)
    given = tree["input"]
    levels = _levels(given)
    rank = len(form.shape)
    if levels not in (rank, rank + 1):
        found = "is a text" if levels == 0 else f"has {levels} level{'s' * (levels > 1)} of lists"
        raise refused("input", f"{found}; this model reads numbers in {_levels_words(rank)}", _hint(form))
    if levels == rank:
        return (tuple(_numbers(given, form, 0, "input")),)
    if len(given) > inputs_max:
        raise refused("input", f"has {len(given)} arrays and this model takes {inputs_max}", "Send several requests.")
    if len(given) * form.numbers > NUMBERS_MAX:
        problem = f"has {len(given)} arrays of {form.numbers} numbers; a request may have {NUMBERS_MAX} numbers"
        raise refused("input", problem, "Send several requests.")
    return tuple(tuple(_numbers(item, form, 0, f"input.{at}")) for at, item in enumerate(given))


def zeros(shape: tuple[int, ...]) -> Any:
    """An array of this shape as JSON. Any: lists as deep as the shape is long."""
    return 0 if not shape else [zeros(shape[1:]) for _ in range(shape[0])]


def _levels(given: object) -> int:
    levels = 0
    while type(given) is list:
        levels += 1
        given = given[0] if given else None
    return levels


def _levels_words(rank: int) -> str:
    return f"{rank} level{'s' * (rank > 1)} of lists, or {rank + 1} for several inputs"


def _hint(form: TensorForm) -> str:
    kind = "whole numbers" if form.is_whole else "numbers"
    return f'Send "input": an array of {kind} of shape {list(form.shape)}, or a list of such arrays.'


def _numbers(given: object, form: TensorForm, axis: int, path: str) -> Iterator[float]:
    """The numbers below `given`, which stands at `axis` of the shape."""
    size = form.shape[axis]
    if type(given) is not list:
        raise refused(path, f"is no list where this model reads one of {size} elements", _hint(form))
    if len(given) != size:
        raise refused(path, f"has {len(given)} elements where this model reads {size}", _hint(form))
    if axis + 1 < len(form.shape):
        for at, item in enumerate(given):
            yield from _numbers(item, form, axis + 1, f"{path}.{at}")
        return
    for at, number in enumerate(given):
        kind = type(number)
        if kind is not int and (kind is not float or form.is_whole):
            raise refused(f"{path}.{at}", f"is no {'whole ' * form.is_whole}number", _hint(form))
        if not form.low <= number <= form.high:
            bounds = f"{form.low:g} to {form.high:g}"
            raise refused(f"{path}.{at}", f"is outside of what this model reads: {bounds}", _hint(form))
        yield number
